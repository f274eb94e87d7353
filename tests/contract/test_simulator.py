"""What every `Simulator` promises: in this process, behind a connection, or behind a cache."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace

import pytest

from foresight_services.core.cache_use import Origin
from foresight_services.core.conversation import Message
from foresight_services.core.errors import (
    DeadlinePassed,
    DomainError,
    Failure,
    InvalidInput,
    NotFound,
    Precondition,
    Reason,
    Upstream,
    Violation,
)
from foresight_services.core.future import Future, FutureId, SimulatedFuture, SimulationRequest
from foresight_services.core.ports import ChatRequest, Simulator
from foresight_services.core.simulation import Simulation
from foresight_services.core.task import PolicyRef, Task
from tests.fakes.caching import cached_simulator, memory_cache
from tests.fakes.chat import Gates, ScriptedChat
from tests.fakes.servers import remote_simulator
from tests.fakes.simulation import SIGNAL, SeededGoals, make_simulation, simulation_request
from tests.fakes.telemetry import RecordingTelemetry
from tests.fakes.virtual_time import LoopClock
from tests.fakes.waiting import eventually

Reach = Callable[[Simulation], Awaitable[Simulator]]


@pytest.fixture(params=["in process", "remote", "cached", "cached remote"])
async def reach(request: pytest.FixtureRequest) -> AsyncIterator[Reach]:
    """Reach a simulation directly, over a connection, through a cache, or through both."""
    async with AsyncExitStack() as stack:
        store = memory_cache()

        async def connect(simulation: Simulation) -> Simulator:
            simulator: Simulator = simulation
            if "remote" in request.param:
                simulator = await stack.enter_async_context(remote_simulator(simulation))
            return cached_simulator(simulator, store) if "cached" in request.param else simulator

        yield connect


async def collect(simulator: Simulator, request: SimulationRequest, **options) -> list[Future]:
    return [future async for future in simulator.simulate(request, **options)]


def timeless(future: Future) -> Future:
    """Return `future` without its time, and as if it had just been simulated."""
    usage = replace(future.cost or future.usage, seconds=0.0)
    return replace(future, usage=usage, cost=None, origin=Origin.COMPUTED)


def chatty(request: ChatRequest) -> str:
    """Say something that depends on everything a user or a policy is given."""
    facts = (request.role, request.task, request.conversation, request.seed, request.max_tokens)
    rng = random.Random(repr(facts))
    if rng.random() < 0.1:
        raise Upstream(Reason.MODEL_FAILED, "söme failure", metadata={"role": request.role})
    end = SIGNAL if rng.random() < 0.1 else ""
    return f"{rng.getrandbits(64):x} 言葉 \n {end}"


RICH = simulation_request(
    task=Task(
        preset="p",
        description="d",
        guidance="g",
        reference="r",
        world="w",
        metadata={"key": "välue"},
    ),
    prefix=(Message("system", "s"), Message("user", "tell me 🙂")),
    candidates=("one", "twö", "three\n\nlines"),
    samples=8,
    horizon_messages=7,
    seed=2**64 - 1,
    policy=PolicyRef("policy", 2**64 - 1),
    max_message_tokens=4096,
)


async def test_equal_requests_give_equal_futures_wherever_they_are_played(reach: Reach) -> None:
    simulation = make_simulation(user=ScriptedChat(chatty), policy=ScriptedChat(chatty))
    expected = {f.id: timeless(f) for f in await collect(simulation, RICH)}
    # The script covers failures and both kinds of end.
    endings = {
        f.outcome.termination if isinstance(f.outcome, SimulatedFuture) else f.outcome.reason
        for f in expected.values()
    }
    assert len(endings) == 3
    for _ in range(2):
        found = {f.id: timeless(f) for f in await collect(await reach(simulation), RICH)}
        assert found == expected


async def test_each_future_comes_exactly_once(reach: Reach) -> None:
    async def answer(request: ChatRequest) -> str:
        for _ in range(request.seed % 7):
            await asyncio.sleep(0)
        return "u"

    simulation = make_simulation(user=ScriptedChat(answer), policy=ScriptedChat(answer))
    request = simulation_request(candidates=("a", "b", "c"), samples=40)
    counts = Counter(f.id for f in await collect(await reach(simulation), request))
    assert counts == {which: 1 for which in request.futures}


async def test_a_subset_of_the_futures_may_be_asked_for(reach: Reach) -> None:
    simulation = make_simulation(user=ScriptedChat(chatty), policy=ScriptedChat(chatty))
    every = {f.id: timeless(f) for f in await collect(simulation, RICH)}
    wanted = (FutureId(2, 5), FutureId(0, 7))
    request = replace(RICH, futures=wanted)
    found = {f.id: timeless(f) for f in await collect(await reach(simulation), request)}
    assert found == {which: every[which] for which in wanted}


async def test_a_future_comes_while_others_still_run(reach: Reach) -> None:
    gates = Gates()
    user = ScriptedChat(lambda request: gates.say("u", after=request.conversation[1].content))
    simulation = make_simulation(user=user, policy=ScriptedChat("a"))
    simulator = await reach(simulation)
    gates.open("fast")
    request = simulation_request(candidates=("slow", "fast"))
    async with aclosing(simulator.simulate(request)) as futures:
        assert (await anext(futures)).id == FutureId(1, 0)
        gates.open("slow")
        assert (await anext(futures)).id == FutureId(0, 0)


async def test_it_tells_what_determines_futures(reach: Reach) -> None:
    simulation = make_simulation(
        user=ScriptedChat("u"),
        policy=ScriptedChat("a"),
        fingerprint=lambda policy: f"{policy.name} of version {policy.version} — 🙂",
    )
    simulator = await reach(simulation)
    policy = PolicyRef("policy", 7)
    expected = "policy of version 7 — 🙂"
    assert await simulator.fingerprint(policy) == expected
    (future,) = await collect(simulator, simulation_request(policy=policy))
    assert future.fingerprint == expected


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"prefix": ()}, InvalidInput),
        ({"candidates": ("a", ""), "horizon_messages": 65, "futures": ()}, InvalidInput),
        ({"futures": (FutureId(5, 0), FutureId(0, 9999))}, InvalidInput),
        ({"policy": PolicyRef("other")}, NotFound),
    ],
)
async def test_a_refused_request_is_the_same_error(
    fields, error: type[DomainError], reach: Reach
) -> None:
    simulation = make_simulation(user=ScriptedChat("u"), policy=ScriptedChat("a"))
    request = simulation_request(**fields)
    with pytest.raises(error) as expected:
        await collect(simulation, request)
    with pytest.raises(error) as found:
        await collect(await reach(simulation), request)
    assert found.value.failure == expected.value.failure


@pytest.mark.parametrize(
    "error",
    [
        InvalidInput((Violation("task.goal", "is no goal"),)),
        Precondition(Reason.CONTRADICTORY_PREFIX, "none is left", metadata={"world": "w"}),
    ],
)
async def test_an_impossible_goal_is_the_same_error(error: DomainError, reach: Reach) -> None:
    class Impossible(SeededGoals):
        def draw(self, task, prefix, seed):
            raise error

    simulation = make_simulation(
        user=ScriptedChat("u"), policy=ScriptedChat("a"), goals=Impossible()
    )
    with pytest.raises(type(error)) as found:
        await collect(await reach(simulation), simulation_request(task=Task(world="w")))
    assert found.value.failure == error.failure


async def test_closing_the_iterator_stops_every_model_call(reach: Reach) -> None:
    gates, telemetry = Gates(), RecordingTelemetry()
    user = ScriptedChat(lambda request: gates.say("u", after=request.conversation[1].content))
    simulation = make_simulation(user=user, policy=ScriptedChat("a"), telemetry=telemetry)
    simulator = await reach(simulation)
    gates.open("fast")
    request = simulation_request(candidates=("slow", "fast"), samples=3)
    async with aclosing(simulator.simulate(request)) as futures:
        await anext(futures)
        await eventually(lambda: user.in_flight == 3)
    await eventually(lambda: (user.in_flight, telemetry.in_flight) == (0, 0))
    assert user.cancelled == 3


async def test_at_the_deadline_nothing_runs_on(reach: Reach) -> None:
    telemetry = RecordingTelemetry()
    user = ScriptedChat(lambda request: Gates().say("u", after="never"))
    simulation = make_simulation(user=user, policy=ScriptedChat("a"), telemetry=telemetry)
    simulator = await reach(simulation)
    # Behind a connection the deadline may end the call before the futures' own failures arrive.
    try:
        deadline = LoopClock().now() + 0.3
        ended = await collect(simulator, simulation_request(samples=3), deadline=deadline)
        outcomes = [future.outcome for future in ended]
        assert len(outcomes) == 3
    except DeadlinePassed as error:
        outcomes = [error.failure]
    assert {o.reason for o in outcomes if isinstance(o, Failure)} == {Reason.DEADLINE_EXCEEDED}
    assert not [o for o in outcomes if isinstance(o, SimulatedFuture)]
    await eventually(lambda: (user.in_flight, telemetry.in_flight) == (0, 0))
