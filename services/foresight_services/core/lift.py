"""How much better a candidate is than what the policy would have said itself.

The baseline is k responses drawn from the policy at the same prefix. The lift of a candidate is its
reward less the mean of theirs. It errs by the futures and by the draw of the k responses:

    variance = futures + responses
    futures    the sum over sample indices of the square of what the index adds to the lift, so that
               what candidate and baseline share by common draws cancels (a sum of squares by
               cluster: Liang & Zeger 1986, Biometrika 73(1), section 2, with one cluster an index)
    responses  the variance between the k means less what their futures alone explain, over k; 0
               where that is negative

Where all have the same indices this is the sum of the variance components of the two-way crossed
random model (Searle, Casella & McCulloch 1992, Variance Components, chapter 4).

The interval is Student's with k - 1 degrees of freedom, those of the draws: few responses say
little of how responses vary, and 1.96 standard errors would hold far less than 95 % of the time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from foresight_services.core.comparison import Values
from foresight_services.core.estimator import DEFAULT_LEVEL
from foresight_services.core.interval import ROUNDING, Interval, student_t_quantile


@dataclass(frozen=True, slots=True)
class Lift:
    """A candidate's reward less the baseline's."""

    value: float
    """Mean of the candidate's futures less the mean of the baseline responses' means."""
    stderr: float | None
    """Standard error, over futures and over draws of the baseline; None where the candidate has
    fewer than two futures or the baseline fewer than two responses."""
    baseline: float
    """Mean of the baseline responses' means."""
    responses: int
    """Baseline responses that have a value."""
    interval: Interval | None = None
    """Interval of the lift behind the futures and the draws; None without a standard error, and
    where that is 0."""


def lift(
    candidate: Values,
    baseline: Sequence[Values],
    *,
    value_range: tuple[float, float] | None = None,
    level: float = DEFAULT_LEVEL,
) -> Lift | None:
    """Return the lift of `candidate` over `baseline`; None where one of them has no value.

    Values are by sample index, None where a future failed. A response that the policy gave more
    than once is in `baseline` as often. `value_range` is that of one value, None if unknown; no
    lift lies beyond its width.
    """
    rows = [row for row in baseline if any(x is not None for x in row)]
    own = [x for x in candidate if x is not None]
    if not own or not rows:
        return None
    k, reward = len(rows), math.fsum(own) / len(own)
    means = [_mean(row) for row in rows]
    base = math.fsum(means) / k
    stderr = None
    if k > 1 and len(own) > 1:
        centred = [_centred(row) for row in rows]
        futures = _by_futures(_centred(candidate), centred)
        between = math.fsum((mean - base) ** 2 for mean in means) / (k - 1) / k
        responses = max(0.0, between - _explained(centred))
        stderr = math.sqrt(futures + responses)
    value = reward - base + 0.0
    # What differs by rounding alone carries no information.
    if stderr is None or stderr <= ROUNDING * max(abs(reward), abs(base)):
        return Lift(value, stderr, base, k)
    return Lift(value, stderr, base, k, _interval(value, stderr, k - 1, value_range, level))


def _interval(
    value: float,
    stderr: float,
    dof: int,
    value_range: tuple[float, float] | None,
    level: float,
) -> Interval:
    reach = student_t_quantile(level, dof) * stderr
    low, high = value - reach, value + reach
    if value_range is not None:
        width = value_range[1] - value_range[0]
        low, high = max(low, 0.0 - width), min(high, width)
    return Interval(low, high, level, "student_t")


def _mean(values: Values) -> float:
    known = [x for x in values if x is not None]
    return math.fsum(known) / len(known)


def _centred(values: Values) -> dict[int, float]:
    """Return by index what each value differs from the mean."""
    mean = _mean(values)
    return {index: x - mean for index, x in enumerate(values) if x is not None}


def _by_futures(candidate: dict[int, float], rows: Sequence[dict[int, float]]) -> float:
    """Return the variance of the lift over futures, for the responses that there are."""
    indices = set(candidate).union(*rows)
    added = [
        candidate.get(index, 0.0) / len(candidate)
        - math.fsum(row.get(index, 0.0) / len(row) for row in rows) / len(rows)
        for index in sorted(indices)
    ]
    return math.fsum(x * x for x in added) * _correction(len(candidate))


def _explained(rows: Sequence[dict[int, float]]) -> float:
    """Return what futures alone add to the variance of the mean of the responses' means.

    Only what a response does not share with the others at an index: what is shared moves all means
    alike and is not between them.
    """
    k = len(rows)
    parts: list[float] = []
    for index in sorted(set().union(*rows)):
        present = [(row[index], len(row)) for row in rows if index in row]
        shared = math.fsum(x for x, _ in present) / len(present)
        parts.extend(((x - shared) / n) ** 2 * _correction(n) for x, n in present)
    return math.fsum(parts) / (k * (k - 1))


def _correction(n: int) -> float:
    """Return what makes squares about a mean of `n` values unbiased."""
    return n / (n - 1) if n > 1 else 1.0
