"""The trajectory of the adaptive limit: down once for a round trip, up only where it is used."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foresight_services.models.adaptive_limit import AdaptiveLimit, AdaptiveSettings


class Watched:
    """A limit and everything it told."""

    def __init__(self, highest: int, lowest: int = 1, factor: float = 0.5) -> None:
        self.told: list[int] = []
        settings = AdaptiveSettings(min_concurrency=lowest, decrease_factor=factor)
        self.limit = AdaptiveLimit(highest, settings, self.told.append)


def test_it_starts_at_the_upper_bound_and_tells_it() -> None:
    watched = Watched(64)
    assert watched.limit.places == 64
    assert watched.told == [64]


def test_all_faults_of_one_round_trip_shrink_it_once() -> None:
    watched = Watched(64)
    tickets = [watched.limit.begin(n) for n in range(1, 65)]
    for ticket in tickets:
        watched.limit.overloaded(ticket)
    assert watched.told == [64, 32]


def test_every_round_trip_with_a_fault_shrinks_it_down_to_its_lower_bound() -> None:
    watched = Watched(64, lowest=3)
    for _ in range(7):
        watched.limit.overloaded(watched.limit.begin(1))
    assert watched.told == [64, 32, 16, 8, 4, 3]


def test_it_grows_by_one_for_each_round_trip_at_the_limit() -> None:
    watched = Watched(16)
    watched.limit.overloaded(watched.limit.begin(1))
    assert watched.limit.places == 8
    for expected in range(9, 17):
        for _ in range(expected):  # a round trip, and what growing within it takes more
            watched.limit.succeeded(watched.limit.begin(watched.limit.places))
        assert watched.limit.places == expected
    for _ in range(100):
        watched.limit.succeeded(watched.limit.begin(watched.limit.places))
    assert watched.told == [16, *range(8, 17)]


def test_it_does_not_grow_where_nobody_reaches_it() -> None:
    watched = Watched(16)
    watched.limit.overloaded(watched.limit.begin(1))
    for _ in range(1000):
        watched.limit.succeeded(watched.limit.begin(watched.limit.places - 1))
    assert watched.told == [16, 8]


def test_a_call_that_began_before_the_decrease_still_counts_as_a_success() -> None:
    watched = Watched(2)
    early = watched.limit.begin(2)
    watched.limit.overloaded(watched.limit.begin(2))
    assert watched.limit.places == 1
    watched.limit.succeeded(early)
    assert watched.limit.places == 2


@settings(deadline=None)
@given(
    highest=st.integers(1, 200),
    lowest=st.integers(1, 300),
    factor=st.floats(0.01, 0.99),
    events=st.lists(st.tuples(st.booleans(), st.integers(1, 200)), max_size=200),
)
def test_it_stays_within_its_bounds(
    highest: int, lowest: int, factor: float, events: list[tuple[bool, int]]
) -> None:
    watched = Watched(highest, lowest, factor)
    tickets = []
    for overloaded, in_flight in events:
        tickets.append(watched.limit.begin(in_flight))
        if overloaded:
            watched.limit.overloaded(tickets[len(tickets) // 2])
        else:
            watched.limit.succeeded(tickets[-1])
        assert min(lowest, highest) <= watched.limit.places <= highest
        assert watched.told[-1] == watched.limit.places
    assert all(a != b for a, b in zip(watched.told, watched.told[1:], strict=False))


@pytest.mark.parametrize("factor", [0.5, 0.75])
def test_the_mean_of_the_sawtooth_lies_below_the_capacity_and_near_it(factor: float) -> None:
    capacity, watched = 40, Watched(1000, factor=factor)
    seen = []
    for _ in range(2000):  # round trips of a backend that refuses what is above its capacity
        places = watched.limit.places
        tickets = [watched.limit.begin(n + 1) for n in range(places)]
        for n, ticket in enumerate(tickets):
            if n < capacity:
                watched.limit.succeeded(ticket._replace(filled=True))
            else:
                watched.limit.overloaded(ticket)
        seen.append(places)
    settled = seen[100:]
    assert max(settled) <= capacity + 3
    assert sum(settled) / len(settled) >= capacity * (1 + factor) / 2 * 0.95


@pytest.mark.parametrize(
    "wrong",
    [
        {"min_concurrency": 0},
        {"decrease_factor": 1.0},
        {"increase_per_round_trip": -1.0},
    ],
)
def test_settings_that_cannot_be_used_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        AdaptiveSettings(**wrong)
