"""What metrics say of conversations, as frozen objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from foresight.errors import ForesightError

__all__ = ["Artifact", "MetricInfo", "MetricScore", "MetricSummary", "ValueRange", "Verdict"]


@dataclass(frozen=True, slots=True)
class ValueRange:
    """Closed interval of possible values."""

    min: float
    """Least possible value."""
    max: float
    """Greatest possible value."""


@dataclass(frozen=True, slots=True)
class MetricInfo:
    """A metric as it was applied."""

    name: str
    """Label of the metric in the objective."""
    version: str
    """Version of its definition; scores of different versions are not comparable."""
    range: ValueRange | None
    """The values that it can take, `None` where it has no bound."""
    metric: str = ""
    """Name of the metric itself; the same as `name` where it has no label of its own."""
    unit: str = ""
    """Unit of its scores, such as `thousand tokens`; empty for a pure number."""
    direction: Literal["more", "less"] | None = None
    """Which scores are the better ones; `None` where the metric does not say."""
    identity: str = ""
    """Digest of everything that determines its scores beside the conversation; empty where it does
    not say, and its scores are not cached."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a judge said when it was asked once."""

    score: float
    """Its score, in the metric's unit."""
    rationale: str
    """Its reasons, in its own words."""
    raw: str
    """Its reply as it came."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """What was extracted from one conversation for its metrics."""

    name: str
    """What was asked for, such as `answer`."""
    requirement: str
    """Extra requirement that it had to meet; empty for none."""
    text: str | None
    """The extracted text; `None` where it could not be extracted."""
    error: ForesightError | None
    """Why there is no text."""


@dataclass(frozen=True, slots=True)
class MetricScore:
    """One metric's verdict on one conversation."""

    name: str
    """Label of the metric."""
    value: float | None
    """The score, in the metric's own unit; `None` where it failed."""
    error: ForesightError | None
    """Why there is no score."""
    spread: float | None = None
    """Standard deviation between a judge's votes; `None` where it was not asked several times."""
    verdicts: tuple[Verdict, ...] = ()
    """What the judge said, one for every vote; empty without `include_futures`."""
    parts: Mapping[str, float] = field(default_factory=dict, hash=False)
    """Further numbers that the metric found on its way, by name, such as a rubric's criteria."""


@dataclass(frozen=True, slots=True)
class MetricSummary:
    """One metric over the futures of a candidate."""

    name: str
    """Label of the metric."""
    mean: float | None
    """Mean score over the futures in which it succeeded; `None` where it never did."""
    n_ok: int
    """Futures in which it succeeded."""
    n_failed: int
    """Futures in which it failed."""
