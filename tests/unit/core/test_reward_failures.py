"""What a computation refuses, and what is left of it when simulator or evaluator fail."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from foresight_services.core.admission import RETRY_AFTER, is_refusal
from foresight_services.core.errors import (
    Failure,
    InvalidInput,
    LimitReached,
    NotFound,
    Precondition,
    Reason,
    Unauthenticated,
    Upstream,
    Violation,
)
from foresight_services.core.future import ConversationScores, EvaluationItem, MetricScore
from foresight_services.core.objective import MetricSpec
from foresight_services.core.ports import ChatRequest
from foresight_services.core.result import CandidateResult, FutureFinished, GroupSummary, Reward
from foresight_services.core.reward import Event
from foresight_services.core.usage import Ledger, Usage
from tests.fakes.chat import Gates, ScriptedChat
from tests.fakes.evaluation import StubMetric
from tests.fakes.reward import DrivenSimulator, by_goal, make_rewards, query, worth
from tests.fakes.simulation import make_simulation
from tests.fakes.telemetry import RecordingTelemetry
from tests.fakes.virtual_time import LoopClock, settle


def candidates(emitted: list[Event]) -> dict[int, CandidateResult]:
    return {e.index: e for e in emitted if isinstance(e, CandidateResult)}


def failure(found: CandidateResult) -> Failure:
    assert isinstance(found.outcome, Failure)
    return found.outcome


@pytest.mark.parametrize(
    "error",
    [
        InvalidInput((Violation("task.world", "unknown"),)),
        NotFound(Reason.UNKNOWN_POLICY, "no such policy"),
        Precondition(Reason.CONTRADICTORY_PREFIX, "no goal is left"),
        Unauthenticated("no token"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_what_the_caller_must_mend_refuses_the_whole_request(error: Exception) -> None:
    simulator, telemetry = DrivenSimulator(), RecordingTelemetry()
    simulator.put(error)
    rewards = make_rewards(simulator, telemetry=telemetry)
    with pytest.raises(type(error)) as refused:
        async for _ in rewards.compute(query()):
            pytest.fail("a refused request emits nothing")
    assert refused.value is error
    assert telemetry.rewards == []


async def test_an_unknown_metric_costs_no_simulation() -> None:
    simulator = DrivenSimulator()
    rewards = make_rewards(simulator)
    with pytest.raises(InvalidInput) as refused:
        await anext(rewards.compute(query(metrics=(MetricSpec("worth"), MetricSpec("wroth")))))
    # The evaluator speaks of `metrics`; the caller knows it as part of the objective.
    assert [v.field for v in refused.value.violations] == ["objective.metrics[1].name"]
    assert simulator.requests == []


async def test_a_wrong_request_reaches_neither_evaluator_nor_simulator() -> None:
    class NeverOpened:
        def open(self, setup, *, deadline=None):
            pytest.fail("opened for a request that is wrong")

    simulator = DrivenSimulator()
    rewards = make_rewards(simulator, evaluator=NeverOpened())
    with pytest.raises(InvalidInput):
        await anext(rewards.compute(query(candidates=())))
    assert simulator.requests == []


async def test_an_unreachable_evaluator_fails_the_request_before_any_simulation() -> None:
    class Unreachable:
        @asynccontextmanager
        async def open(self, setup, *, deadline=None):
            raise Upstream(Reason.SERVICE_UNAVAILABLE, "no evaluator")
            yield

    simulator = DrivenSimulator()
    rewards = make_rewards(simulator, evaluator=Unreachable())
    with pytest.raises(Upstream, match="no evaluator"):
        await anext(rewards.compute(query()))
    assert simulator.requests == []


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (Upstream(Reason.SERVICE_UNAVAILABLE, "gone"), "SERVICE_UNAVAILABLE"),
        (LimitReached(Reason.LIMIT_REACHED, "too much"), "LIMIT_REACHED"),
        (RuntimeError("a secret"), "INTERNAL"),
        # Too late to refuse the request: a future has been told already.
        (NotFound(Reason.UNKNOWN_POLICY, "withdrawn"), "UNKNOWN_POLICY"),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_when_the_simulator_dies_what_has_finished_counts(
    error: Exception, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    simulator = DrivenSimulator()
    simulator.put(worth(0.25, 0, 0), worth(0.5, 1, 0), error)
    rewards = make_rewards(simulator)
    asked = query(candidates=("one", "two", "three"), samples_min=1)
    emitted = [e async for e in rewards.compute(asked)]
    assert len([e for e in emitted if isinstance(e, FutureFinished)]) == 2
    found = candidates(emitted)
    for index, value in ((0, 0.25), (1, 0.5)):
        outcome = found[index].outcome
        assert isinstance(outcome, Reward)
        assert (outcome.estimate.mean, found[index].status) == (value, "partial")
    assert failure(found[2]).reason is Reason.TOO_FEW_FUTURES
    assert failure(found[2]).metadata["first_error"] == told
    assert "a secret" not in failure(found[2]).message
    assert isinstance(emitted[-1], GroupSummary)


async def test_a_simulator_that_dies_at_once_leaves_typed_errors_and_no_exception() -> None:
    simulator = DrivenSimulator()
    simulator.put(Upstream(Reason.SERVICE_UNAVAILABLE, "gone"))
    emitted = [e async for e in make_rewards(simulator).compute(query())]
    found = candidates(emitted)[0]
    assert failure(found).metadata["first_error"] == "SERVICE_UNAVAILABLE"
    assert (found.n_ok, found.n_requested) == (0, 2)


async def test_a_simulator_that_leaves_futures_out_is_found_out() -> None:
    simulator = DrivenSimulator()
    simulator.put(worth(0.5, sample=0))
    simulator.end()
    emitted = [e async for e in make_rewards(simulator).compute(query(samples_min=2))]
    told = failure(candidates(emitted)[0])
    assert told.message == (
        "1 of 2 futures succeeded, at least 2 are needed;"
        " first failure: the simulator ended without this future"
    )


async def test_an_evaluator_that_fails_one_future_fails_no_other() -> None:
    class HalfBroken:
        metrics = (by_goal().info,)

        async def score(self, item: EvaluationItem) -> ConversationScores:
            if item.id.sample == 0:
                raise Upstream(Reason.SERVICE_UNAVAILABLE, "the evaluator broke off")
            return ConversationScores(item.id, (MetricScore("worth", float(item.goal)),), Usage())

        @asynccontextmanager
        async def open(self, setup, *, deadline=None):
            yield self

    simulator = DrivenSimulator()
    simulator.put(worth(0.5, sample=0), worth(0.75, sample=1))
    rewards = make_rewards(simulator, evaluator=HalfBroken())
    found = candidates([e async for e in rewards.compute(query(samples_min=1))])[0]
    assert isinstance(found.outcome, Reward)
    assert found.outcome.estimate.mean == 0.75
    told = found.futures[0]
    assert isinstance(told.objective, Failure)
    assert told.objective.reason is Reason.SERVICE_UNAVAILABLE
    # The simulation is not lost with its scores.
    assert told.scored.usage.models["user"].calls == 1


async def test_a_cancellation_that_nobody_asked_for_hangs_nothing(clock: LoopClock) -> None:
    # As when what a model shares with other callers is cancelled by one of them.
    def answer(request: ChatRequest) -> str:
        if request.conversation[1].content == "bad":
            raise asyncio.CancelledError
        return "u"

    simulation = make_simulation(user=ScriptedChat(answer), policy=ScriptedChat("a"))
    rewards = make_rewards(simulation, StubMetric("worth", 0.5))
    found = candidates([e async for e in rewards.compute(query(candidates=("good", "bad")))])
    assert found[0].status == "complete"
    assert failure(found[1]).metadata["first_error"] == "INTERNAL"


async def test_a_metric_that_is_cancelled_from_inside_costs_its_own_score(
    clock: LoopClock,
) -> None:
    def score(item: EvaluationItem, ledger: Ledger) -> float:
        raise asyncio.CancelledError

    simulator = DrivenSimulator()
    simulator.put(worth(0.5, sample=0), worth(0.5, sample=1))
    rewards = make_rewards(simulator, by_goal(), StubMetric("bad", score))
    asked = query(metrics=(MetricSpec("worth"), MetricSpec("bad")))
    found = candidates([e async for e in rewards.compute(asked)])[0]
    assert [(m.name, m.n_ok, m.n_failed) for m in found.metrics] == [("worth", 2, 0), ("bad", 0, 2)]


async def test_a_simulator_that_is_cancelled_from_inside_leaves_what_has_finished(
    clock: LoopClock,
) -> None:
    class Cancelled(DrivenSimulator):
        async def simulate(self, request, *, deadline=None):
            yield worth(0.5, sample=0)
            await settle()
            raise asyncio.CancelledError

    rewards = make_rewards(Cancelled())
    found = candidates([e async for e in rewards.compute(query(samples_min=1))])[0]
    assert (found.status, found.n_ok) == ("partial", 1)


@pytest.mark.parametrize("futures", [2, 5])
async def test_a_group_that_does_not_fit_into_the_simulators_line_is_refused(
    clock: LoopClock, futures: int
) -> None:
    simulation = make_simulation(
        user=ScriptedChat(lambda request: Gates().say("u", after="never")),
        policy=ScriptedChat("a"),
        max_futures=1,
        max_waiting_futures=1,
    )
    rewards = make_rewards(simulation)
    first = asyncio.create_task(anext(rewards.compute(query(samples_max=1), deadline=None)))
    await settle()
    with pytest.raises(LimitReached) as refused:
        await anext(rewards.compute(query(candidates=("other",), samples_max=futures)))
    assert is_refusal(refused.value.failure)
    assert (RETRY_AFTER in refused.value.failure.metadata) == (futures == 2)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
