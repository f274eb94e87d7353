"""Budgets of whole requests: rewards over models with a price, in one process and in three."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from foresight_services.core.budget import Budget
from foresight_services.core.errors import Failure, Family, Reason
from foresight_services.core.future import EvaluationItem, MetricInfo
from foresight_services.core.objective import Range
from foresight_services.core.ports import (
    ChatReply,
    ChatRequest,
    Evaluator,
    ModelRole,
    Simulator,
)
from foresight_services.core.result import CandidateResult, GroupSummary, Reward
from foresight_services.core.task import Task
from foresight_services.core.usage import Ledger, ModelUsage
from foresight_services.models.budgeted import BudgetedModel
from foresight_services.models.metered import MeteredModel
from foresight_services.models.pricing import Price
from tests.fakes.evaluation import StubCatalog, StubMetric, make_evaluation
from tests.fakes.reward import make_rewards, query
from tests.fakes.servers import remote_evaluator, remote_simulator
from tests.fakes.simulation import OPENING, make_simulation
from tests.fakes.telemetry import RecordingTelemetry
from tests.fakes.virtual_time import LoopClock

READ, WRITTEN = 40, 10
PRICE = Price(input=10.0, output=20.0)
"""Of the two roles that are paid; 0.0006 dollars for a call."""
CALL_DOLLARS = PRICE.dollars(READ, WRITTEN)
FUTURE_TOKENS = 5 * (READ + WRITTEN)
"""Four messages and a verdict."""


@dataclass
class Bill:
    """What a provider would ask for."""

    tokens: int = 0
    dollars: float = 0.0
    calls: dict[ModelRole, int] = field(default_factory=dict)


class Provider:
    """Answers every call at the same cost and adds up what it cost."""

    def __init__(self, bill: Bill, price: Price | None) -> None:
        self._bill = bill
        self._price = price

    async def complete(self, request: ChatRequest) -> ChatReply:
        reply = ChatReply("yes", READ, WRITTEN)
        bill = self._bill
        bill.tokens += READ + WRITTEN
        bill.dollars += 0.0 if self._price is None else self._price.of(reply)
        bill.calls[request.role] = bill.calls.get(request.role, 0) + 1
        await asyncio.sleep(0)
        return reply


@dataclass
class System:
    """Rewards over a simulator and an evaluator with models that cost something."""

    simulator: Simulator
    evaluator: Evaluator
    bill: Bill
    telemetry: RecordingTelemetry

    async def run(self, **fields) -> tuple[list[CandidateResult], GroupSummary]:
        """Return the results of a request for five futures of each of two candidates."""
        asked: dict[str, Any] = {"candidates": ("a", "b"), "samples_min": 1, "samples_max": 5}
        asked |= {"horizon_messages": 4, "max_message_tokens": WRITTEN, **fields}
        rewards = make_rewards(self.simulator, evaluator=self.evaluator, telemetry=self.telemetry)
        events = [event async for event in rewards.compute(query(**asked))]
        results = [event for event in events if isinstance(event, CandidateResult)]
        (summary,) = (event for event in events if isinstance(event, GroupSummary))
        return sorted(results, key=lambda result: result.index), summary


@asynccontextmanager
async def system(where: str) -> AsyncIterator[System]:
    """Connect everything in one process or across sockets."""
    bill, telemetry, clock = Bill(), RecordingTelemetry(), LoopClock()

    def model(price: Price | None) -> MeteredModel:
        paid = BudgetedModel(Provider(bill, price), price=price)
        return MeteredModel(paid, clock=clock, telemetry=telemetry, price=price)

    judge = model(PRICE)

    async def verdict(item: EvaluationItem, ledger: Ledger) -> float:
        await judge.complete(ChatRequest("judge", Task(), OPENING, 0, WRITTEN, ledger))
        return 0.5

    metric = StubMetric("worth", verdict)
    metric.info = MetricInfo("worth", "1", Range(0.0, 1.0), judge_calls=1)
    simulator: Simulator = make_simulation(user=model(PRICE), policy=model(None))
    evaluator: Evaluator = make_evaluation(catalog=StubCatalog(metric), clock=clock)
    async with AsyncExitStack() as stack:
        if where == "apart":
            simulator = await stack.enter_async_context(remote_simulator(simulator))
            evaluator = await stack.enter_async_context(remote_evaluator(evaluator))
        yield System(simulator, evaluator, bill, telemetry)


@pytest.fixture(params=["together", "apart"])
async def live(request: pytest.FixtureRequest) -> AsyncIterator[System]:
    """Serve rewards."""
    async with system(request.param) as made:
        yield made


def tokens_of(summary: GroupSummary) -> int:
    spent = summary.usage.models.values()
    return sum(usage.prompt_tokens + usage.completion_tokens for usage in spent)


async def test_a_budget_that_suffices_changes_nothing(live: System) -> None:
    budget = Budget(max_tokens=100_000, max_dollars=1.0)
    results, summary = await live.run(budget=budget)
    assert [result.n_ok for result in results] == [5, 5]
    assert tokens_of(summary) == live.bill.tokens == 10 * FUTURE_TOKENS
    dollars = sum(usage.dollars for usage in summary.usage.models.values())
    assert dollars == pytest.approx(live.bill.dollars) == pytest.approx(30 * CALL_DOLLARS)


@pytest.mark.parametrize("limit", [2_000, 2_500, 3_000])
async def test_tokens_are_never_passed_and_the_first_futures_finish(
    live: System, limit: int
) -> None:
    results, summary = await live.run(budget=Budget(max_tokens=limit))
    assert 0 < live.bill.tokens <= limit
    assert tokens_of(summary) == live.bill.tokens
    for result in results:
        assert isinstance(result.outcome, Reward)
        assert not result.outcome.complete or result.n_ok == 5
        failures = [f.objective for f in result.futures if isinstance(f.objective, Failure)]
        assert len(failures) == 5 - result.n_ok
        assert {failure.reason for failure in failures} <= {Reason.BUDGET_EXHAUSTED}
    finished = [f.scored.id for r in results for f in r.futures if isinstance(f.objective, float)]
    assert 0 < len(finished) < 10
    # Sample by sample, so that no candidate has two futures more than the other.
    assert abs(results[0].n_ok - results[1].n_ok) <= 1
    assert max(which.sample for which in finished) <= len(finished) // 2


async def test_dollars_are_never_passed(live: System) -> None:
    limit = 20 * CALL_DOLLARS
    results, _ = await live.run(budget=Budget(max_dollars=limit))
    assert 0 < live.bill.dollars <= limit * (1 + 1e-12)
    assert any(result.n_ok < 5 for result in results)


async def test_too_few_futures_are_a_typed_error_of_the_candidate(live: System) -> None:
    results, _ = await live.run(budget=Budget(max_tokens=2_500), samples_min=5)
    for result in results:
        assert isinstance(result.outcome, Failure)
        assert result.outcome.family is Family.LIMIT
        assert result.outcome.reason is Reason.BUDGET_EXHAUSTED
        assert "of 5 futures succeeded, at least 5 are needed" in result.outcome.message
        assert result.outcome.metadata["budget"] == "max_tokens"


async def test_a_budget_too_small_for_any_call_costs_nothing(live: System) -> None:
    results, summary = await live.run(budget=Budget(max_tokens=1))
    assert live.bill == Bill()
    assert dict(summary.usage.models) == {}
    for result in results:
        assert isinstance(result.outcome, Failure)
        assert result.outcome.reason is Reason.BUDGET_EXHAUSTED


async def test_a_training_job_is_told_its_spending(live: System) -> None:
    _, summary = await live.run(job="math-grpo", budget=Budget(max_tokens=2_500))
    jobs = live.telemetry.jobs
    assert {job for job, _ in jobs} == {"math-grpo"}
    for role, usage in summary.usage.models.items():
        told = jobs["math-grpo", role]
        assert (told.calls, told.prompt_tokens) == (usage.calls, usage.prompt_tokens)
        assert told.dollars == pytest.approx(usage.dollars)


async def test_without_a_job_no_spending_is_told(live: System) -> None:
    await live.run()
    assert live.telemetry.jobs == {}
    spent = live.telemetry.spent["judge"]
    assert replace(spent, dollars=0.0) == ModelUsage(10, 10 * READ, 10 * WRITTEN)
    assert spent.dollars == pytest.approx(10 * CALL_DOLLARS)
