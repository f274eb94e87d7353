"""When a candidate has enough futures for the standard error that was asked for.

The rule looks at the sample again and again, and must not stop where luck made it look sure: two
equal scores have a standard error of 0. So it does not trust the sample's spread alone. It adds
half an observation at each end of the objective's range (not known: of what was seen), as Chow &
Robbins add 1/n to the variance (1965, Ann. Math. Stat. 36(2), section 1) and Frey adds
pseudo-observations to a proportion (2010, The American Statistician 64(3)). What is reported is the
plain standard error, never above the one that is tested.

Stopping by what was seen moves the mean and costs coverage; docs/adaptive-sampling.md tells by how
much. The result depends on the values by sample index alone, not on the order of arrival.
"""

from __future__ import annotations

import math
from collections.abc import Sequence


def guarded_variance(
    values: Sequence[float], value_range: tuple[float, float] | None
) -> float | None:
    """Return the variance of one value that stopping may trust, at least the sample's.

    None where nothing can be said: fewer than two values, or equal ones of unknown range.
    """
    n = len(values)
    if n < 2:
        return None
    mean = math.fsum(values) / n
    squares = math.fsum((x - mean) ** 2 for x in values)
    low, high = (min(values), max(values)) if value_range is None else value_range
    if value_range is None and low == high:
        return None
    doubt = ((mean - low) ** 2 + (high - mean) ** 2) / 2.0
    return max((squares + doubt) / n, squares / (n - 1))


def within_target(
    values: Sequence[float],
    target: float,
    value_range: tuple[float, float] | None,
    *,
    coming: int = 0,
) -> bool:
    """Tell whether the standard error is at most `target`, or will be with `coming` more values.

    Values to come are taken to vary as those before them.
    """
    variance = guarded_variance(values, value_range)
    return variance is not None and variance <= target * target * (len(values) + coming)
