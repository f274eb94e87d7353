"""Many futures at once: places, failures, deadlines, cancellation, and no barrier."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing

import pytest

from foresight_services.core.errors import (
    INTERNAL_MESSAGE,
    Failure,
    Family,
    Precondition,
    Reason,
    Upstream,
)
from foresight_services.core.future import Future, FutureId, SimulatedFuture
from foresight_services.core.ports import ChatRequest
from foresight_services.core.task import Task
from tests.fakes.chat import Gates, ScriptedChat
from tests.fakes.simulation import SeededGoals, make_simulation, simulation_request
from tests.fakes.telemetry import RecordingTelemetry
from tests.fakes.virtual_time import LoopClock, settle


def candidate_of(request: ChatRequest) -> str:
    """Return the candidate that the conversation of `request` continues."""
    return request.conversation[1].content


async def test_a_slow_future_delays_no_other(clock: LoopClock) -> None:
    gates = Gates()
    user = ScriptedChat(lambda request: gates.say("u", after=candidate_of(request)))
    simulation = make_simulation(user=user, policy=ScriptedChat("a"))
    request = simulation_request(candidates=("slow", "fast"), samples=2)
    async with aclosing(simulation.simulate(request)) as futures:
        gates.open("fast")
        first = {(await anext(futures)).id for _ in range(2)}
        assert first == {FutureId(1, 0), FutureId(1, 1)}
        gates.open("slow")
        assert {(await anext(futures)).id for _ in range(2)} == {FutureId(0, 0), FutureId(0, 1)}


async def test_futures_advance_turn_by_turn_on_their_own(clock: LoopClock) -> None:
    # The fast candidate's future is at its third message while the slow one waits for its first.
    gates = Gates()
    user = ScriptedChat(
        lambda request: gates.say("u", after=(candidate_of(request), len(request.conversation)))
    )
    policy = ScriptedChat("a")
    simulation = make_simulation(user=user, policy=policy)
    request = simulation_request(candidates=("slow", "fast"))
    async with aclosing(simulation.simulate(request)) as futures:
        waiting = asyncio.ensure_future(anext(futures))
        gates.open(("fast", 2))
        await settle()
        assert [candidate_of(r) for r in policy.requests] == ["fast"]
        assert [len(r.conversation) for r in user.requests] == [2, 2, 4]
        gates.open(("fast", 4))
        assert (await waiting).id == FutureId(1, 0)


async def test_places_are_limited_and_the_wait_for_one_is_observed(clock: LoopClock) -> None:
    async def slowly(request: ChatRequest) -> str:
        await asyncio.sleep(10)
        return "u"

    telemetry, user = RecordingTelemetry(), ScriptedChat(slowly)
    simulation = make_simulation(
        user=user, policy=ScriptedChat("a"), telemetry=telemetry, max_futures=2
    )
    futures = simulation.simulate(simulation_request(samples=5, horizon_messages=1))
    assert len([future async for future in futures]) == 5
    assert telemetry.most_in_flight == 2
    assert telemetry.in_flight == 0
    waits = [seconds for stage, seconds in telemetry.stages if stage == "queue"]
    assert waits == pytest.approx([0, 0, 10, 10, 20])
    assert telemetry.futures == {"ok": 5}


async def test_places_are_shared_between_requests(clock: LoopClock) -> None:
    gates, telemetry = Gates(), RecordingTelemetry()
    user = ScriptedChat(lambda request: gates.say("u", after="gate"))
    simulation = make_simulation(
        user=user, policy=ScriptedChat("a"), telemetry=telemetry, max_futures=3
    )

    async def run() -> int:
        return len([f async for f in simulation.simulate(simulation_request(samples=3))])

    runs = [asyncio.create_task(run()) for _ in range(2)]
    await settle()
    assert user.in_flight == telemetry.in_flight == 3
    gates.open("gate")
    assert await asyncio.gather(*runs) == [3, 3]


async def test_a_failing_future_disturbs_no_other() -> None:
    failure = Upstream(Reason.MODEL_FAILED, "overloaded", metadata={"role": "user"})

    def answer(request: ChatRequest) -> str:
        if candidate_of(request) == "bad":
            raise failure
        return "u"

    telemetry = RecordingTelemetry()
    simulation = make_simulation(
        user=ScriptedChat(answer), policy=ScriptedChat("a"), telemetry=telemetry
    )
    request = simulation_request(candidates=("good", "bad"), samples=2)
    outcomes = {f.id: f.outcome async for f in simulation.simulate(request)}
    assert len(outcomes) == 4
    assert outcomes[FutureId(1, 0)] == outcomes[FutureId(1, 1)] == failure.failure
    for sample in range(2):
        assert isinstance(outcomes[FutureId(0, sample)], SimulatedFuture)
    assert telemetry.futures == {"ok": 2, "MODEL_FAILED": 2}
    assert telemetry.in_flight == 0


async def test_a_failed_future_still_tells_what_it_cost() -> None:
    def answer(request: ChatRequest) -> str:
        if len(request.conversation) > 2:
            raise Upstream(Reason.MODEL_FAILED, "overloaded")
        return "u"

    simulation = make_simulation(user=ScriptedChat(answer), policy=ScriptedChat("a"))
    (future,) = [f async for f in simulation.simulate(simulation_request())]
    assert isinstance(future.outcome, Failure)
    assert future.usage.messages == 2
    assert future.usage.models["policy"].calls == 1


async def test_an_unexpected_error_is_internal_and_keeps_its_text_to_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def answer(request: ChatRequest) -> str:
        raise RuntimeError("a secret of the adapter")

    simulation = make_simulation(user=ScriptedChat(answer), policy=ScriptedChat("a"))
    with caplog.at_level(logging.ERROR):
        (future,) = [f async for f in simulation.simulate(simulation_request())]
    assert future.outcome == Failure(Family.INTERNAL, Reason.INTERNAL, INTERNAL_MESSAGE)
    assert "a secret of the adapter" in caplog.text


async def test_a_models_own_timeout_is_not_taken_for_the_callers_deadline(
    clock: LoopClock, caplog: pytest.LogCaptureFixture
) -> None:
    def answer(request: ChatRequest) -> str:
        raise TimeoutError

    simulation = make_simulation(user=ScriptedChat(answer), policy=ScriptedChat("a"))
    futures = simulation.simulate(simulation_request(), deadline=clock.now() + 60)
    (future,) = [f async for f in futures]
    assert isinstance(future.outcome, Failure)
    assert future.outcome.reason is Reason.INTERNAL


async def test_at_the_deadline_what_has_not_ended_fails(clock: LoopClock) -> None:
    telemetry = RecordingTelemetry()

    async def answer(request: ChatRequest) -> str:
        if candidate_of(request) == "slow":
            await asyncio.sleep(3600)
        return "u"

    user = ScriptedChat(answer)
    simulation = make_simulation(user=user, policy=ScriptedChat("a"), telemetry=telemetry)
    start = clock.now()
    request = simulation_request(candidates=("slow", "fast"))
    results = {f.id.candidate: f async for f in simulation.simulate(request, deadline=start + 5)}
    assert clock.now() == pytest.approx(start + 5)
    failure = results[0].outcome
    assert isinstance(failure, Failure)
    assert (failure.family, failure.reason) == (Family.DEADLINE, Reason.DEADLINE_EXCEEDED)
    assert isinstance(results[1].outcome, SimulatedFuture)
    assert user.cancelled == 1
    assert telemetry.in_flight == 0
    assert telemetry.futures == {"ok": 1, "DEADLINE_EXCEEDED": 1}


async def test_the_deadline_also_ends_the_wait_for_a_place(clock: LoopClock) -> None:
    gates, telemetry = Gates(), RecordingTelemetry()
    user = ScriptedChat(lambda request: gates.say("u", after="gate"))
    simulation = make_simulation(
        user=user, policy=ScriptedChat("a"), telemetry=telemetry, max_futures=1
    )

    async def run(deadline: float | None) -> list[Future]:
        request = simulation_request(samples=2)
        return [f async for f in simulation.simulate(request, deadline=deadline)]

    # This one holds the only place and has all the time in the world.
    patient = asyncio.create_task(run(None))
    await settle()
    deadline = clock.now() + 5
    outcomes = [future.outcome for future in await run(deadline)]
    assert clock.now() == pytest.approx(deadline)
    assert [o.reason for o in outcomes if isinstance(o, Failure)] == [Reason.DEADLINE_EXCEEDED] * 2
    assert len(user.requests) == 1
    # Those that gave up took no place away.
    gates.open("gate")
    assert [type(future.outcome) for future in await patient] == [SimulatedFuture] * 2
    assert telemetry.most_in_flight == 1


async def test_closing_the_iterator_cancels_every_model_call_at_once(clock: LoopClock) -> None:
    gates, telemetry = Gates(), RecordingTelemetry()
    user = ScriptedChat(lambda request: gates.say("u", after=candidate_of(request)))
    simulation = make_simulation(
        user=user, policy=ScriptedChat("a"), telemetry=telemetry, max_futures=4
    )
    gates.open("fast")
    request = simulation_request(candidates=("slow", "fast", "slower"), samples=3)
    async with aclosing(simulation.simulate(request)) as futures:
        await anext(futures)
        await settle()
        assert user.in_flight == telemetry.in_flight == 4
    # No settling here: when the iterator is closed, everything has stopped.
    assert (user.in_flight, telemetry.in_flight) == (0, 0)
    assert user.cancelled == 4
    called = len(user.requests)
    await settle()
    assert len(user.requests) == called


async def test_cancelling_the_reader_cancels_every_model_call(clock: LoopClock) -> None:
    telemetry = RecordingTelemetry()
    user = ScriptedChat(lambda request: Gates().say("u", after="never"))
    simulation = make_simulation(user=user, policy=ScriptedChat("a"), telemetry=telemetry)

    async def read() -> None:
        async with aclosing(simulation.simulate(simulation_request(samples=3))) as futures:
            async for _ in futures:
                pass

    reader = asyncio.create_task(read())
    await settle()
    assert telemetry.in_flight == 3
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    assert (user.in_flight, telemetry.in_flight, user.cancelled) == (0, 0, 3)
    assert not asyncio.all_tasks() - {asyncio.current_task()}


async def test_a_prefix_that_leaves_no_goal_refuses_the_request() -> None:
    class NoGoal(SeededGoals):
        def draw(self, task, prefix, seed):
            raise Precondition(Reason.CONTRADICTORY_PREFIX, "no goal is left")

    user = ScriptedChat("u")
    simulation = make_simulation(user=user, policy=ScriptedChat("a"), goals=NoGoal())
    with pytest.raises(Precondition, match="no goal is left"):
        await anext(simulation.simulate(simulation_request(task=Task(world="w"))))
    assert user.requests == []
