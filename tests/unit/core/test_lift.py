"""Lift over the policy's own responses: exact cases, pairing, honest standard errors."""

from __future__ import annotations

import math
import random

import pytest

from foresight_services.core.comparison import Values
from foresight_services.core.lift import lift


def test_lift_is_the_difference_of_the_means() -> None:
    found = lift([1.0, 0.5], [[0.5, 0.0], [1.0, 0.0], [0.25, 0.25]])
    assert found is not None
    assert found.baseline == pytest.approx(1 / 3)
    assert found.value == pytest.approx(0.75 - 1 / 3)
    assert found.responses == 3


def test_luck_that_all_share_is_no_error() -> None:
    luck = [0.0, 1.0, 0.3, 0.9]
    rows = [[x - 0.1 for x in luck], [x - 0.1 for x in luck]]
    found = lift(luck, rows)
    assert found is not None and found.stderr is not None
    assert found.value == pytest.approx(0.1)
    assert found.stderr == pytest.approx(0.0, abs=1e-12)


def test_luck_of_the_draw_of_responses_remains() -> None:
    luck = [0.0, 1.0, 0.3, 0.9]
    found = lift(luck, [[x + shift for x in luck] for shift in (0.0, 0.2, 0.4)])
    assert found is not None and found.stderr is not None
    # Nothing but the variance between the three, 0.04, over three.
    assert found.stderr == pytest.approx(math.sqrt(0.04 / 3))


@pytest.mark.parametrize(
    ("candidate", "rows"),
    [([None, None], [[1.0]]), ([], [[1.0]]), ([1.0], []), ([1.0], [[None], []])],
)
def test_without_values_there_is_no_lift(candidate: Values, rows: list[Values]) -> None:
    assert lift(candidate, rows) is None


@pytest.mark.parametrize(
    ("candidate", "rows"), [([1.0, 0.0], [[1.0, 0.5]]), ([1.0], [[0.0, 1.0], [0.5, 0.5]])]
)
def test_one_response_or_one_future_has_no_standard_error(
    candidate: Values, rows: list[Values]
) -> None:
    found = lift(candidate, rows)
    assert found is not None and found.stderr is None


def test_failed_futures_and_responses_are_left_out() -> None:
    found = lift([1.0, None, 0.0], [[0.0, 1.0, None], [None, None, None], [0.25, 0.25]])
    assert found is not None
    assert (found.responses, found.baseline, found.value) == (2, 0.375, 0.125)
    assert found.stderr is not None and found.stderr > 0.0


@pytest.mark.parametrize("shorter", [8, 4])
def test_the_standard_error_is_that_of_repeated_experiments(shorter: int) -> None:
    rng, errors, variances = random.Random(5), [], []
    for _ in range(3000):
        luck = [rng.gauss(0.0, 1.0) for _ in range(8)]
        candidate = [0.3 + x + rng.gauss(0.0, 0.5) for x in luck]
        rows: list[Values] = []
        for _ in range(4):
            quality = rng.gauss(0.0, 0.4)
            rows.append([quality + x + rng.gauss(0.0, 0.7) for x in luck[:shorter]])
        found = lift(candidate, rows)
        assert found is not None and found.stderr is not None
        errors.append(found.value - 0.3)
        variances.append(found.stderr**2)
    mean_square = sum(error * error for error in errors) / len(errors)
    assert sum(errors) / len(errors) == pytest.approx(0.0, abs=0.05)
    assert sum(variances) / len(variances) == pytest.approx(mean_square, rel=0.15)
