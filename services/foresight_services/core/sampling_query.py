"""How many futures a caller wants: as it was asked, checked, and made a plan."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, get_args

from foresight_services.core import checks
from foresight_services.core.allocation import FIRST, WINDOW, SamplePlan
from foresight_services.core.decision import Aim
from foresight_services.core.errors import Violation
from foresight_services.core.estimator import LARGEST
from foresight_services.core.suggest import one_of

MAX_TOTAL: Final = checks.MAX_CANDIDATES * checks.MAX_SAMPLES
MAX_WINDOW: Final = 1024
CONFIDENCE: Final = 0.95
LEAST: Final = 2
"""Futures that must succeed, by default, where outcomes decide how many there are."""

AIMS: Final[dict[str, Aim]] = {aim: aim for aim in get_args(Aim)}
"""What can be decided, by name."""

_ADAPTIVE: Final = "ask for `target_stderr` or `decide` as well"


@dataclass(frozen=True, slots=True)
class SamplingQuery:
    """What decides how many futures there are, unchecked; None stands for the default."""

    target_stderr: float | None = None
    """Standard error at which a candidate has enough; None for no target."""
    decide: str = ""
    """Decision that futures are spent on, an `Aim`; empty for none."""
    confidence: float | None = None
    """Chance of being right at which the decision has enough."""
    tolerance: float = 0.0
    """Differences up to this do not matter to the decision."""
    total: int | None = None
    """Futures of the group; None for no limit."""
    window: int | None = None
    """Futures on their way at once."""

    @property
    def adaptive(self) -> bool:
        """Whether outcomes decide how many futures there are."""
        return self.target_stderr is not None or bool(self.decide)

    def violations(
        self, least: int | None, most: int | None, candidates: int
    ) -> Iterator[Violation]:
        """Yield what is wrong, field by field.

        Args:
            least: `samples.min` as it was asked.
            most: `samples.max` as it was asked.
            candidates: how many there are.
        """
        if not self.adaptive:
            yield from self._without_aim()
            return
        if most is None:
            yield _wrong("max", "is not set; say how many futures a candidate gets at most")
        if self.target_stderr is not None:
            if not 0.0 < self.target_stderr <= LARGEST:  # also refuses NaN
                problem = f"is {self.target_stderr}; must be a finite number above 0"
                yield _wrong("target_stderr", problem)
            if self.decide:
                yield _wrong("target_stderr", "cannot be combined with `decide`; ask for one")
        yield from self._decision()
        yield from checks.integer("simulation.samples.window", self.window, 1, MAX_WINDOW)
        yield from checks.integer("simulation.samples.total", self.total, 1, MAX_TOTAL)
        if most is None or not 1 <= most <= checks.MAX_SAMPLES or self.total is None:
            return
        needed = candidates * first_of(least, most)
        if 1 <= self.total < needed:
            problem = f"is {self.total}; {candidates} candidates get {needed} futures in any case"
            yield _wrong("total", problem)

    def _without_aim(self) -> Iterator[Violation]:
        if self.confidence is not None:
            yield _wrong("confidence", "is for `decide` alone; say what is to be decided")
        if self.tolerance != 0.0:
            yield _wrong("tolerance", "is for `decide` alone; say what is to be decided")
        for name, value in (("total", self.total), ("window", self.window)):
            if value is not None:
                yield _wrong(name, f"is for adaptive sampling alone; {_ADAPTIVE}")

    def _decision(self) -> Iterator[Violation]:
        if not self.decide:
            for name, given in (
                ("confidence", self.confidence is not None),
                ("tolerance", self.tolerance != 0.0),
            ):
                if given:
                    yield _wrong(name, "is for `decide` alone, not for `target_stderr`")
            return
        if self.decide not in AIMS:
            yield _wrong("decide", one_of(self.decide, AIMS))
        if self.confidence is not None and not 0.0 < self.confidence < 1.0:
            yield _wrong("confidence", f"is {self.confidence}; must be above 0 and below 1")
        if not 0.0 <= self.tolerance <= LARGEST:
            problem = f"is {self.tolerance}; must be a finite number, at least 0"
            yield _wrong("tolerance", problem)

    def plan(self, least: int | None, most: int, candidates: int) -> SamplePlan | None:
        """Return the plan of a query without violations; None where outcomes decide nothing."""
        if not self.adaptive:
            return None
        together = bool(self.decide) or self.total is not None
        return SamplePlan(
            most=most,
            first=first_of(least, most),
            target_stderr=self.target_stderr,
            aim=AIMS[self.decide] if self.decide else None,
            confidence=CONFIDENCE if self.confidence is None else self.confidence,
            tolerance=self.tolerance,
            total=self.total,
            window=self.window or (candidates if together else WINDOW),
        )

    def completed(self, plan: SamplePlan | None) -> SamplingQuery:
        """Return the query with the defaults that `plan`, made of it, has."""
        if plan is None:
            return self
        confidence = None if plan.aim is None else plan.confidence
        return replace(self, confidence=confidence, window=plan.window)


def first_of(least: int | None, most: int) -> int:
    """Return how many futures every candidate gets in any case."""
    return min(most, max(least or 1, FIRST))


def _wrong(name: str, problem: str) -> Violation:
    return Violation(f"simulation.samples.{name}", problem)
