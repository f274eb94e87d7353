"""The arithmetic of objectives, once weights and ranges are known.

An objective is a sum of terms, one for each metric: its score, weighted and limited. An
`Aggregation` gives the value of one conversation and the estimate over a candidate's futures.
`MeanOfSums` takes the mean of the conversations' values, `SumOfMeans` that of every metric first.

Invariants: a value never leaves `range`, and both ends of `range` are reached where every score can
be anywhere in its own range; sums are exactly rounded, so the order of futures changes no bit. A
metric of weight 0 is measured and changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from foresight_services.core.errors import Reason, Upstream
from foresight_services.core.estimator import (
    DEFAULT_LEVEL,
    LARGEST,
    Estimate,
    estimate,
    standard_error,
)
from foresight_services.core.interval import Interval, Method
from foresight_services.core.objective import NO_CLAMP, Clamp, Range

_LARGEST_TERM: Final = LARGEST / 64
"""Largest magnitude of a weighted score: 32 of them are within what can be estimated."""

Row = Sequence[float]
"""The scores of one conversation, in the order of the metrics."""


class Aggregation(Protocol):
    """How the scores of one request become its rewards."""

    @property
    def range(self) -> Range | None:
        """The values that it can take; None where a metric has no bound."""
        ...

    def value(self, scores: Row) -> float:
        """Return the objective of one conversation.

        Raises:
            Upstream: METRIC_FAILED, where a score is too large to be reckoned with.
        """
        ...

    def estimate(self, rows: Sequence[Row], *, level: float = DEFAULT_LEVEL) -> Estimate:
        """Return the reward over conversations that `value` takes, at least one, and its error."""
        ...


@dataclass(frozen=True, slots=True)
class Term:
    """What one metric adds to an objective."""

    title: str
    """Label of the metric."""
    weight: float
    """Factor of the score, sign included; finite."""
    scores: Range | None
    """The scores that the metric can give; None where it has no bound."""
    clamp: Clamp = NO_CLAMP
    """Limits of the weighted score."""
    normalise: bool = False
    """Whether `scores` is mapped to 0..1 first; a range of one value to 0."""

    def value(self, score: float) -> float:
        """Return the term for `score`; Upstream where that is too large to be reckoned with."""
        weighted = self.weighted(score)
        if not (abs(score) <= LARGEST and abs(weighted) <= _LARGEST_TERM):  # also refuses NaN
            raise Upstream(
                Reason.METRIC_FAILED,
                f"{self.title}: scored {score}, too large to be weighted",
                metadata={"metric": self.title},
            )
        return self.clamp(weighted)

    def weighted(self, score: float) -> float:
        """Return the term before its limits."""
        score = self.within_range(score)
        limits = self.limits
        if self.normalise and limits is not None:
            span = limits.high - limits.low
            score = (score - limits.low) / span if span > 0 else 0.0
        return self.weight * score

    def within_range(self, score: float) -> float:
        """Return `score` without what rounding adds to it beyond the metric's range."""
        limits = self.limits
        return score if limits is None else min(max(score, limits.low), limits.high)

    def moves_at(self, score: float) -> bool:
        """Whether the term still changes with the score there; at a limit it is taken to."""
        weighted = self.weighted(score)
        return self.clamp(weighted) == weighted

    @property
    def limits(self) -> Range | None:
        """The range of the scores, where it is one that can be reckoned with."""
        known = self.scores
        return known if known and -LARGEST <= known.low <= known.high <= LARGEST else None

    @property
    def range(self) -> Range:
        """The values of the term, its ends infinite where there is no bound."""
        if self.weight == 0:
            low = high = 0.0
        elif (limits := self.limits) is None:
            low, high = -math.inf, math.inf
        else:
            low, high = sorted((self.weighted(limits.low), self.weighted(limits.high)))
        return Range(self.clamp(low), self.clamp(high))


