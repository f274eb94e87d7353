"""Baselines that fail, come late, cost too much, or are asked for in a wrong way."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from foresight_services.core.baseline import Drawn
from foresight_services.core.baseline_futures import baseline_metrics
from foresight_services.core.budget import Budget
from foresight_services.core.errors import Failure, InvalidInput, Reason, Upstream
from foresight_services.core.future import MetricInfo
from foresight_services.core.objective import MetricSpec, Objective, Range
from foresight_services.core.policies import PolicyRegistry
from foresight_services.core.policy_store import MemoryPolicyStore
from foresight_services.core.ports import ChatRequest
from foresight_services.core.published import PolicySource, SourceKind
from foresight_services.core.request import resolve
from foresight_services.core.result import CandidateResult, FutureFinished, GroupSummary
from foresight_services.core.task import PolicyRef
from tests.fakes.chat import Gates
from tests.fakes.kept import Service, told
from tests.fakes.lifted import (
    ask,
    baseline,
    is_draw,
    lifted,
    lifts,
    of_seed,
)
from tests.fakes.noisy import CANDIDATES, adaptive, by_index
from tests.fakes.reward import DrivenSimulator, failed, make_rewards, query, worth
from tests.fakes.virtual_time import LoopClock, settle


async def test_what_cannot_be_drawn_takes_the_lift_and_not_the_reward() -> None:
    failing = True

    def say(request: ChatRequest) -> str:
        if failing and is_draw(request):
            raise Upstream(Reason.MODEL_FAILED, "the policy is down", metadata={"role": "policy"})
        return of_seed(request)

    service = lifted(policy=say)
    answer = await ask(service, request_id="r")
    assert [result.status for result in by_index(answer)] == ["complete"] * 3
    assert lifts(answer) == [None] * 3
    rows = baseline(answer)
    assert [row.status for row in rows] == [Reason.MODEL_FAILED] * 4
    assert [row.response for row in rows] == [""] * 4
    assert not any(row.futures for row in rows)
    # Such an answer is kept under no name, so that asking again mends it.
    failing = False
    again = await ask(service, request_id="r")
    assert None not in lifts(again)
    assert len(service.policy.requests) == 6 * 3 + 4 + 6 * 4 + 4


@pytest.mark.parametrize("lost", [1, 3])
async def test_the_responses_that_there_are_count(lost: int) -> None:
    seen: list[int] = []

    def say(request: ChatRequest) -> str:
        if is_draw(request):
            seen.append(request.seed)
            return "  \n" if len(seen) <= lost else of_seed(request)
        return "a"

    answer = await ask(lifted(policy=say))
    rows = baseline(answer)
    assert [row.status == "complete" for row in rows].count(True) == 4 - lost
    empty = [row.outcome for row in rows if isinstance(row.outcome, Failure)]
    assert {failure.reason for failure in empty} == {Reason.MODEL_FAILED}
    assert "empty" in empty[0].message
    for found in lifts(answer):
        assert found is not None and found.responses == 4 - lost
        assert (found.stderr is None) == (lost == 3) == (found.interval is None)


async def test_a_candidate_comes_when_the_baseline_is_in(clock: LoopClock) -> None:
    gates = Gates()

    def say(request: ChatRequest) -> Any:
        return gates.say(of_seed(request), after="draw" if is_draw(request) else "turn")

    service = lifted(policy=say)
    gates.open("turn")
    events: list[Any] = []

    async def listen() -> None:
        asked = adaptive(baseline=2, samples_max=4)
        async for event in service.rewards.compute(asked):
            events.append(event)

    listening = asyncio.create_task(listen())
    await settle()
    # The candidates do not wait for the draws, only their results do.
    assert sum(isinstance(event, FutureFinished) for event in events) == 3 * 4
    assert len(events) == 3 * 4
    gates.open("draw")
    await listening
    kinds = [type(event) for event in events[3 * 4 :]]
    assert kinds == [CandidateResult] * 3 + [GroupSummary]
    assert {event.id.candidate for event in events[: 3 * 4]} == {0, 1, 2}


async def test_at_the_deadline_rewards_leave_without_what_was_not_drawn(
    clock: LoopClock,
) -> None:
    gates = Gates()

    def say(request: ChatRequest) -> Any:
        return gates.say(of_seed(request), after="draw") if is_draw(request) else "a"

    service = lifted(policy=say)
    answer = await ask(service, seconds=5.0)
    assert [result.status for result in by_index(answer)] == ["complete"] * 3
    assert lifts(answer) == [None] * 3
    assert [row.status for row in baseline(answer)] == [Reason.DEADLINE_EXCEEDED] * 4
    await settle()
    assert not service.policy.in_flight
    gates.open("draw")
    assert None not in lifts(await ask(service))


async def test_a_baseline_cut_short_by_the_deadline_is_told_and_not_kept(clock: LoopClock) -> None:
    waits = True

    def say(request: ChatRequest) -> Any:
        slow = waits and request.role == "user" and request.conversation[1].content[0] == "r"
        return asyncio.sleep(1.0 if slow and request.seed % 2 else 0.0, f"u{request.seed}")

    service = lifted(answer=say)
    answer = await ask(service, samples_max=12, seconds=2.5, request_id="r")
    assert [result.status for result in by_index(answer)] == ["complete"] * 3
    rows = baseline(answer)
    assert {row.status for row in rows} <= {"partial", Reason.DEADLINE_EXCEEDED, "complete"}
    waits = False
    again = await ask(service, samples_max=12, request_id="r")
    assert [row.status for row in baseline(again)] == ["complete"] * 4


async def test_a_refused_request_is_refused_with_a_baseline_too() -> None:
    service = lifted()
    with pytest.raises(InvalidInput) as refused:
        await ask(service, task=query().task, candidates=())
    assert [v.field for v in refused.value.violations] == ["candidates"]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"baseline": 0}, "2 to 16"),
        ({"baseline": 1}, "2 to 16"),
        ({"baseline": 17}, "2 to 16"),
        ({"baseline": 3, "candidates": ("a",) * 254}, "room for 2"),
    ],
    ids=str,
)
async def test_what_is_wrong_with_a_baseline_is_named(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        await ask(lifted(), **fields)
    (violation,) = refused.value.violations
    assert violation.field == "simulation.baseline.responses"
    assert problem in violation.description


async def test_draws_and_both_simulations_share_the_budget(clock: LoopClock) -> None:
    simulator = DrivenSimulator("r", "s", "r", "t")
    asked = adaptive(samples_max=2, baseline=4, budget=Budget(max_tokens=5_600))
    asking = asyncio.create_task(told(make_rewards(simulator).compute(asked)))
    await settle()
    own = simulator.requests[0]
    simulator.put(*(worth(0.5, c, k) for k in range(2) for c in range(3)))
    simulator.end()
    await settle()
    theirs = simulator.requests[1]
    assert [f.candidate for f in theirs.futures] == [3, 4, 5] * 2
    assert theirs.candidates == (*CANDIDATES, "r", "s", "t")
    simulator.put(*(worth(0.25, c, k) for k in range(2) for c in (3, 4, 5)))
    simulator.end()
    answer = await asking
    (drawn,) = simulator.sampled
    budgets = [drawn.budget.max_tokens, own.budget.max_tokens, theirs.budget.max_tokens]
    # 4 draws, 3 x 2 x 2 turns, and 4 x 2 x 2 turns of responses that might all differ.
    assert budgets == [5600 * 4 // 32, 5600 * 12 // 32, 5600 * 16 // 32]
    assert (own.follow_up, theirs.follow_up) == (False, True)
    assert [found.value for found in lifts(answer) if found is not None] == [0.25] * 3
    assert answer.summary is not None
    assert answer.summary.usage.models["policy"].calls == 4


async def test_futures_of_a_baseline_that_fail_are_its_own(clock: LoopClock) -> None:
    simulator = DrivenSimulator("r", "s")
    asking = asyncio.create_task(
        told(make_rewards(simulator).compute(adaptive(samples_max=2, baseline=2)))
    )
    await settle()
    simulator.put(*(worth(0.5, c, k) for k in range(2) for c in range(3)))
    simulator.end()
    await settle()
    simulator.put(worth(0.25, 3, 0), failed(4, 0), failed(4, 1))
    simulator.put(Upstream(Reason.SERVICE_UNAVAILABLE, "gone"))
    answer = await asking
    assert [result.status for result in by_index(answer)] == ["complete"] * 3
    assert [row.status for row in baseline(answer)] == ["partial", Reason.TOO_FEW_FUTURES]
    for found in lifts(answer):
        assert found is not None
        assert (found.value, found.stderr, found.responses) == (0.25, None, 1)


async def test_the_version_that_draws_is_the_one_of_the_futures(clock: LoopClock) -> None:
    registry = PolicyRegistry(store=MemoryPolicyStore(), now_ns=lambda: 0)
    source = PolicySource(SourceKind.LORA_ADAPTER_PATH, "/weights/3")
    await registry.publish(PolicyRef("policy", 3), source)
    simulator = DrivenSimulator("r", "s")
    rewards = make_rewards(simulator, policies=registry)
    asking = asyncio.create_task(told(rewards.compute(adaptive(samples_max=1, baseline=2))))
    await settle()
    simulator.put(*(worth(0.5, c, 0) for c in range(3)))
    simulator.end()
    await settle()
    simulator.put(worth(0.25, 3, 0), worth(0.25, 4, 0))
    simulator.end()
    await asking
    (drawn,) = simulator.sampled
    for simulated in simulator.requests:
        assert (simulated.policy, simulated.published) == (drawn.policy, drawn.published)
    assert drawn.policy == PolicyRef("policy", 3) and drawn.published is not None


async def test_a_job_pays_for_its_baseline() -> None:
    service = Service()
    answer = await service.ask(baseline=2, job="run")
    assert answer.summary is not None
    models = answer.summary.usage.models
    assert {role: spent for (_, role), spent in service.telemetry.jobs.items()} == dict(models)
    # Both draws say the same: 2 futures of 2 turns, beside those of the candidate.
    assert models["policy"].calls == 2 + 2 * 2 + 2 * 2


def test_bounds_are_the_responses_own_but_for_what_makes_the_scale() -> None:
    specs = (MetricSpec("plain"), MetricSpec("scaled", normalise=True))
    request = resolve(query(objective=Objective("custom", specs)), {})
    own = tuple(MetricInfo(spec.name, "1", Range(2.0, 3.0)) for spec in specs)
    theirs = tuple(MetricInfo(spec.name, "1", Range(1.0, 3.0)) for spec in specs)
    assert baseline_metrics(request, own, Drawn((), theirs)) == (theirs[0], own[1])
    assert baseline_metrics(request, own, Drawn(())) == own
