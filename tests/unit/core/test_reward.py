"""The main use case: which futures count, what a candidate is told, and when."""

from __future__ import annotations

import asyncio
import itertools
import math
import random
from contextlib import aclosing

import pytest

from foresight_services.core.errors import Failure, Family, Reason
from foresight_services.core.future import Future, FutureId
from foresight_services.core.objective import MetricSpec, Range
from foresight_services.core.result import (
    CandidateResult,
    FutureFinished,
    GroupSummary,
    MetricSummary,
    Reward,
)
from foresight_services.core.reward import Event
from foresight_services.core.usage import Ledger, ModelUsage
from tests.fakes.chat import Gates
from tests.fakes.evaluation import StubMetric
from tests.fakes.reward import DrivenSimulator, by_goal, failed, make_rewards, query, worth
from tests.fakes.telemetry import RecordingTelemetry
from tests.fakes.virtual_time import LoopClock, settle


async def events(*futures: Future, metrics: tuple[StubMetric, ...] = (), **fields) -> list[Event]:
    """Return what a computation emits whose simulator yields `futures`."""
    simulator = DrivenSimulator()
    simulator.put(*futures)
    rewards = make_rewards(simulator, *metrics)
    return [event async for event in rewards.compute(query(**fields))]


async def result(*futures: Future, **fields) -> CandidateResult:
    """Return the result of the only candidate."""
    (found,) = [e for e in await events(*futures, **fields) if isinstance(e, CandidateResult)]
    return found


def reward(found: CandidateResult) -> Reward:
    assert isinstance(found.outcome, Reward)
    return found.outcome


async def test_the_value_is_the_mean_over_the_futures_with_its_error_and_interval() -> None:
    found = await result(
        *(worth(value, sample=i) for i, value in enumerate((0.2, 0.4, 0.9))), samples_max=3
    )
    estimate = reward(found).estimate
    assert estimate.mean == pytest.approx(0.5, rel=1e-15)
    assert estimate.stderr == pytest.approx(math.sqrt((0.09 + 0.01 + 0.16) / 2 / 3), rel=1e-12)
    assert estimate.interval is not None
    assert 0.0 <= estimate.interval.low < 0.5 < estimate.interval.high <= 1.0
    assert reward(found).complete
    assert (found.n_ok, found.n_requested, found.status) == (3, 3, "complete")


async def test_a_failed_future_is_left_out_and_never_a_zero() -> None:
    found = await result(
        worth(0.5, sample=0), failed(sample=1), worth(0.7, sample=2), samples_max=3
    )
    assert reward(found).estimate.mean == pytest.approx(0.6)
    assert reward(found).estimate.n == 2
    assert not reward(found).complete
    assert (found.n_ok, found.n_requested, found.status) == (2, 3, "partial")


async def test_a_future_whose_metric_failed_is_left_out_too() -> None:
    found = await result(worth(7.0, sample=0), worth(0.25, sample=1))
    assert reward(found).estimate.mean == 0.25
    assert found.status == "partial"
    assert found.metrics == (MetricSummary("worth", 0.25, n_ok=1, n_failed=1),)
    objective = found.futures[0].objective
    assert isinstance(objective, Failure)
    assert objective.reason is Reason.METRIC_FAILED


async def test_too_few_futures_are_a_typed_error_and_no_value() -> None:
    found = await result(
        failed(sample=0), worth(0.5, sample=1), failed(sample=2), samples_max=3, samples_min=2
    )
    assert found.outcome == Failure(
        Family.UPSTREAM,
        Reason.TOO_FEW_FUTURES,
        "1 of 3 futures succeeded, at least 2 are needed; first failure: the model is down",
        {"n_ok": "1", "min_samples": "2", "first_error": "MODEL_FAILED"},
    )
    assert (found.n_ok, found.n_requested, found.status) == (1, 3, "TOO_FEW_FUTURES")


async def test_no_future_at_all_is_no_value_either() -> None:
    found = await result(failed(sample=0), failed(sample=1), samples_min=1)
    assert isinstance(found.outcome, Failure)
    assert found.outcome.metadata["n_ok"] == "0"
    assert found.metrics == (MetricSummary("worth", None, n_ok=0, n_failed=0),)


async def test_exactly_the_least_number_of_futures_is_a_value() -> None:
    found = await result(
        failed(sample=0), worth(0.5, sample=1), failed(sample=2), samples_max=3, samples_min=1
    )
    assert reward(found).estimate.mean == 0.5
    assert reward(found).estimate.stderr is None


async def test_metrics_join_by_weight_and_are_told_one_by_one() -> None:
    simulator = DrivenSimulator()
    simulator.put(worth(0.5, sample=0), worth(1.0, sample=1))
    rewards = make_rewards(simulator, by_goal(), StubMetric("cost", 3.0, Range(0.0, 10.0)))
    asked = query(metrics=(MetricSpec("worth", 2.0), MetricSpec("cost", -0.1)))
    emitted = [event async for event in rewards.compute(asked)]
    (candidate,) = [e for e in emitted if isinstance(e, CandidateResult)]
    assert reward(candidate).estimate.mean == pytest.approx(2 * 0.75 - 0.3)
    assert [f.objective for f in candidate.futures] == pytest.approx([0.7, 1.7])
    assert candidate.metrics == (
        MetricSummary("worth", 0.75, 2, 0),
        MetricSummary("cost", 3.0, 2, 0),
    )
    summary = emitted[-1]
    assert isinstance(summary, GroupSummary)
    assert (summary.profile, summary.profile_version) == ("release", "1")
    assert summary.objective_range == Range(-1.0, 2.0)
    assert [info.name for info in summary.metrics] == ["worth", "cost"]


