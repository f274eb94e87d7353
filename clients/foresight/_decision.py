"""What a group says about the order of its candidates, as frozen objects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Decision", "Interval", "Lead"]


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval of a mean."""

    low: float
    """Lower end, in units of the objective."""
    high: float
    """Upper end, in units of the objective."""
    level: float
    """Nominal coverage, such as 0.95."""
    method: str
    """How it was computed: `gaffke`, `gaffke_mid_p` or `student_t`."""

    def __str__(self) -> str:
        return f"{self.level * 100:g} % CI [{self.low:.3g}, {self.high:.3g}]"


@dataclass(frozen=True, slots=True)
class Lead:
    """By how much the best candidate leads another one, from the sample indices that both have."""

    difference: float
    """Mean of the best one's objectives less this one's, in units of the objective.

    Negative where the indices that they share say otherwise than all futures together."""
    stderr: float | None
    """Standard error of the difference; `None` with fewer than two indices."""
    interval: Interval | None
    """Confidence interval of the difference; `None` where no honest one exists."""
    n: int
    """Sample indices at which both have an objective."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What the futures of a group say about the order of its candidates."""

    aim: Literal["best", "ranking"]
    """What was decided."""
    best: int
    """Position of the candidate that is best as far as is known, from 0.

    Candidates are compared over the futures that they share, so it need not be the one with the
    highest reward."""
    ranking: tuple[int, ...]
    """Positions of the candidates with a value, best first."""
    confidence: float
    """Chance that the decision is right up to the tolerance, 0 to 1.

    Below what was asked for where the most futures, a budget or the deadline came first."""
    method: str
    """How chances of comparisons make the confidence: `product` or `bonferroni`."""

    def __str__(self) -> str:
        sure = f"{self.confidence * 100:.1f} % sure"
        if self.aim == "best":
            return f"candidate {self.best} is best, {sure}"
        return f"ranking {' > '.join(map(str, self.ranking))}, {sure}"
