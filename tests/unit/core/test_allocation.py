"""Which futures come next: order of arrival, limits, where futures go, and that nothing stalls."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foresight_services.core.allocation import SamplePlan, Sampling
from foresight_services.core.future import FutureId

UNIT = (0.0, 1.0)
Outcome = Callable[[FutureId], float | None]
PLANS = (
    SamplePlan(5),
    SamplePlan(40, target_stderr=0.1),
    SamplePlan(40, target_stderr=0.1, total=60),
    SamplePlan(40, aim="best"),
    SamplePlan(40, aim="best", window=1),
    SamplePlan(40, aim="best", window=64, tolerance=0.05),
    SamplePlan(40, aim="ranking", total=50),
    SamplePlan(2, first=1, aim="best"),
)


def drive(
    plan: SamplePlan, candidates: int, outcome: Outcome, rng: random.Random | None = None
) -> list[FutureId]:
    """Return the futures in the order of asking; they end in that of `rng`, else as asked."""
    sampling = Sampling(plan, candidates, UNIT)
    asked = list(sampling.begin())
    running = list(asked)
    while running:
        which = running.pop(rng.randrange(len(running)) if rng else 0)
        assert not sampling.complete
        more = sampling.ended(which, outcome(which))
        asked.extend(more)
        running.extend(more)
    assert sampling.complete
    assert all(sampling.settled(c) for c in range(candidates))
    return asked


def coins(chances: Sequence[float], *, failing: float = 0.0, seed: int = 1) -> Outcome:
    """Return 0/1 outcomes that depend on candidate and sample alone; some fail."""

    def outcome(which: FutureId) -> float | None:
        rng = random.Random(f"{seed}/{which.candidate}/{which.sample}")
        if rng.random() < failing:
            return None
        return float(rng.random() < chances[which.candidate])

    return outcome


def counts(asked: Sequence[FutureId], candidates: int) -> list[int]:
    return [sum(which.candidate == c for which in asked) for c in range(candidates)]


@pytest.mark.parametrize("plan", PLANS, ids=str)
@settings(max_examples=15, deadline=None)
@given(
    chances=st.lists(st.sampled_from([0.0, 0.1, 0.5, 0.6, 1.0]), min_size=1, max_size=5),
    failing=st.sampled_from([0.0, 0.3, 1.0]),
    seed=st.integers(0, 5),
    arrival=st.randoms(use_true_random=False),
)
def test_the_order_of_arrival_changes_nothing(
    plan: SamplePlan, chances: list[float], failing: float, seed: int, arrival: random.Random
) -> None:
    outcome = coins(chances, failing=failing, seed=seed)
    in_order = drive(plan, len(chances), outcome)
    assert set(drive(plan, len(chances), outcome, arrival)) == set(in_order)


@pytest.mark.parametrize("plan", PLANS, ids=str)
@pytest.mark.parametrize("failing", [0.0, 0.4, 1.0])
def test_indices_have_no_gap_and_limits_hold(plan: SamplePlan, failing: float) -> None:
    asked = drive(plan, 3, coins([0.5, 0.5, 0.9], failing=failing))
    for candidate in range(3):
        indices = [which.sample for which in asked if which.candidate == candidate]
        assert indices == list(range(len(indices)))
        assert min(plan.first, plan.most) <= len(indices) <= plan.most
    assert len(asked) <= (plan.total or 3 * plan.most)


def test_without_an_aim_all_futures_are_asked_for_at_once() -> None:
    first = Sampling(SamplePlan(3), 2, None).begin()
    assert first == tuple(FutureId(c, k) for k in range(3) for c in range(2))


def test_no_more_than_the_window_are_on_their_way() -> None:
    sampling = Sampling(SamplePlan(64, aim="best", window=4), 3, UNIT)
    outcome, running, most = coins([0.5, 0.5, 0.5]), list(sampling.begin()), 0
    for _ in range(len(running)):
        running.extend(sampling.ended(which := running.pop(0), outcome(which)))
    while running:
        most = max(most, len(running))
        running.extend(sampling.ended(which := running.pop(0), outcome(which)))
    assert most == 4


def test_a_slow_future_holds_up_no_more_than_its_window() -> None:
    sampling = Sampling(SamplePlan(64, aim="best", window=6), 2, UNIT)
    outcome = coins([0.5, 0.5])
    slow, *running = sampling.begin()[::-1]
    assert slow == FutureId(1, 2)
    asked = 0
    while running:
        more = sampling.ended(which := running.pop(0), outcome(which))
        asked += len(more)
        running.extend(more)
    assert asked == 5
    assert sampling.ended(slow, outcome(slow))


def test_futures_go_to_the_contenders() -> None:
    n = counts(drive(SamplePlan(200, aim="best"), 4, coins([0.1, 0.7, 0.6, 0.1])), 4)
    assert min(n[1], n[2]) > 3 * max(n[0], n[3])


def test_a_ranking_spends_on_the_neighbours_that_are_close() -> None:
    n = counts(drive(SamplePlan(60, aim="ranking"), 4, coins([0.0, 0.5, 0.55, 1.0])), 4)
    assert min(n[1], n[2]) == 60
    assert max(n[0], n[3]) < 30


def test_a_pair_that_has_had_its_most_leaves_nothing_to_the_others() -> None:
    n = counts(drive(SamplePlan(20, aim="best"), 3, coins([0.0, 1.0, 1.0])), 3)
    assert n[1:] == [20, 20]
    assert n[0] < 10


def test_a_tolerance_ends_a_tie() -> None:
    n = counts(drive(SamplePlan(500, aim="best", tolerance=0.2), 2, coins([0.5, 0.5])), 2)
    assert max(n) < 100


def test_a_target_is_a_candidates_own() -> None:
    plan = SamplePlan(60, target_stderr=0.08)
    alone = counts(drive(plan, 1, coins([0.5])), 1)
    among = counts(drive(plan, 3, coins([0.5, 0.0, 0.9])), 3)
    assert among[0] == alone[0]
    assert among[1] < among[0]


def test_a_candidate_is_settled_when_its_own_futures_are_in() -> None:
    sampling = Sampling(SamplePlan(2), 2, UNIT)
    for sample in range(2):
        sampling.ended(FutureId(0, sample), 1.0)
    assert (sampling.settled(0), sampling.settled(1), sampling.complete) == (True, False, False)


def test_a_total_goes_to_the_widest() -> None:
    plan = SamplePlan(60, target_stderr=0.05, total=60)
    n = counts(drive(plan, 2, coins([0.5, 0.0])), 2)
    assert sum(n) == 60
    assert n[0] > 2 * n[1]
