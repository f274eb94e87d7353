"""How the model server behaves: how long a call takes, how many at once, how many fail.

Every number is drawn from the call's own digest, so the same call takes the same time in every run.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any, Final, Literal

Shape = Literal["fixed", "lognormal", "pareto"]

_NORMAL: Final = NormalDist()
_SIGMA: Final = 0.5
"""Of the logarithm; with it one call in a hundred takes 2.8 times the mean."""
_ALPHA: Final = 2.5
"""Of the Pareto distribution: a finite mean, and a variance that few samples ever show."""
_LONGEST: Final = 20.0
"""No call takes longer than this many means, so that a run has an end."""


@dataclass(frozen=True, slots=True)
class Latency:
    """How long a call takes once it has a slot."""

    shape: Shape
    """The distribution."""
    mean_ms: float
    """Its mean, in ms."""

    @property
    def name(self) -> str:
        """What it is called in results."""
        return f"{self.shape} {self.mean_ms:g} ms"

    def seconds(self, share: float) -> float:
        """Return the time that `share` of the calls, between 0 and 1, do not exceed."""
        mean = self.mean_ms / 1e3
        match self.shape:
            case "lognormal":
                taken = mean * math.exp(_SIGMA * _NORMAL.inv_cdf(share) - _SIGMA**2 / 2)
            case "pareto":
                taken = mean * (_ALPHA - 1) / _ALPHA * (1 - share) ** (-1 / _ALPHA)
            case "fixed":
                taken = mean
        return min(taken, _LONGEST * mean)


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What the server is told before a run."""

    latency: Latency
    """How long calls take."""
    slots: int = 0
    """Calls served at once, the others wait in line; 0 for any number."""
    fault_share: float = 0.0
    """Share of the calls that are refused at once, half with 503 and half with 429."""

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Behaviour:
        """Return what `as_json` gave."""
        return cls(Latency(**data["latency"]), data["slots"], data["fault_share"])
