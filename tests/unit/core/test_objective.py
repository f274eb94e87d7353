"""The nouns of an objective: limits, and what an entry is called."""

from __future__ import annotations

import math

import pytest

from foresight_services.core.objective import NO_CLAMP, Clamp, MetricSpec


@pytest.mark.parametrize(
    ("clamp", "value", "expected"),
    [
        (NO_CLAMP, -1e9, -1e9),
        (Clamp(-1.0, 1.0), -1.5, -1.0),
        (Clamp(-1.0, 1.0), -1.0, -1.0),
        (Clamp(-1.0, 1.0), 0.25, 0.25),
        (Clamp(-1.0, 1.0), 1.0000001, 1.0),
        (Clamp(low=0.0), -0.5, 0.0),
        (Clamp(low=0.0), math.inf, math.inf),
        (Clamp(high=0.0), 0.5, 0.0),
        (Clamp(high=0.0), -math.inf, -math.inf),
        (Clamp(2.0, 2.0), 0.0, 2.0),
    ],
)
def test_a_number_is_moved_to_the_limit_that_it_lies_beyond(clamp, value, expected) -> None:
    assert clamp(value) == expected


def test_an_entry_is_called_by_its_label_else_by_its_metric() -> None:
    assert MetricSpec("rubric").title == "rubric"
    assert MetricSpec("rubric", label="clarity").title == "clarity"
