"""How a computation ends early: at its deadline, or cancelled."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, asynccontextmanager

import pytest

from foresight_services.core.errors import (
    DeadlinePassed,
    Failure,
    Family,
    Reason,
)
from foresight_services.core.future import FutureId
from foresight_services.core.result import CandidateResult, FutureFinished, Reward
from foresight_services.core.reward import SECONDS_TO_ANSWER_PER_FUTURE, Event
from foresight_services.core.task import Task
from tests.fakes.chat import Gates, ScriptedChat
from tests.fakes.evaluation import StubMetric
from tests.fakes.reward import DrivenSimulator, failed, make_rewards, query, worth
from tests.fakes.simulation import make_simulation
from tests.fakes.telemetry import RecordingTelemetry
from tests.fakes.virtual_time import LoopClock, settle


def candidates(emitted: list[Event]) -> dict[int, CandidateResult]:
    return {e.index: e for e in emitted if isinstance(e, CandidateResult)}


def failure(found: CandidateResult) -> Failure:
    assert isinstance(found.outcome, Failure)
    return found.outcome


async def test_at_the_deadline_the_best_estimate_so_far_is_told(clock: LoopClock) -> None:
    simulator = DrivenSimulator()
    simulator.put(
        *(worth(0.5, 0, s) for s in range(3)),
        *(worth(0.25, 1, s) for s in range(2)),
        worth(1.0, 2, 0),
    )
    rewards = make_rewards(simulator, margin=1.0)
    start = clock.now()
    asked = query(candidates=("all", "enough", "few"), samples_max=3, samples_min=2)
    emitted = [e async for e in rewards.compute(asked, deadline=start + 10)]
    # In time to be sent, all nine of them.
    assert clock.now() == pytest.approx(start + 9 - 9 * SECONDS_TO_ANSWER_PER_FUTURE)
    found = candidates(emitted)
    assert [found[i].status for i in range(3)] == ["complete", "partial", "DEADLINE_EXCEEDED"]
    enough = found[1].outcome
    assert isinstance(enough, Reward)
    assert (enough.estimate.mean, enough.estimate.n) == (0.25, 2)
    late = found[1].futures[2]
    assert isinstance(late.objective, Failure)
    assert late.objective.reason is Reason.DEADLINE_EXCEEDED
    assert failure(found[2]).family is Family.DEADLINE
    assert failure(found[2]).message == (
        "the deadline came first: 1 of 3 futures succeeded, at least 2 are needed"
    )
    # Those that were given up have not finished.
    assert len([e for e in emitted if isinstance(e, FutureFinished)]) == 6
    await settle()
    assert simulator.closed


async def test_peers_are_given_the_deadline_less_the_margin(clock: LoopClock) -> None:
    simulator = DrivenSimulator()
    simulator.put(worth(0.5, sample=0), worth(0.5, sample=1))
    deadline = clock.now() + 10
    rewards = make_rewards(simulator, margin=0.5)
    assert [e async for e in rewards.compute(query(), deadline=deadline)]
    assert simulator.deadlines == [deadline - 0.5 - 2 * SECONDS_TO_ANSWER_PER_FUTURE]


async def test_the_margin_takes_at_most_half_of_a_short_deadline(clock: LoopClock) -> None:
    simulator = DrivenSimulator()
    simulator.put(worth(0.5, sample=0), worth(0.5, sample=1))
    deadline = clock.now() + 0.25
    rewards = make_rewards(simulator, margin=0.5)
    assert [e async for e in rewards.compute(query(), deadline=deadline)]
    assert simulator.deadlines == [pytest.approx(deadline - 0.125)]


async def test_scoring_that_is_late_costs_the_futures_it_scores(clock: LoopClock) -> None:
    async def score(item, ledger) -> float:
        if item.id.sample == 1:
            await asyncio.sleep(3600)
        return float(item.goal)

    simulator = DrivenSimulator()
    simulator.put(worth(0.5, sample=0), worth(0.7, sample=1))
    rewards = make_rewards(simulator, StubMetric("worth", score))
    asked = query(samples_min=1)
    found = candidates([e async for e in rewards.compute(asked, deadline=clock.now() + 5)])[0]
    assert isinstance(found.outcome, Reward)
    assert (found.outcome.estimate.mean, found.status) == (0.5, "partial")


async def test_a_simulator_that_ignores_the_deadline_cannot_hold_the_answer(
    clock: LoopClock,
) -> None:
    start = clock.now()
    simulator = DrivenSimulator()  # which never yields anything
    rewards = make_rewards(simulator)
    found = candidates([e async for e in rewards.compute(query(), deadline=start + 5)])[0]
    assert failure(found).reason is Reason.DEADLINE_EXCEEDED
    assert clock.now() == pytest.approx(start + 4)


async def test_the_answer_does_not_wait_for_the_end_of_what_it_left_out(clock: LoopClock) -> None:
    ended: list[float] = []

    class SlowToEnd(DrivenSimulator):
        async def simulate(self, request, *, deadline=None):
            try:
                async for future in super().simulate(request, deadline=deadline):
                    yield future
            finally:
                await asyncio.sleep(3)
                ended.append(clock.now())

    simulator = SlowToEnd()
    simulator.put(worth(0.5, sample=0))
    start = clock.now()
    asked = query(samples_min=1)
    found = candidates(
        [e async for e in make_rewards(simulator).compute(asked, deadline=start + 5)]
    )
    assert found[0].status == "partial"
    assert clock.now() == pytest.approx(start + 4)
    await asyncio.sleep(10)
    assert ended == [pytest.approx(start + 7)]


async def test_an_evaluator_that_does_not_open_in_time_is_a_deadline(clock: LoopClock) -> None:
    class NeverReady:
        @asynccontextmanager
        async def open(self, setup, *, deadline=None):
            await asyncio.sleep(3600)
            yield

    rewards = make_rewards(DrivenSimulator(), evaluator=NeverReady())
    start = clock.now()
    with pytest.raises(DeadlinePassed):
        await anext(rewards.compute(query(), deadline=start + 5))
    assert clock.now() == pytest.approx(start + 4)


async def test_failures_before_the_deadline_are_told_as_what_they_were(clock: LoopClock) -> None:
    simulator = DrivenSimulator()
    simulator.put(failed(sample=0))
    rewards = make_rewards(simulator)
    found = candidates([e async for e in rewards.compute(query(), deadline=clock.now() + 5)])[0]
    assert failure(found).reason is Reason.TOO_FEW_FUTURES
    assert failure(found).metadata["first_error"] == "MODEL_FAILED"


async def test_closing_a_computation_cancels_simulation_and_scoring_at_once(
    clock: LoopClock,
) -> None:
    gates, telemetry = Gates(), RecordingTelemetry()
    user = ScriptedChat(lambda request: gates.say("u", after=request.conversation[1].content))
    simulation = make_simulation(user=user, policy=ScriptedChat("a"), telemetry=telemetry)
    scoring = 0

    async def score(item, ledger) -> float:
        nonlocal scoring
        if item.id.sample == 0:
            return 0.5
        scoring += 1
        try:
            await asyncio.Event().wait()
        finally:
            scoring -= 1
        return 0.5

    rewards = make_rewards(simulation, StubMetric("worth", score), telemetry=telemetry)
    gates.open("fast")
    asked = query(candidates=("fast", "slow"), task=Task(goal="the goal"))
    async with aclosing(rewards.compute(asked)) as emitted:
        assert await anext(emitted) == FutureFinished(FutureId(0, 0), ok=True)
        await settle()
        assert (telemetry.in_flight, user.in_flight, scoring) == (2, 2, 1)
    # No settling: everything has stopped when the computation is closed.
    assert (telemetry.in_flight, user.in_flight, scoring) == (0, 0, 0)
    assert user.cancelled == 2
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_cancelling_the_reader_closes_simulator_and_evaluator(clock: LoopClock) -> None:
    simulator = DrivenSimulator()
    rewards = make_rewards(simulator)

    async def read() -> None:
        async with aclosing(rewards.compute(query())) as emitted:
            async for _ in emitted:
                pass

    reader = asyncio.create_task(read())
    await settle()
    assert simulator.requests
    assert not simulator.closed
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    assert simulator.closed
    assert asyncio.all_tasks() == {asyncio.current_task()}
