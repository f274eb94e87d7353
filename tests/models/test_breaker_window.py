"""What the circuit breaker remembers, and which settings it takes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foresight_services.models.breaker import (
    BreakerSettings,
    FailureWindow,
)


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0.0, 20.0), st.booleans()), max_size=100), st.floats(1.0, 60.0))
def test_the_window_counts_what_ended_within_it(
    ends: list[tuple[float, bool]], seconds: float
) -> None:
    window, now = FailureWindow(seconds), 0.0
    all_ends: list[tuple[float, bool]] = []
    for pause, failed in ends:
        now += pause
        window.add(now, failed)
        all_ends.append((now, failed))
        surely = [f for when, f in all_ends if when > now - 0.89 * seconds]
        possibly = [f for when, f in all_ends if when > now - 1.01 * seconds]
        assert len(surely) <= window.calls <= len(possibly)
        assert sum(surely) <= window.failures <= sum(possibly)


@pytest.mark.parametrize(
    "wrong",
    [
        {"window_seconds": 0.0},
        {"min_calls": 0},
        {"probes": 0},
        {"failure_share": 0.0},
        {"open_seconds": -1.0},
    ],
)
def test_settings_that_cannot_be_used_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        BreakerSettings(**wrong)
