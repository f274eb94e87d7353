"""Who begins next: free places, shares of jobs, order of groups, ageing, refusals, cancellation."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from contextlib import aclosing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foresight_services.core.admission import (
    AGEING,
    RETRY_AFTER,
    Admission,
    Group,
    is_refusal,
)
from foresight_services.core.ending_rate import (
    FIRST_RETRY_SECONDS,
    LEAST_RETRY_SECONDS,
    MOST_RETRY_SECONDS,
)
from foresight_services.core.errors import Failure, Family, LimitReached, Reason
from foresight_services.core.future import Future
from foresight_services.core.simulation import Simulation
from tests.fakes.chat import Gates, ScriptedChat
from tests.fakes.simulation import make_simulation, simulation_request
from tests.fakes.telemetry import RecordingTelemetry
from tests.fakes.virtual_time import LoopClock, settle


class HandClock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.time = 100.0

    def now(self) -> float:
        """Return the time that it was moved to."""
        return self.time


class Desk:
    """An admission without an event loop, and the order in which futures began."""

    def __init__(self, places: int = 1, most_waiting: int = 1_000_000) -> None:
        self.clock = HandClock()
        self.seen = RecordingTelemetry()
        self.admission = Admission(
            places=places, most_waiting=most_waiting, clock=self.clock, observer=self.seen
        )
        self.begun: list[str] = []
        """Names of the groups whose futures began, one for each future."""
        self.running: Counter[str] = Counter()
        self.groups: dict[str, Group] = {}

    def ask(self, name: str, futures: int, *, job: str = "") -> Group:
        """Let the group called `name` stand in line for so many futures."""
        group = self.groups[name] = self.admission.enter(job, futures)

        def begin() -> bool:
            self.begun.append(name)
            self.running[name] += 1
            return True

        group.stand(begin)
        return group

    def end(self, name: str) -> None:
        """End one running future of the group called `name`."""
        self.running[name] -= 1
        self.groups[name].ended()

    def end_next(self) -> None:
        """End whichever future runs."""
        self.end(next(name for name, count in self.running.items() if count))

    def drain(self, most: int = 1_000_000) -> list[str]:
        """End futures one after another; return who began meanwhile, `most` of them."""
        before = len(self.begun)
        while self.admission.waiting and len(self.begun) - before < most:
            self.end_next()
        return self.begun[before:]


# Who is next


def test_free_places_go_at_once() -> None:
    desk = Desk(places=5)
    desk.ask("a", 3)
    desk.ask("b", 1)
    assert desk.begun == ["a", "a", "a", "b"]
    assert (desk.admission.free, desk.admission.waiting) == (1, 0)


def test_a_place_that_is_given_back_goes_at_once() -> None:
    desk = Desk(places=2)
    desk.ask("a", 3)
    assert desk.begun == ["a", "a"]
    desk.end("a")
    assert desk.begun == ["a", "a", "a"]
    desk.end("a")
    desk.end("a")
    assert desk.admission.free == 2


def test_the_group_with_the_fewest_futures_left_goes_first() -> None:
    desk = Desk()
    desk.ask("running", 1)
    desk.ask("many", 4)
    desk.ask("few", 2)
    desk.ask("one", 1)
    assert desk.drain(7) == ["one", "few", "few", "many", "many", "many", "many"]


def test_stragglers_go_before_a_new_group() -> None:
    desk = Desk(places=3)
    desk.ask("old", 5)
    desk.ask("new", 3)
    assert desk.drain() == ["old", "old", "new", "new", "new"]


def test_of_equals_the_one_that_came_first_goes_first() -> None:
    desk = Desk()
    desk.ask("running", 1)
    for name in "cab":
        desk.ask(name, 2)
    assert desk.drain() == ["c", "c", "a", "a", "b", "b"]


def test_jobs_that_wait_take_turns_whatever_they_ask_for() -> None:
    desk = Desk(places=4)
    desk.ask("large", 1000, job="large")
    desk.ask("small", 100, job="small")
    assert Counter(desk.drain(200)) == {"large": 100, "small": 100}
    # What one leaves unused is the other's.
    assert Counter(desk.drain(50)) == {"large": 50}


def test_shares_are_of_futures_and_not_of_groups() -> None:
    desk = Desk()
    desk.ask("running", 1, job="x")
    for index in range(100):
        desk.ask(f"large {index}", 10, job="large")
    desk.ask("small", 100, job="small")
    jobs = Counter(name.split()[0] for name in desk.drain(100))
    assert jobs == {"large": 50, "small": 50}


def test_a_job_that_comes_back_has_no_second_turn() -> None:
    # One that asks for a single future each time its last one began must not go first each time.
    desk = Desk()
    desk.ask("running", 1, job="x")
    desk.ask("patient", 10, job="patient")
    for index in range(10):
        desk.ask(f"hasty {index}", 1, job="hasty")
        desk.drain(2)
    jobs = Counter(name.split()[0] for name in desk.begun[1:])
    assert jobs == {"patient": 10, "hasty": 10}


def test_requests_without_a_job_are_one_job() -> None:
    desk = Desk()
    desk.ask("running", 1)
    for index in range(10):
        desk.ask(f"nameless {index}", 10)
    desk.ask("named", 10, job="named")
    assert Counter(name.split()[0] for name in desk.drain(20)) == {"nameless": 10, "named": 10}


def test_a_large_group_begins_whatever_small_ones_come() -> None:
    desk = Desk()
    desk.ask("running", 1)
    desk.ask("large", 50)
    for index in range(AGEING * 50):
        desk.ask(f"small {index}", 1)
        desk.end_next()
    assert desk.groups["large"].waiting == 0
    assert Counter(name.split()[0] for name in desk.begun)["large"] == 50


def test_every_place_but_the_aged_ones_still_goes_to_the_smallest() -> None:
    desk = Desk()
    desk.ask("running", 1)
    desk.ask("large", 50)
    for index in range(2 * AGEING):
        desk.ask(f"small {index}", 1)
    # The first place of the job went to the group that ran alone.
    began = [name.split()[0] for name in desk.drain(2 * AGEING)]
    assert began == (["small"] * (AGEING - 1) + ["large"]) * 2


GROUPS = st.lists(
    st.tuples(st.sampled_from(["", "a", "b"]), st.integers(1, 12)), min_size=1, max_size=40
)


@given(GROUPS, st.integers(1, 5), st.data())
def test_places_are_never_lost_and_never_idle(
    groups: list[tuple[str, int]], places: int, data: st.DataObject
) -> None:
    desk = Desk(places=places)
    names: list[str] = []
    for index, (job, futures) in enumerate(groups):
        name = f"{index}"
        desk.ask(name, futures, job=job)
        names.append(name)
        for _ in range(data.draw(st.integers(0, 3), label="endings")):
            if any(desk.running.values()):
                desk.end_next()
        if data.draw(st.booleans(), label="leaves"):
            desk.groups[data.draw(st.sampled_from(names), label="who")].leave()
        held = sum(desk.running.values())
        waiting = sum(group.waiting for group in desk.groups.values())
        assert desk.admission.free + held == places
        assert desk.admission.waiting == desk.seen.waiting == waiting
        assert not waiting or not desk.admission.free
    desk.drain()
    while any(desk.running.values()):
        desk.end_next()
    assert (desk.admission.free, desk.admission.waiting, desk.seen.waiting) == (places, 0, 0)


@given(GROUPS)
def test_the_order_is_the_one_that_is_promised(groups: list[tuple[str, int]]) -> None:
    # The promise again, told the slow way.
    desk = Desk()
    desk.ask("running", 1, job="nobody else's")
    left: OrderedDict[str, dict[str, int]] = OrderedDict()
    for index, (job, futures) in enumerate(groups):
        desk.ask(f"{index}", futures, job=job)
        left.setdefault(job, {})[f"{index}"] = futures
    expected: list[str] = []
    given_to: Counter[str] = Counter()
    while left:
        job, waiting = left.popitem(last=False)
        given_to[job] += 1
        oldest = next(iter(waiting))
        fewest = min(waiting, key=lambda name: (waiting[name], int(name)))
        name = oldest if given_to[job] % AGEING == 0 else fewest
        expected.append(name)
        waiting[name] -= 1
        if not waiting[name]:
            del waiting[name]
        if waiting:
            left[job] = waiting
    assert desk.drain() == expected


@given(GROUPS, st.integers(1, 12), st.lists(st.integers(1, 12), min_size=50, max_size=50))
def test_the_bound_on_waiting_holds(
    before: list[tuple[str, int]], own: int, later: list[int]
) -> None:
    desk = Desk()
    desk.ask("running", 1)
    for index, (_, futures) in enumerate(before):
        desk.ask(f"{index}", futures)
    ahead = sum(futures for _, futures in before)
    group = desk.ask("own", own)
    places = 0
    while group.waiting:
        # Whoever comes later has as few futures as can be, or some.
        desk.ask(f"later {places}", later[places % len(later)])
        desk.end_next()
        places += 1
    assert places <= AGEING * (ahead + own)


def test_much_coming_and_going_leaves_nothing_behind() -> None:
    desk = Desk()
    desk.ask("running", 1)
    desk.ask("stays", 5)
    for index in range(10_000):
        desk.ask(f"{index}", 3).leave()
    (job,) = desk.admission._jobs.values()
    assert len(job._by_left) < 50
    assert desk.drain() == ["stays"] * 5


# Refusals


def test_what_does_not_fit_is_refused_as_a_whole_and_costs_nothing() -> None:
    desk = Desk(places=2, most_waiting=3)
    desk.ask("a", 4)
    with pytest.raises(LimitReached) as refused:
        desk.ask("b", 2)
    assert refused.value.reason is Reason.LIMIT_REACHED
    assert refused.value.metadata == {
        "limit": "simulator.max_waiting_futures",
        "field": "futures",
        "asked": "2",
        "waiting": "2",
        "most_waiting": "3",
        RETRY_AFTER: f"{FIRST_RETRY_SECONDS:.3f}",
    }
    assert (desk.admission.waiting, desk.seen.waiting, desk.seen.refused) == (2, 2, 1)
    desk.ask("c", 1)
    assert desk.drain() == ["c", "a", "a"]


def test_what_follows_from_a_group_that_was_let_in_is_not_refused() -> None:
    desk = Desk(places=1, most_waiting=1)
    desk.ask("a", 2)
    follow_up = desk.admission.enter("", 1, bounded=False)
    assert follow_up.waiting == 1
    with pytest.raises(LimitReached):
        desk.ask("b", 1)
    assert desk.seen.waiting == 2
    # The line is longer than its bound: there is room again when it is shorter.
    follow_up.leave()
    desk.end("a")
    desk.ask("b", 1)


def test_without_a_line_free_places_are_all_there_is() -> None:
    desk = Desk(places=2, most_waiting=0)
    desk.ask("a", 1)
    with pytest.raises(LimitReached):
        desk.ask("b", 2)
    desk.ask("c", 1)
    assert desk.begun == ["a", "c"]


def test_who_is_let_in_and_not_ready_yet_keeps_what_it_was_promised() -> None:
    desk = Desk(places=2, most_waiting=1)
    group = desk.admission.enter("", 3)
    with pytest.raises(LimitReached):
        desk.ask("other", 1)
    group.stand(lambda: True)
    assert group.waiting == 1


def test_what_never_fits_is_told_so_and_not_to_try_again() -> None:
    desk = Desk(places=2, most_waiting=3)
    with pytest.raises(LimitReached, match="ask for at most 5") as refused:
        desk.ask("a", 6)
    assert RETRY_AFTER not in refused.value.metadata
    desk.ask("b", 5)


def test_a_refusal_is_told_from_what_other_limits_cost() -> None:
    desk = Desk(places=1, most_waiting=1)
    for futures in (2, 3):
        desk.ask("a", 1)
        with pytest.raises(LimitReached) as refused:
            desk.ask("b", futures)
        assert is_refusal(refused.value.failure)
    budget = {"limit": "calls"}
    assert not is_refusal(Failure(Family.LIMIT, Reason.BUDGET_EXHAUSTED, "spent", budget))
    assert not is_refusal(Failure(Family.LIMIT, Reason.LIMIT_REACHED, "busy"))
    line = refused.value.failure.metadata
    assert not is_refusal(Failure(Family.UPSTREAM, Reason.MODEL_FAILED, "down", line))


def refused_for(desk: Desk, futures: int) -> float:
    """Ask for futures that do not fit; return the seconds that the refusal says."""
    with pytest.raises(LimitReached) as refused:
        desk.ask("too many", futures)
    return float(refused.value.metadata[RETRY_AFTER])


def test_a_refusal_says_when_there_will_be_room_at_the_rate_of_endings() -> None:
    desk = Desk(places=2, most_waiting=100)
    desk.ask("a", 102)
    for _ in range(40):
        desk.clock.time += 0.5
        desk.end_next()
    # 40 have room by now; two endings each second make room for the others.
    assert refused_for(desk, 50) == pytest.approx(5.0, rel=0.1)
    assert refused_for(desk, 60) == pytest.approx(10.0, rel=0.1)
    assert refused_for(desk, 41) == pytest.approx(0.5, rel=0.1)


def test_time_in_which_nobody_waits_does_not_count() -> None:
    desk = Desk(places=1, most_waiting=100)
    desk.ask("a", 11)
    for _ in range(10):
        desk.clock.time += 1
        desk.end_next()
    desk.clock.time += 3600
    desk.end_next()
    desk.ask("b", 101)
    assert refused_for(desk, 5) == pytest.approx(5.0, rel=0.1)


def test_what_a_refusal_says_is_bounded() -> None:
    fast, slow = Desk(most_waiting=100_000), Desk(most_waiting=1000)
    fast.ask("a", 100_001)
    for _ in range(1000):
        fast.clock.time += 1e-5
        fast.end_next()
    assert refused_for(fast, 1001) == LEAST_RETRY_SECONDS
    slow.ask("a", 1001)
    slow.clock.time += 60
    slow.end_next()
    assert refused_for(slow, 1000) == MOST_RETRY_SECONDS


def test_where_nothing_ends_a_refusal_says_as_long_as_it_has_been() -> None:
    desk = Desk(most_waiting=10)
    desk.ask("a", 11)
    assert refused_for(desk, 1) == FIRST_RETRY_SECONDS
    desk.clock.time += 5
    assert refused_for(desk, 1) == pytest.approx(5.0, rel=0.1)
    desk.clock.time += 3600
    assert refused_for(desk, 1) == pytest.approx(MOST_RETRY_SECONDS)


# In the simulation


async def ended(simulation: Simulation, samples: int, **fields: object) -> list[Future]:
    """Simulate so many futures to their end."""
    request = simulation_request(samples=samples, horizon_messages=1, **fields)
    return [future async for future in simulation.simulate(request)]


async def test_a_full_simulation_refuses_at_once_and_goes_on(clock: LoopClock) -> None:
    gates, telemetry = Gates(), RecordingTelemetry()
    user = ScriptedChat(lambda request: gates.say("u", after="gate"))
    simulation = make_simulation(
        user=user,
        policy=ScriptedChat("a"),
        telemetry=telemetry,
        max_futures=2,
        max_waiting_futures=3,
    )
    first = asyncio.create_task(ended(simulation, 5))
    await settle()
    asked = clock.now()
    with pytest.raises(LimitReached):
        await ended(simulation, 1)
    assert clock.now() == asked
    assert (telemetry.waiting, telemetry.refused, telemetry.futures) == (3, 1, {})
    gates.open("gate")
    assert len(await first) == 5
    assert len(await ended(simulation, 5)) == 5
    assert (telemetry.waiting, telemetry.in_flight) == (0, 0)


async def test_a_job_gets_its_share_of_a_simulation(clock: LoopClock) -> None:
    async def slowly(request: object) -> str:
        await asyncio.sleep(1)
        return "u"

    simulation = make_simulation(user=ScriptedChat(slowly), policy=ScriptedChat("a"), max_futures=4)
    start = clock.now()

    async def seconds(samples: int, job: str) -> float:
        await ended(simulation, samples, job=job)
        return clock.now() - start

    large, small = await asyncio.gather(seconds(400, "large"), seconds(40, "small"))
    # The first four places went to the large one; from then on each got two in a second.
    assert small == pytest.approx(21, abs=1)
    assert large == pytest.approx(110, abs=1)


async def test_whoever_is_cancelled_at_whatever_point_leaves_every_place(clock: LoopClock) -> None:
    async def slowly(request: object) -> str:
        await asyncio.sleep(1)
        return "u"

    telemetry = RecordingTelemetry()
    simulation = make_simulation(
        user=ScriptedChat(slowly), policy=ScriptedChat("a"), telemetry=telemetry, max_futures=3
    )
    start = clock.now()
    # Each is cancelled after another number of turns of the loop: before it stands in line, while
    # it waits, in the turn in which its place is given, while it plays.
    for turns in range(40):
        other = asyncio.create_task(ended(simulation, 4))
        victim = asyncio.create_task(ended(simulation, 4))
        for _ in range(turns % 20):
            await asyncio.sleep(0)
        if turns >= 20:
            await asyncio.sleep(1)
            for _ in range(turns % 20):
                await asyncio.sleep(0)
        victim.cancel()
        assert len(await other) == 4
        with pytest.raises(asyncio.CancelledError):
            await victim
        assert (telemetry.waiting, telemetry.in_flight) == (0, 0)
    # All places are there: three futures take one second.
    assert clock.now() - start <= 40 * 4
    start = clock.now()
    assert len(await ended(simulation, 3)) == 3
    assert clock.now() - start == pytest.approx(1)


async def test_a_group_that_is_closed_leaves_the_line_to_the_others(clock: LoopClock) -> None:
    gates, telemetry = Gates(), RecordingTelemetry()
    user = ScriptedChat(lambda request: gates.say("u", after="gate"))
    simulation = make_simulation(
        user=user, policy=ScriptedChat("a"), telemetry=telemetry, max_futures=1
    )
    gates.open("gate")
    async with aclosing(simulation.simulate(simulation_request(samples=1000))) as futures:
        await anext(futures)
        assert telemetry.waiting >= 998
    assert telemetry.waiting == 0
    assert len(await ended(simulation, 2)) == 2


async def test_ten_thousand_futures_wait_as_numbers(clock: LoopClock) -> None:
    gates, telemetry = Gates(), RecordingTelemetry()
    user = ScriptedChat(lambda request: gates.say("u", after="gate"))
    simulation = make_simulation(
        user=user, policy=ScriptedChat("a"), telemetry=telemetry, max_futures=50
    )
    one = asyncio.create_task(ended(simulation, 1000, candidates=tuple("0123456789")))
    await settle()
    # One for the reader, and one for each future that has a place.
    assert len(asyncio.all_tasks() - {asyncio.current_task()}) == 51
    assert (telemetry.waiting, telemetry.in_flight) == (9950, 50)
    gates.open("gate")
    assert len(await one) == 10_000
    assert telemetry.most_in_flight == 50


async def test_the_deadline_finds_those_who_wait(clock: LoopClock) -> None:
    telemetry = RecordingTelemetry()
    user = ScriptedChat(lambda request: Gates().say("u", after="never"))
    simulation = make_simulation(
        user=user, policy=ScriptedChat("a"), telemetry=telemetry, max_futures=2
    )
    deadline = clock.now() + 3
    futures = simulation.simulate(simulation_request(samples=50), deadline=deadline)
    assert len([future async for future in futures]) == 50
    assert clock.now() == pytest.approx(deadline)
    assert telemetry.futures == {"DEADLINE_EXCEEDED": 50}
    assert len(user.requests) == 2
    assert (telemetry.waiting, telemetry.in_flight) == (0, 0)
