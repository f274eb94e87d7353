"""When a standard error is believed: known and unknown range, constant samples, values to come."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foresight_services.core.estimator import standard_error
from foresight_services.core.stopping import guarded_variance, within_target

UNIT = (0.0, 1.0)


def test_half_an_observation_at_each_end_of_the_range() -> None:
    # Four zeros: about their mean, the half observation at 1 adds 1/2 to squares of 0.
    assert guarded_variance([0.0] * 4, UNIT) == pytest.approx(0.5 / 4)
    assert guarded_variance([0.5, 0.5], (0.0, 1.0)) == pytest.approx(0.25 / 2)


@pytest.mark.parametrize(("n", "enough"), [(3, False), (10, False), (15, True)])
def test_equal_values_need_as_many_as_the_range_asks_for(n: int, enough: bool) -> None:
    # sqrt(1/2) / n <= 0.05 from 15 on
    assert within_target([1.0] * n, 0.05, UNIT) is enough


def test_equal_values_of_unknown_range_are_never_enough() -> None:
    assert guarded_variance([0.3] * 1000, None) is None
    assert not within_target([0.3] * 1000, 10.0, None)


def test_one_value_is_never_enough() -> None:
    assert not within_target([0.5], 10.0, UNIT)
    assert not within_target([], 10.0, UNIT)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=30), st.floats(0.01, 1), st.booleans())
def test_what_is_reported_meets_the_target(values: list[float], target: float, known: bool) -> None:
    error = standard_error(values)
    if within_target(values, target, UNIT if known else None):
        assert error is not None and error <= target * (1 + 1e-12)


def test_values_to_come_are_counted() -> None:
    values = [0.0, 1.0, 0.0, 1.0]
    assert not within_target(values, 0.2, UNIT)
    assert within_target(values, 0.2, UNIT, coming=6)
