"""From the scores of finished futures to a mean with its uncertainty.

Futures finish in any order, and the same futures must give the same reward: sums are exactly
rounded (`math.fsum`), so a result does not depend on the order of the values to the last bit.
Only values that exist come in here; a failed future is the caller's to leave out, never a zero.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from foresight_services.core.interval import ROUNDING, Interval, mean_interval

DEFAULT_LEVEL: Final = 0.95
"""Nominal coverage of an interval when the caller does not choose one."""

LARGEST: Final = 1e150
"""Largest magnitude of a value: its square, summed, is still finite."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """The mean of a sample and what is known about the mean behind it."""

    mean: float
    """Sample mean, in the objective's units."""
    stderr: float | None
    """Sample standard deviation (n - 1 in the denominator) over sqrt(n); None when n < 2."""
    interval: Interval | None
    """Interval for the mean behind the sample; None where no honest one exists."""
    n: int
    """Number of values, at least 1."""


def estimate(
    values: Sequence[float],
    *,
    value_range: tuple[float, float] | None,
    level: float = DEFAULT_LEVEL,
) -> Estimate:
    """Estimate the mean behind `values`, independent draws of the objective.

    `value_range` is the lowest and the highest value that the objective can take, None if unknown.
    A value outside it by more than rounding, a value that is not finite, an empty sample or a
    level that is not above 0 and at most `interval.MAX_LEVEL` raises ValueError.
    """
    if not values:
        raise ValueError("an estimate needs at least one value")
    limits = None if value_range is None else _checked_range(value_range)
    ordered = tuple(sorted(_checked(value, limits) for value in values))
    mean, stderr = _mean(ordered), standard_error(ordered)
    interval = mean_interval(ordered, mean=mean, stderr=stderr, value_range=limits, level=level)
    return Estimate(mean=mean, stderr=stderr, interval=interval, n=len(ordered))


def standard_error(values: Sequence[float]) -> float | None:
    """Return the standard error of the mean of `values`, at least one; None for fewer than two."""
    n = len(values)
    if n < 2:
        return None
    mean = _mean(values)
    return math.sqrt(math.fsum((x - mean) ** 2 for x in values) / (n - 1) / n)


def _mean(values: Sequence[float]) -> float:
    """Return the mean; rounded, it would fall outside the values by a unit in the last place."""
    return min(max(math.fsum(values) / len(values), min(values)), max(values))


def paired_difference(
    a: Sequence[float | None],
    b: Sequence[float | None],
    *,
    value_range: tuple[float, float] | None,
    level: float = DEFAULT_LEVEL,
) -> Estimate | None:
    """Estimate how much better candidate `a` is than `b`, from futures that share their luck.

    Position i of both holds the value of sample index i, None where that future has none. Futures
    with equal index use common random numbers, so their differences vary less than either value.
    Only indices at which both have a value count; None where there is no such index.
    `value_range` is that of one value, (low, high); a difference lies in [low - high, high - low].
    """
    limits = None if value_range is None else _checked_range(value_range)
    differences = [
        _checked(x, limits) - _checked(y, limits)
        for x, y in zip(a, b, strict=False)  # one candidate may have been given more samples
        if x is not None and y is not None
    ]
    if not differences:
        return None
    reach = None if limits is None else limits[1] - limits[0]
    return estimate(
        differences, value_range=None if reach is None else (-reach, reach), level=level
    )


def _checked_range(value_range: tuple[float, float]) -> tuple[float, float]:
    """Return the range as floats; raise ValueError unless it is finite and ascending."""
    low, high = float(value_range[0]), float(value_range[1])
    if not -LARGEST <= low <= high <= LARGEST:
        raise ValueError(f"value range must be finite and ascending, got {value_range!r}")
    return low, high


def _checked(value: float, limits: tuple[float, float] | None) -> float:
    """Return the value as a float within `limits`, after taking off what rounding added."""
    number = float(value) + 0.0  # turns -0.0 into 0.0, so that equal samples have equal bits
    if not -LARGEST <= number <= LARGEST:
        raise ValueError(f"value must be finite and at most {LARGEST:g} in size, got {value!r}")
    if limits is None:
        return number
    low, high = limits
    slack = ROUNDING * max(abs(low), abs(high))
    if not low - slack <= number <= high + slack:
        raise ValueError(f"value {value!r} lies outside its range [{low!r}, {high!r}]")
    return min(max(number, low), high)
