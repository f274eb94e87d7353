"""How much better one candidate is than another, from futures that share their draws.

For candidates i and j with m common indices, i with n >= m values in all:

    difference = mean_m(i) - mean_m(j) + (1 - r) (mean_n(i) - mean_m(i))

where r is the correlation of candidates at equal indices, pooled over the group. It is the
regression estimate of double sampling (Cochran 1977, Sampling Techniques, section 12.6) with one
slope for all: r = 0 gives the difference of the plain means, r = 1 that of the common indices
alone, and equal numbers make it both. Its variance is that of two independent blocks of indices.
A pair's own variance is moderated towards the group's, as if `PRIOR_DOF` degrees of freedom had
shown that (Smyth 2004, Stat. Appl. Genet. Mol. Biol. 3(1), section 3), and the group's contains
half an observation at each end of the objective's range, or of what the group has shown where that
is not known. So a few equal values never look certain, and neither do rare successes impossible
that nobody has had yet. The chance that a difference has the wrong sign is Student's, with the
degrees of freedom of the moderated variance.

Invariant: equal values give an equal comparison to the last bit, in whatever order they came.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import zip_longest
from typing import Final

PRIOR_DOF: Final = 4
"""Degrees of freedom for which the group's variance counts in a pair's."""

MAX_CORRELATION: Final = 0.95
"""Largest correlation that is believed: even equal draws leave candidates luck of their own."""

Values = Sequence[float | None]
"""A candidate's values by sample index, from 0; None where a future has none."""


@dataclass(frozen=True, slots=True)
class Spread:
    """How much futures of a group vary."""

    variance: float
    """Variance of one value about its candidate's mean; 0 only where all values are equal."""
    correlation: float
    """Correlation of two candidates at equal sample indices, 0 to `MAX_CORRELATION`."""

    def of_difference(self, n: int, m: int) -> float:
        """Return the variance of a difference of candidates with `n` and `m` values, at least 1."""
        n, m = max(n, m), min(n, m)
        kept, beyond = 1.0 - self.correlation, 1.0 - m / n
        factor = 1.0 - kept * beyond
        shared = (factor * factor + 1.0 - 2.0 * factor * self.correlation) / m
        return self.variance * (shared + ((kept * beyond) ** 2 / (n - m) if n > m else 0.0))


def spread_of(group: Sequence[Values], value_range: tuple[float, float] | None = None) -> Spread:
    """Return the spread within candidates, pooled over the group, of values in `value_range`."""
    parts = [_residuals(values) for values in map(tuple, group) if count(values)]
    if not parts:
        return Spread(0.0, 0.0)
    span = max(part.highest for part in parts) - min(part.lowest for part in parts)
    if value_range is not None:
        span = max(span, value_range[1] - value_range[0])
    squares = math.fsum(part.squares for part in parts) + span * span / 4.0
    variance = squares / (sum(part.count - 1 for part in parts) + 1)
    return Spread(variance, _correlation([part.residuals for part in parts]))


@dataclass(frozen=True, slots=True)
class _Residuals:
    """A candidate's values about their mean."""

    residuals: Values
    squares: float
    count: int
    lowest: float
    highest: float


# What is asked again after every future differs in one candidate from what was asked before.
@lru_cache(maxsize=1024)
def _residuals(values: tuple[float | None, ...]) -> _Residuals:
    known = [x for x in values if x is not None]
    mean = _mean(known)
    residuals = tuple(None if x is None else x - mean for x in values)
    squares = math.fsum(x * x for x in residuals if x is not None)
    return _Residuals(residuals, squares, len(known), min(known), max(known))


def _correlation(group: Sequence[Values]) -> float:
    """Return the correlation of two candidates' residuals at equal indices, over all pairs."""
    products = squares = 0.0
    for column in zip_longest(*group):
        present = [x for x in column if x is not None]
        own = sum(x * x for x in present)
        products += sum(present) ** 2 - own
        squares += own * (len(present) - 1)
    return min(max(products / squares, 0.0), MAX_CORRELATION) if squares > 0.0 else 0.0


@dataclass(frozen=True, slots=True)
class Comparison:
    """How much better one candidate is than another."""

    difference: float
    """Estimate of the first's reward less the second's."""
    stderr: float
    """Standard error of `difference`, never 0 where the group's values differ."""
    dof: int
    """Degrees of freedom behind `stderr`."""

    def chance(self, margin: float = 0.0) -> float:
        """Return the chance that the first is better, or worse by less than `margin`."""
        if self.stderr <= 0.0:
            return 0.5 if self.difference + margin == 0.0 else float(self.difference + margin > 0.0)
        return student_t_cdf((self.difference + margin) / self.stderr, self.dof)


