"""Estimates over futures: means of sums, and sums of means with their error and interval."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable, Sequence

import pytest

from foresight_services.core.aggregation import Aggregation, MeanOfSums, Row, SumOfMeans, Term
from foresight_services.core.estimator import estimate
from foresight_services.core.interval import Interval
from foresight_services.core.objective import Clamp, Range

UNIT = Range(0.0, 1.0)
ONE = Clamp(-1.0, 1.0)


def verl(*weights: float, ranges: tuple[Range | None, ...] | None = None) -> SumOfMeans:
    known = (UNIT,) * len(weights) if ranges is None else ranges
    return SumOfMeans(
        tuple(
            Term(f"metric {i}", weight, values, ONE)
            for i, (weight, values) in enumerate(zip(weights, known, strict=True))
        )
    )


def interval(aggregation: Aggregation, rows: Sequence[Row], **fields) -> Interval:
    found = aggregation.estimate(rows, **fields).interval
    assert found is not None
    return found


def draws(rng: random.Random, count: int) -> list[Row]:
    """Return scores of two metrics that go together: a rate of success and a length."""
    rows: list[Row] = []
    for _ in range(count):
        success = float(rng.random() < 0.3)
        rows.append((success, 2.0 * rng.random() + success))
    return rows


def test_the_mean_of_sums_is_the_estimate_of_the_values_in_the_range() -> None:
    sums = MeanOfSums((Term("a", 2.0, UNIT), Term("b", -1.0, UNIT)), Clamp(high=1.5))
    rows = [(0.5, 0.25), (1.0, 0.0), (0.0, 1.0)]
    assert sums.estimate(rows) == estimate([0.75, 1.5, -1.0], value_range=(-1.0, 1.5))
    assert sums.estimate(rows, level=0.8).interval == (
        estimate([0.75, 1.5, -1.0], value_range=(-1.0, 1.5), level=0.8).interval
    )


def test_one_metric_within_its_limits_is_estimated_as_any_mean() -> None:
    values = [0.25, 0.5, 0.625, 0.0]
    one, plain = verl(1.0).estimate([(v,) for v in values]), estimate(values, value_range=(0, 1))
    assert (one.mean, one.stderr, one.n) == (plain.mean, plain.stderr, plain.n)
    assert one.interval is not None and plain.interval is not None
    assert one.interval.low == pytest.approx(plain.interval.low, abs=1e-9)
    assert one.interval.high == pytest.approx(plain.interval.high, abs=1e-9)
    assert (one.interval.level, one.interval.method) == (0.95, "gaffke")


def test_the_error_of_metrics_within_their_limits_is_that_of_their_sums() -> None:
    rows = [(0.1, 0.9), (0.4, 0.2), (0.3, 0.3)]
    found = verl(1.0, -0.5).estimate(rows)
    sums = [a - 0.5 * b for a, b in rows]
    assert found.mean == pytest.approx(statistics.mean(sums))
    assert found.stderr == pytest.approx(statistics.stdev(sums) / math.sqrt(3))


def test_a_metric_beyond_its_limit_adds_no_error() -> None:
    rows = [(0.1, 0.9), (0.4, 0.7), (0.3, 0.8)]
    found = verl(1.0, -2.0).estimate(rows)
    assert found.mean == pytest.approx(0.8 / 3 - 1.0)
    assert found.stderr == pytest.approx(statistics.stdev([0.1, 0.4, 0.3]) / math.sqrt(3))
    assert verl(5.0, -2.0).estimate(rows).stderr == 0.0


def test_a_metric_whose_mean_is_its_limit_still_adds_error() -> None:
    found = verl(2.0).estimate([(0.25,), (0.75,)])
    assert (found.mean, found.stderr) == (1.0, 0.5)


def test_one_conversation_has_no_error_but_an_interval() -> None:
    found = verl(1.0, -1.0).estimate([(0.5, 0.25)])
    assert (found.mean, found.stderr, found.n) == (0.25, None, 1)
    assert found.interval is not None
    assert -1.0 <= found.interval.low < 0.25 < found.interval.high <= 1.0


def test_the_order_of_futures_changes_no_bit() -> None:
    rng = random.Random(3)
    rows = draws(rng, 20)
    shuffled = [*rows]
    rng.shuffle(shuffled)
    aggregation = verl(0.7, -0.3, ranges=(UNIT, Range(0.0, 3.0)))
    assert repr(aggregation.estimate(rows)) == repr(aggregation.estimate(shuffled))


@pytest.mark.parametrize(("weights", "clamped"), [((0.5, -0.2), False), ((0.5, -2.0), True)])
def test_the_standard_error_is_the_spread_of_repeated_estimates(weights, clamped) -> None:
    aggregation = verl(*weights, ranges=(UNIT, Range(0.0, 3.0)))
    rng = random.Random(5)
    found = [aggregation.estimate(draws(rng, 64)) for _ in range(1500)]
    spread = statistics.stdev(estimate.mean for estimate in found)
    told = statistics.mean(estimate.stderr or 0.0 for estimate in found)
    # The spread of 1500 estimates is itself known to 1.8 %; this is more than three of that.
    assert told == pytest.approx(spread, rel=0.06)
    success = math.sqrt(0.3 * 0.7 / 64)
    assert (told == pytest.approx(0.5 * success, rel=0.02)) is clamped


def test_the_standard_error_agrees_with_a_bootstrap() -> None:
    rng = random.Random(13)
    aggregation = verl(0.5, -0.2, 4.0, ranges=(None, None, None))
    rows = [(*row, 0.5 + rng.random() / 2) for row in draws(rng, 200)]
    resampled = [aggregation.estimate(rng.choices(rows, k=200)).mean for _ in range(600)]
    assert aggregation.estimate(rows).stderr == pytest.approx(statistics.stdev(resampled), rel=0.09)


def test_the_interval_is_the_sum_of_the_metrics_own_at_a_shared_risk() -> None:
    rows = [(0.2, 0.5), (0.4, 0.9), (0.9, 0.1)]
    found = interval(verl(0.5, -0.25), rows)
    first, second = (
        estimate(column, value_range=(0.0, 1.0), level=0.975).interval
        for column in zip(*rows, strict=True)
    )
    assert first is not None and second is not None
    assert found.low == pytest.approx(0.5 * first.low - 0.25 * second.high)
    assert found.high == pytest.approx(0.5 * first.high - 0.25 * second.low)
    assert found.level == 0.95


def test_a_metric_of_weight_0_shares_no_risk_and_needs_no_interval() -> None:
    rows = [(0.2, 7.0), (0.4, 7.0)]
    both = verl(0.5, 0.0, ranges=(UNIT, None)).estimate(rows)
    assert both == verl(0.5).estimate([(0.2,), (0.4,)])


def test_metrics_that_do_not_count_at_all_make_a_certain_0() -> None:
    found = verl(0.0, ranges=(None,)).estimate([(3.0,), (5.0,)])
    assert (found.mean, found.stderr) == (0.0, 0.0)
    assert found.interval == Interval(0.0, 0.0, 0.95, "gaffke")


def test_an_interval_is_limited_like_its_metric() -> None:
    found = interval(verl(9.0, -9.0), [(0.9, 0.8), (0.8, 0.9), (0.7, 1.0)])
    assert -2.0 <= found.low <= 0.0 <= found.high <= 2.0
    certain = verl(9.0, ranges=(Range(0.5, 1.0),)).estimate([(0.9,), (0.8,)])
    assert certain.interval == Interval(1.0, 1.0, 0.95, "gaffke")


def test_one_metric_without_an_interval_leaves_the_whole_without() -> None:
    aggregation = verl(0.5, -0.1, ranges=(UNIT, None))
    assert aggregation.estimate([(0.1, 3.0), (0.9, 3.0)]).interval is None
    rows = [(0.1, 3.0), (0.9, 4.0)]
    assert interval(aggregation, rows).method == "student_t"
    mirrored = verl(-0.1, 0.5, ranges=(None, UNIT))
    assert interval(mirrored, [(b, a) for a, b in rows]) == interval(aggregation, rows)
    assert interval(verl(0.5, -0.1), [(0.1, 0.9)] * 40).method == "gaffke_mid_p"


def coverage(
    aggregation: Aggregation,
    draw: Callable[[random.Random], Row],
    truth: float,
    *,
    size: int,
    repeats: int = 600,
) -> float:
    rng = random.Random(17)
    hits = 0
    for _ in range(repeats):
        found = interval(aggregation, [draw(rng) for _ in range(size)])
        hits += found.low <= truth <= found.high
    return hits / repeats


@pytest.mark.parametrize("size", [3, 8, 64])
@pytest.mark.parametrize(
    ("weights", "truth"),
    [
        ((0.5, -0.2), 0.5 * 0.3 - 0.2 * 1.3),
        # One metric beyond its limit, one whose mean is at it.
        ((0.5, -2.0), 0.5 * 0.3 - 1.0),
        ((1 / 0.3, -0.2), 1.0 - 0.2 * 1.3),
    ],
)
def test_intervals_cover_the_true_reward(weights, truth, size) -> None:
    aggregation = verl(*weights, ranges=(UNIT, Range(0.0, 3.0)))
    assert coverage(aggregation, lambda rng: draws(rng, 1)[0], truth, size=size) >= 0.95


def test_every_future_needs_a_score_of_every_metric() -> None:
    with pytest.raises(ValueError, match="zip"):
        verl(1.0, 1.0).estimate([(0.5, 0.5), (0.5,)])
    with pytest.raises(ValueError, match="zip"):
        verl(1.0, 1.0).estimate([(0.5,)])
