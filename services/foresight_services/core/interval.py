"""Confidence intervals for the mean of a small sample.

Three methods, and one rule that picks between them (docs/adr/0003-intervals.md):

- `gaffke`, where the range is known, up to 31 values: Gaffke's bound (2005), also found by
  Learned-Miller & Thomas (2019, arXiv:1905.06208). It holds its level at every size; on 0/1 samples
  it is the Clopper-Pearson interval.
- `gaffke_mid_p`, where the range is known, from 32 values on: the same with half the doubt, as
  Lancaster's mid-P (1961) is to Clopper-Pearson. It comes near its level from both sides instead of
  holding it as a floor, and unlike Student's t it still doubts what the sample did not show.
- `student_t`, where the range is not known and the values vary. No known range and no spread means
  no interval: none is honest (Bahadur & Savage 1956).

Invariants: equal samples give equal intervals to the last bit whatever their order, because all
methods work on the ordered sample; a bound never leaves a known range.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import Final, Literal

Method = Literal["gaffke", "gaffke_mid_p", "student_t"]

ROUNDING: Final = 1e-9
"""Differences below this fraction of the scale of the values are taken for rounding."""

MAX_LEVEL: Final = 0.999999
"""Largest level: nearer to 1 the sum for Student-t loses its tail to rounding."""

MID_P_FROM: Final = 32
"""Smallest sample for `gaffke_mid_p`; below it the level swings too far under nominal."""

_TOLERANCE: Final = 1e-10
_MAX_STEPS: Final = 200


@dataclass(frozen=True, slots=True)
class Interval:
    """A two-sided confidence interval for a mean, with half of the risk on each side."""

    low: float
    """Lower bound, in the units of the values."""
    high: float
    """Upper bound, in the units of the values; not below `low`."""
    level: float
    """Nominal coverage, above 0 and at most `MAX_LEVEL`."""
    method: Method
    """How the bounds were computed."""


def mean_interval(
    ordered: tuple[float, ...],
    *,
    mean: float,
    stderr: float | None,
    value_range: tuple[float, float] | None,
    level: float,
) -> Interval | None:
    """Return the interval for the mean behind a sample, or None where no honest one exists.

    `ordered` holds the finite values in ascending order, all within `value_range` (lowest and
    highest value that the objective can take) where that is known; `mean` and `stderr` are theirs.
    `level` is above 0 and at most `MAX_LEVEL`, else ValueError.
    """
    _check_level(level)
    if value_range is not None:
        return gaffke_interval(ordered, value_range, level, mid_p=len(ordered) >= MID_P_FROM)
    n = len(ordered)
    scale = max(abs(ordered[0]), abs(ordered[-1]))
    # A sample that differs only by rounding carries no information about its spread.
    if stderr is None or stderr * math.sqrt(n) <= ROUNDING * scale:
        return None
    reach = student_t_quantile(level, n - 1) * stderr
    return Interval(low=mean - reach, high=mean + reach, level=level, method="student_t")


def _check_level(level: float) -> None:
    if not 0.0 < level <= MAX_LEVEL:
        raise ValueError(f"level must be above 0 and at most {MAX_LEVEL}, got {level!r}")


@lru_cache(maxsize=1024)
def student_t_quantile(level: float, dof: int) -> float:
    """Return t such that a Student-t variable lies in [-t, t] with probability `level`.

    `dof` >= 1 is a whole number, so the probability is a finite sum in the angle
    theta = atan(t / sqrt(dof)) (Abramowitz & Stegun 26.7.3, 26.7.4). It is concave in theta, so
    Newton's iterates from theta = 0 rise to the root and never pass it. Costs O(dof) per iterate.
    """
    _check_level(level)
    if dof < 1:
        raise ValueError(f"degrees of freedom must be at least 1, got {dof}")
    # d level / d theta = peak * cos(theta)^(dof - 1)
    peak = 2.0 * math.exp(math.lgamma((dof + 1) / 2) - math.lgamma(dof / 2)) / math.sqrt(math.pi)
    theta = 0.0
    for _ in range(_MAX_STEPS):
        cosine = math.cos(theta)
        step = (level - _student_t_mass(theta, dof)) / (peak * cosine ** (dof - 1))
        theta += step
        if step <= 1e-15 * theta:
            break
    return math.tan(theta) * math.sqrt(dof)


def _student_t_mass(theta: float, dof: int) -> float:
    """Return P(|T| <= sqrt(dof) tan(theta)), Abramowitz & Stegun 26.7.3 (odd) and 26.7.4 (even)."""
    sine, cosine = math.sin(theta), math.cos(theta)
    if dof == 1:
        return 2.0 * theta / math.pi
    odd = dof % 2
    total = term = cosine if odd else 1.0
    for k in range(2 + odd, dof - 1, 2):
        term *= cosine * cosine * (k - 1) / k
        total += term
    return 2.0 / math.pi * (theta + sine * total) if odd else sine * total


@lru_cache(maxsize=2048)
def gaffke_interval(
    ordered: tuple[float, ...], value_range: tuple[float, float], level: float, *, mid_p: bool
) -> Interval:
    """Return Gaffke's interval for values in ascending order, all within `value_range`.

    The upper bound is the (1 + level)/2 quantile of a randomly weighted mean of the n values and
    one more at the top of the range, with weights uniform on the simplex (Dirichlet(1, ..., 1));
    the lower bound is its mirror image. With `mid_p` the one more is at either end of the range
    with equal chance, for both bounds. Equal values do not give a point: what n draws did not show
    may still exist.
    """
    _check_level(level)
    low, high = value_range
    tail = (1.0 - level) / 2.0
    with_high, with_low = (*ordered, high), (low, *ordered)
    mirrored_high = (-high, *(-x for x in reversed(ordered)))
    mirrored_low = (*(-x for x in reversed(ordered)), -low)
    if mid_p:
        upper = _exceeded_with(tail, (with_high, with_low))
        mirrored = _exceeded_with(tail, (mirrored_low, mirrored_high))
    else:
        upper = _exceeded_with(tail, (with_high,))
        mirrored = _exceeded_with(tail, (mirrored_low,))
    # 0.0 - x, not -x: a bound at zero must not become -0.0.
    return Interval(
        low=max(low, 0.0 - mirrored),
        high=min(high, upper),
        level=level,
        method="gaffke_mid_p" if mid_p else "gaffke",
    )


def _exceeded_with(tail: float, mixture: tuple[tuple[float, ...], ...]) -> float:
    """Return the point that a Dirichlet-weighted mean exceeds with chance `tail`.

    Each member of `mixture`, as likely as any other, holds the ascending knots of one mean; all
    have the same number. The survival function S of one mean is the volume of a simplex cut by a
    half-space, so S^(1/n) is concave (Brunn-Minkowski) and Newton's method on it converges from
    anywhere: every iterate after the first lies at or above the root, the safe side of a bound.
    The bracket guards against iterates that leave the knots or on which rounding leaves no slope,
    and against the slight dents that a mixture has.
    """
    bottom, top = min(knots[0] for knots in mixture), max(knots[-1] for knots in mixture)
    span = top - bottom
    if span <= 0.0:
        return top
    n = len(mixture[0]) - 1
    knots = mixture[0]
    center = math.fsum(knots) / (n + 1)
    variance = math.fsum((t - center) ** 2 for t in knots) / ((n + 1) * (n + 2))
    point = center - NormalDist().inv_cdf(tail) * math.sqrt(variance)
    for _ in range(_MAX_STEPS):
        if not bottom < point < top:
            point = bottom + (top - bottom) / 2.0
            if not bottom < point < top:  # no float lies between them
                return top
        parts = [_survival(knots, point) for knots in mixture]
        survival = sum(part[0] for part in parts) / len(parts)
        density = sum(part[1] for part in parts) / len(parts)
        if survival > tail:
            bottom = point
        else:
            top = point
        if survival > 0.0 and density > 0.0:
            # Newton on S^(1/n) - tail^(1/n), with S' = -n density.
            step = -math.expm1(math.log(tail / survival) / n) * survival / density
            point += step
        else:
            step = top - bottom
            point = bottom + step / 2.0
        if abs(step) <= _TOLERANCE * span:
            return point
    return top


def _survival(knots: tuple[float, ...], q: float) -> tuple[float, float]:
    """Return P(D > q) and its density / n, for D the Dirichlet-weighted mean of n + 1 `knots`.

    The density of D is the B-spline on the knots (Curry & Schoenberg 1966), which gives its
    survival function a recurrence of the de Boor kind. Over the knots t_i .. t_(i+k),

        S(i, k) = ((t_(i+k) - q) S(i+1, k-1) + (q - t_i) S(i, k-1)) / (t_(i+k) - t_i)

    where t_i <= q < t_(i+k), 1 where all knots lie above q and 0 where none does. Every step is a
    convex combination, so nothing cancels, tied knots included. The density over n is
    (S(1, n-1) - S(0, n-1)) / (t_n - t_0).
    """
    if q < knots[0]:
        return 1.0, 0.0
    if q >= knots[-1]:
        return 0.0, 0.0
    split = bisect_right(knots, q)
    above = [t - q for t in knots[split:]]
    # After the knot with index i, row[b] is S(i, k) for k such that t_(i+k) = q + above[b].
    row = [1.0] * len(above)
    without_lowest = 1.0
    for knot in reversed(knots[:split]):
        below = q - knot
        without_lowest = row[-1]
        left = 0.0
        for b, gap in enumerate(above):
            row[b] = left = (gap * row[b] + below * left) / (below + gap)
    without_highest = row[-2] if len(row) > 1 else 0.0
    return row[-1], (without_lowest - without_highest) / (knots[-1] - knots[0])
