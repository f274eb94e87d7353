"""What a group says about how its candidates compare, as frozen objects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Decision", "Difference", "Interval", "Lead", "Lift"]


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
class Lift:
    """By how much a candidate is better than what the policy says itself."""

    value: float
    """The reward less the mean of the baseline responses' rewards, in units of the objective.

    In the profile `verl` both are means of the futures' own objectives."""
    stderr: float | None
    """Standard error, over futures and over draws of the responses; `None` with fewer than two
    futures or two responses."""
    interval: Interval | None
    """Student's interval with one degree of freedom less than there are responses; `None` without a
    standard error, and where that is 0."""
    baseline: float
    """Mean of the baseline responses' rewards."""
    responses: int
    """Responses in that mean: those that have a reward."""

    def __str__(self) -> str:
        spread = "" if self.stderr is None else f" ± {self.stderr:.3f}"
        return f"{self.value:+.3f}{spread} over {self.responses} responses"


@dataclass(frozen=True, slots=True)
class Difference:
    """How much better one candidate is than another, from the sample indices that both have."""

    mean: float
    """Mean of the first one's objectives less the second one's, in units of the objective."""
    stderr: float | None
    """Standard error of the mean; `None` with fewer than two indices."""
    n: int
    """Sample indices at which both have an objective, at least 1."""


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