@dataclass(frozen=True, slots=True)
class MeanOfSums:
    """The mean over futures of the limited sum of terms."""

    terms: tuple[Term, ...]
    """One for each metric."""
    clamp: Clamp = NO_CLAMP
    """Limits of the sum."""

    @property
    def range(self) -> Range | None:
        """The values that it can take; None where a metric has no bound."""
        return _sum_of([term.range for term in self.terms], self.clamp)

    def value(self, scores: Row) -> float:
        """Return the limited sum of one conversation's terms."""
        return self.clamp(_summed(self.terms, scores))

    def estimate(self, rows: Sequence[Row], *, level: float = DEFAULT_LEVEL) -> Estimate:
        """Return the mean of the conversations' values with its uncertainty."""
        return estimate(
            [self.value(row) for row in rows], value_range=_ends(self.range), level=level
        )


@dataclass(frozen=True, slots=True)
class SumOfMeans:
    """The sum of terms, each that of a metric's mean over the futures.

    Because of the limits this is not the mean of the conversations' values.
    """

    terms: tuple[Term, ...]
    """One for each metric; none is normalised."""

    @property
    def range(self) -> Range | None:
        """The values that it can take; None where a metric without a limit has no bound."""
        return _sum_of([term.range for term in self.terms], NO_CLAMP)

    def value(self, scores: Row) -> float:
        """Return the sum of one conversation's own terms."""
        return _summed(self.terms, scores)

    def estimate(self, rows: Sequence[Row], *, level: float = DEFAULT_LEVEL) -> Estimate:
        """Return the sum of the metrics' terms, with its uncertainty.

        Standard error: by the delta method. Near its mean a term within its limits moves with its
        weighted score and a term beyond them not at all, so it is the standard error of what each
        conversation adds up to over the terms within. Interval: every metric's mean gets an
        interval at level 1 - (1 - level) / M, M the metrics that count; by the union bound all M
        hold at once with `level`, and the sum of their terms with them. None where one has none.
        """
        counted = [
            (term, [term.within_range(score) for score in column])
            for term, column in zip(self.terms, zip(*rows, strict=True), strict=True)
            if term.weight != 0
        ]
        each = 1.0 - (1.0 - level) / max(len(counted), 1)
        means = [
            estimate(column, value_range=_ends(term.limits), level=each) for term, column in counted
        ]
        terms = [term for term, _ in counted]
        moving = [
            (term, column)
            for (term, column), found in zip(counted, means, strict=True)
            if term.moves_at(found.mean)
        ]
        influences = [
            math.fsum(term.weighted(column[future]) for term, column in moving)
            for future in range(len(rows))
        ]
        return Estimate(
            mean=_summed(terms, [found.mean for found in means]),
            stderr=standard_error(influences),
            interval=_joint_interval(terms, [found.interval for found in means], level),
            n=len(rows),
        )


def _joint_interval(
    terms: Sequence[Term], intervals: Sequence[Interval | None], level: float
) -> Interval | None:
    """Return the interval of the sum of `terms`, from those of their means; None where one lacks.

    One method serves all known ranges; one Student-t makes the whole no better than that.
    """
    lows, highs = [], []
    method: Method = "gaffke"
    for term, interval in zip(terms, intervals, strict=True):
        if interval is None:
            return None
        if method != "student_t":
            method = interval.method
        ends = sorted(term.clamp(term.weighted(end)) for end in (interval.low, interval.high))
        lows.append(ends[0])
        highs.append(ends[1])
    return Interval(math.fsum(lows) + 0.0, math.fsum(highs) + 0.0, level, method)


def _summed(terms: Sequence[Term], scores: Row) -> float:
    # Adding 0.0 turns -0.0 into 0.0.
    return math.fsum(term.value(score) for term, score in zip(terms, scores, strict=True)) + 0.0


def _sum_of(ranges: Sequence[Range], clamp: Clamp) -> Range | None:
    low = clamp(math.fsum(part.low for part in ranges)) + 0.0
    high = clamp(math.fsum(part.high for part in ranges)) + 0.0
    return Range(low, high) if -LARGEST <= low <= high <= LARGEST else None


def _ends(values: Range | None) -> tuple[float, float] | None:
    return None if values is None else (values.low, values.high)
