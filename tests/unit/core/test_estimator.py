"""Means with their uncertainty: exact values, order independence, refusals, paired differences."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foresight_services.core.estimator import Estimate, estimate, paired_difference

UNIT = (0.0, 1.0)
numbers = st.floats(-1e6, 1e6)
samples = st.lists(numbers, min_size=1, max_size=40)


def test_mean_and_standard_error_in_the_objectives_units() -> None:
    result = estimate([2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0], value_range=(0.0, 10.0))
    assert result.mean == 5.0
    assert result.stderr == pytest.approx(math.sqrt(32.0 / 7.0 / 8.0), rel=1e-15)
    assert result.n == 8


def test_one_value_has_no_standard_error() -> None:
    result = estimate([0.25], value_range=UNIT)
    assert (result.mean, result.stderr, result.n) == (0.25, None, 1)
    assert result.interval is not None
    # One value and one atom: the randomly weighted mean is uniform between them.
    assert result.interval.low == pytest.approx(0.025 * 0.25, abs=1e-9)
    assert result.interval.high == pytest.approx(0.25 + 0.975 * 0.75, abs=1e-9)


@given(samples, st.booleans(), st.randoms(use_true_random=False))
def test_order_does_not_change_a_bit(values: list[float], known: bool, rng: random.Random) -> None:
    value_range = (-1e6, 1e6) if known else None
    shuffled = [*values]
    rng.shuffle(shuffled)
    # repr tells -0.0 from 0.0, equality does not.
    first, second = (estimate(v, value_range=value_range) for v in (values, shuffled))
    assert repr(first) == repr(second)


def test_signs_of_zero_do_not_change_a_bit() -> None:
    results = {repr(estimate(v, value_range=(-1.0, 0.0))) for v in ([-0.0, 0.0], [0.0, -0.0])}
    assert len(results) == 1
    assert "-0.0" not in results.pop()


def test_sums_are_exactly_rounded() -> None:
    # Added one after the other from the left, the one is lost.
    assert estimate([1e16, 1.0, -1e16, 0.0], value_range=None).mean == 0.25


@pytest.mark.parametrize("value", [0.1, 1 / 3, 0.7, 1e-9])
@pytest.mark.parametrize("n", [2, 3, 6, 7, 41])
def test_equal_values_are_their_own_mean(value: float, n: int) -> None:
    result = estimate([value] * n, value_range=UNIT)
    assert (result.mean, result.stderr) == (value, 0.0)
    assert result.interval is not None
    assert result.interval.low < value < result.interval.high


def test_differences_by_rounding_alone_are_no_spread() -> None:
    assert estimate([0.1 + 0.2, 0.3] * 20, value_range=None).interval is None


@pytest.mark.parametrize("values", [[0.5], [0.5, 0.5], [0.0] * 64])
def test_without_range_and_spread_there_is_no_interval(values: list[float]) -> None:
    assert estimate(values, value_range=None).interval is None


def test_without_range_the_interval_is_students() -> None:
    interval = estimate([1.0, 2.0, 3.0], value_range=None).interval
    assert interval is not None
    assert (interval.method, interval.level) == ("student_t", 0.95)
    # mean 2, standard error 1/sqrt(3), t(0.95; 2) = 4.302652729749
    assert interval.low == pytest.approx(2.0 - 4.302652729749 / math.sqrt(3.0), rel=1e-11)
    assert interval.high == pytest.approx(2.0 + 4.302652729749 / math.sqrt(3.0), rel=1e-11)


@given(st.integers(1, 40), st.data(), st.sampled_from([0.5, 0.95, 0.999]))
def test_bounds_surround_the_mean_and_stay_in_the_range(
    n: int, data: st.DataObject, level: float
) -> None:
    values = data.draw(st.lists(st.floats(-3.0, 5.0), min_size=n, max_size=n))
    result = estimate(values, value_range=(-3.0, 5.0), level=level)
    assert result.interval is not None
    slack = 1e-8
    assert -3.0 <= result.interval.low <= result.mean + slack
    assert result.mean - slack <= result.interval.high <= 5.0
    assert result.interval.level == level


def test_rounding_beyond_the_range_is_taken_off() -> None:
    result = estimate([1.0 + 1e-12, 0.0 - 1e-12], value_range=UNIT)
    assert result == estimate([1.0, 0.0], value_range=UNIT)


@pytest.mark.parametrize("value", [1.001, -0.001])
def test_values_outside_the_range_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="outside its range"):
        estimate([0.5, value], value_range=UNIT)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e151])
def test_values_that_are_not_usable_numbers_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match="must be finite"):
        estimate([0.5, value], value_range=None)


@pytest.mark.parametrize("value_range", [(1.0, 0.0), (0.0, math.inf), (math.nan, 1.0)])
def test_unusable_ranges_are_refused(value_range: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="value range"):
        estimate([0.5], value_range=value_range)


def test_an_empty_sample_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one value"):
        estimate([], value_range=UNIT)


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0])
def test_unusable_levels_are_refused_even_where_no_interval_is_due(level: float) -> None:
    with pytest.raises(ValueError, match="level"):
        estimate([0.5], value_range=None, level=level)


def test_the_largest_values_do_not_overflow() -> None:
    result = estimate([-1e150, 1e150] * 20, value_range=None)
    assert result.mean == 0.0
    assert result.stderr is not None and math.isfinite(result.stderr)


def test_paired_difference_uses_indices_that_both_have() -> None:
    a = [0.9, None, 0.5, 0.7, 1.0]
    b = [0.4, 0.2, None, 0.6]
    expected = estimate([0.9 - 0.4, 0.7 - 0.6], value_range=(-1.0, 1.0))
    assert paired_difference(a, b, value_range=UNIT) == expected


def test_paired_difference_without_a_common_index_is_none() -> None:
    assert paired_difference([0.5, None], [None, 0.5, 0.1], value_range=UNIT) is None
    assert paired_difference([], [], value_range=UNIT) is None


def test_paired_difference_checks_each_value_against_its_own_range() -> None:
    with pytest.raises(ValueError, match="outside its range"):
        paired_difference([1.5], [1.2], value_range=UNIT)


def test_paired_difference_without_range() -> None:
    result = paired_difference([3.0, 5.0], [1.0, 2.0], value_range=None, level=0.9)
    assert result == estimate([2.0, 3.0], value_range=None, level=0.9)


@given(st.lists(st.tuples(st.floats(0.0, 1.0), st.floats(0.0, 1.0)), min_size=1, max_size=10))
def test_swapping_the_candidates_mirrors_the_difference(pairs: list[tuple[float, float]]) -> None:
    a, b = [x for x, _ in pairs], [y for _, y in pairs]
    forward, backward = (paired_difference(*order, value_range=UNIT) for order in ((a, b), (b, a)))
    assert isinstance(forward, Estimate) and isinstance(backward, Estimate)
    assert forward.interval is not None and backward.interval is not None
    assert backward.mean == -forward.mean
    assert backward.stderr == forward.stderr
    assert backward.interval.low == pytest.approx(-forward.interval.high, abs=1e-12)


def test_shared_luck_narrows_the_difference() -> None:
    luck = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
    better = [x + 0.2 + 0.001 * (-1) ** i for i, x in enumerate(luck)]
    paired = paired_difference(better, luck, value_range=None)
    alone = estimate(better, value_range=None)
    assert paired is not None and paired.stderr is not None and alone.stderr is not None
    assert paired.stderr < 0.01 * alone.stderr