async def test_a_metric_without_range_takes_the_objectives_range_away() -> None:
    emitted = await events(worth(0.5), worth(0.7, sample=1), metrics=(by_goal(values=None),))
    summary = emitted[-1]
    assert isinstance(summary, GroupSummary)
    assert summary.objective_range is None


async def test_the_order_of_arrival_changes_no_bit(clock: LoopClock) -> None:
    values = (0.1, 0.7, 0.2, 1 / 3, 1e-17)
    futures = [worth(value, sample=i) for i, value in enumerate(values)]
    seen = {
        repr(await result(*order, samples_max=5))
        for order in random.Random(3).sample(list(itertools.permutations(futures)), 24)
    }
    assert len(seen) == 1


async def test_a_candidate_is_told_as_soon_as_its_last_future_is_in(clock: LoopClock) -> None:
    simulator = DrivenSimulator()
    rewards = make_rewards(simulator)
    async with aclosing(rewards.compute(query(candidates=("one", "two")))) as emitted:
        simulator.put(worth(0.1, 0, 0), worth(0.2, 1, 0), worth(0.3, 1, 1))
        first = [await anext(emitted) for _ in range(4)]
        assert [e.id for e in first if isinstance(e, FutureFinished)] == [
            FutureId(0, 0),
            FutureId(1, 0),
            FutureId(1, 1),
        ]
        assert isinstance(first[-1], CandidateResult)
        assert first[-1].index == 1
        # The other candidate still runs.
        waiting = asyncio.ensure_future(anext(emitted))
        await settle()
        assert not waiting.done()
        simulator.put(worth(0.4, 0, 1))
        assert (await waiting) == FutureFinished(FutureId(0, 1), ok=True)
        assert [type(e) async for e in emitted] == [CandidateResult, GroupSummary]


async def test_slow_scoring_of_one_future_delays_no_other(clock: LoopClock) -> None:
    gates = Gates()

    async def score(item, ledger) -> float:
        await gates[item.id].wait()
        return float(item.goal)

    simulator = DrivenSimulator()
    rewards = make_rewards(simulator, StubMetric("worth", score))
    async with aclosing(rewards.compute(query(candidates=("one", "two")))) as emitted:
        simulator.put(worth(0.1, 0, 0), worth(0.1, 0, 1), worth(0.2, 1, 0), worth(0.2, 1, 1))
        gates.open(FutureId(1, 1))
        assert await anext(emitted) == FutureFinished(FutureId(1, 1), ok=True)
        gates.open(FutureId(1, 0))
        assert await anext(emitted) == FutureFinished(FutureId(1, 0), ok=True)
        candidate = await anext(emitted)
        assert isinstance(candidate, CandidateResult)
        assert candidate.index == 1


async def test_futures_are_asked_for_sample_by_sample() -> None:
    # So that, when time is short, every candidate gets its first sample before any gets its last.
    simulator = DrivenSimulator()
    simulator.put(*(worth(0.5, c, s) for c in range(2) for s in range(2)))
    rewards = make_rewards(simulator)
    asked = query(candidates=("one", "two"), seed=9, horizon_messages=6, max_message_tokens=50)
    assert [e async for e in rewards.compute(asked)]
    (request,) = simulator.requests
    assert request.futures == tuple(FutureId(c, s) for s in range(2) for c in range(2))
    assert (request.seed, request.horizon_messages, request.max_message_tokens) == (9, 6, 50)
    assert (request.task, request.prefix) == (asked.task, asked.prefix)


async def test_futures_are_told_by_sample_index_with_their_costs() -> None:
    def judged(item, ledger: Ledger) -> float:
        ledger.record("judge", ModelUsage(1, 100, 5))
        return float(item.goal)

    emitted = await events(
        worth(0.5, sample=1),
        failed(sample=0),
        worth(0.5, sample=2),
        metrics=(StubMetric("worth", judged),),
        samples_max=3,
    )
    candidate, summary = emitted[-2:]
    assert isinstance(candidate, CandidateResult)
    assert isinstance(summary, GroupSummary)
    assert [f.scored.id.sample for f in candidate.futures] == [0, 1, 2]
    # Two futures of two messages and one call each, one of one message that failed, two verdicts.
    for usage in (candidate.usage, summary.usage):
        assert usage.messages == 5
        assert dict(usage.models) == {
            "user": ModelUsage(3, 20, 6),
            "judge": ModelUsage(2, 200, 10),
        }
    assert candidate.futures[1].scored.usage.models["judge"] == ModelUsage(1, 100, 5)
    assert candidate.futures[1].scored.usage.seconds == pytest.approx(1.5, abs=0.5)


async def test_progress_tells_which_futures_failed() -> None:
    emitted = await events(worth(0.5, sample=0), failed(sample=1), samples_min=1)
    assert {e for e in emitted if isinstance(e, FutureFinished)} == {
        FutureFinished(FutureId(0, 0), ok=True),
        FutureFinished(FutureId(0, 1), ok=False),
    }


async def test_each_candidates_latency_is_observed_by_status(clock: LoopClock) -> None:
    simulator, telemetry = DrivenSimulator(), RecordingTelemetry()
    rewards = make_rewards(simulator, telemetry=telemetry)

    async def drive() -> None:
        await asyncio.sleep(3)
        simulator.put(worth(0.5, 0, 0), worth(0.5, 0, 1), failed(1, 0), failed(1, 1))
        await asyncio.sleep(4)
        simulator.put(worth(0.5, 2, 0), failed(2, 1))

    driving = asyncio.create_task(drive())
    assert [e async for e in rewards.compute(query(candidates=("a", "b", "c")))]
    await driving
    assert {status: round(seconds, 3) for status, seconds in telemetry.rewards} == {
        "complete": 3,
        "TOO_FEW_FUTURES": 3,
        "partial": 7,
    }