def compare(first: Values, second: Values, spread: Spread) -> Comparison:
    """Compare two candidates of a group, each with at least one value."""
    if count(first) < count(second):
        mirrored = compare(second, first, spread)
        return Comparison(0.0 - mirrored.difference, mirrored.stderr, mirrored.dof)
    common = _common(tuple(first), tuple(second))
    if common is None:
        return _unpaired(
            [x for x in first if x is not None], [y for y in second if y is not None], spread
        )
    n, m, kept = common.n, common.m, 1.0 - spread.correlation
    beyond = 1.0 - m / n
    factor = 1.0 - kept * beyond
    squares = max(0.0, factor * (factor * common.xx - 2.0 * common.xy) + common.yy)
    prior = spread.variance * (factor * factor + 1.0 - 2.0 * factor * spread.correlation)
    dof = PRIOR_DOF + m - 1
    variance = (PRIOR_DOF * prior + squares) / dof / m
    if n > m:
        own = (PRIOR_DOF * spread.variance + common.squares) / (PRIOR_DOF + n - 1)
        variance += (kept * beyond) ** 2 * own / (n - m)
    return Comparison(common.difference + kept * common.beyond + 0.0, math.sqrt(variance), dof)


@dataclass(frozen=True, slots=True)
class _Common:
    """Two candidates at their m common indices, the first with n values in all."""

    n: int
    m: int
    difference: float  # of the means over the common indices
    beyond: float  # the first's mean over all its values less that over the common indices
    squares: float  # of all the first's values about their mean
    xx: float  # products about the means over the common indices
    xy: float
    yy: float


@lru_cache(maxsize=4096)
def _common(first: tuple[float | None, ...], second: tuple[float | None, ...]) -> _Common | None:
    """Return what a comparison needs whatever the group; None without a common index."""
    pairs = [(x, y) for x, y in zip(first, second, strict=False) if x is not None and y is not None]
    if not pairs:
        return None
    known = [x for x in first if x is not None]
    mean_all = _mean(known)
    mean_x, mean_y = (_mean(column) for column in zip(*pairs, strict=True))
    return _Common(
        n=len(known),
        m=len(pairs),
        difference=mean_x - mean_y,
        beyond=mean_all - mean_x,
        squares=math.fsum((x - mean_all) ** 2 for x in known),
        xx=math.fsum((x - mean_x) ** 2 for x, _ in pairs),
        xy=math.fsum((x - mean_x) * (y - mean_y) for x, y in pairs),
        yy=math.fsum((y - mean_y) ** 2 for _, y in pairs),
    )


def _unpaired(xs: Sequence[float], ys: Sequence[float], spread: Spread) -> Comparison:
    """Compare candidates whose successful futures share no index."""
    variance = _moderated(xs, spread) / len(xs) + _moderated(ys, spread) / len(ys)
    dof = PRIOR_DOF + min(len(xs), len(ys)) - 1
    return Comparison(_mean(xs) - _mean(ys) + 0.0, math.sqrt(variance), dof)


def _moderated(values: Sequence[float], spread: Spread) -> float:
    """Return the variance of one value of a candidate."""
    mean = _mean(values)
    squares = math.fsum((x - mean) ** 2 for x in values)
    return (PRIOR_DOF * spread.variance + squares) / (PRIOR_DOF + len(values) - 1)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def count(values: Values) -> int:
    """Return how many futures have a value."""
    return len(values) - values.count(None)


@lru_cache(maxsize=4096)
def student_t_cdf(t: float, dof: int) -> float:
    """Return P(T <= t) for Student's T with `dof` >= 1 degrees of freedom.

    A finite sum in theta = atan(t / sqrt(dof)): Abramowitz & Stegun 26.7.3 (odd), 26.7.4 (even).
    """
    theta = math.atan2(abs(t), math.sqrt(dof))
    sine, cosine = math.sin(theta), math.cos(theta)
    if dof == 1:
        mass = 2.0 * theta / math.pi
    else:
        odd = dof % 2
        total = term = cosine if odd else 1.0
        for k in range(2 + odd, dof - 1, 2):
            term *= cosine * cosine * (k - 1) / k
            total += term
        mass = 2.0 / math.pi * (theta + sine * total) if odd else sine * total
    return 0.5 + math.copysign(0.5 * min(mass, 1.0), t)
