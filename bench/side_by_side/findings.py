"""What was found: numbers of each side for each round, and the lines of the table made of them."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Side = Literal["reference", "foresight"]
Findings = Mapping[str, Sequence[float]]
"""What one side's work gave in one round, by name."""


@dataclass(frozen=True, slots=True)
class Spread:
    """A number as the rounds gave it."""

    median: float
    """Its median over the rounds."""
    low: float
    """The least round."""
    high: float
    """The greatest round."""

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread | None:
        """Return the spread of `values`; None where there are none."""
        return cls(statistics.median(values), min(values), max(values)) if values else None


@dataclass(frozen=True, slots=True)
class Goal:
    """What a number has to reach."""

    kind: Literal["at most", "at least"]
    """On which side of the bound it has to be."""
    bound: float
    """The bound, which counts as reached."""

    def met_by(self, value: float) -> bool:
        """Return whether `value` reaches it."""
        return value <= self.bound if self.kind == "at most" else value >= self.bound


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the table."""

    title: str
    """What is measured."""
    unit: str
    """Its unit; empty for a plain number."""
    reference: Spread | None
    """The reference's number; None where it has none."""
    foresight: Spread | None
    """Foresight's number; None where it was not measured."""
    goal: Goal | None = None
    """What Foresight has to reach; None where the number only explains another."""
    note: str = ""
    """What has to be known to read it."""

    @property
    def met(self) -> bool | None:
        """Whether the median reaches the goal; None where either is missing."""
        if self.goal is None or self.foresight is None:
            return None
        return self.goal.met_by(self.foresight.median)


@dataclass(frozen=True, slots=True)
class Found:
    """The findings of one kind of work, round by round."""

    reference: list[Findings] = field(default_factory=list)
    """The reference's."""
    foresight: list[Findings] = field(default_factory=list)
    """Foresight's."""

    def values(self, side: Side, name: str) -> list[list[float]]:
        """Return what the rounds of `side` gave for `name`, where they gave it."""
        rounds = self.reference if side == "reference" else self.foresight
        return [list(findings[name]) for findings in rounds if name in findings]

    def spread(self, side: Side, name: str) -> Spread | None:
        """Return the spread of the rounds' medians of `name`."""
        return Spread.of([statistics.median(values) for values in self.values(side, name)])

    def ratios(self, name: str, over: str, *, of: Side, scale: float = 1.0) -> Spread | None:
        """Return how many times Foresight's `name` goes into `over` of the side `of`, by rounds."""
        pairs = zip(self.values(of, over), self.values("foresight", name), strict=False)
        return Spread.of([scale * sum(other) / sum(own) for other, own in pairs])


def quantile(values: Sequence[float], share: float) -> float:
    """Return the least of `values` that at least `share` of them do not exceed."""
    ordered = sorted(values)
    place = -int(-len(ordered) * share // 1)
    return ordered[max(0, min(len(ordered), place) - 1)]
