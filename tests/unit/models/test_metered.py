"""Measuring model calls: time, outcome, cost."""

from __future__ import annotations

import asyncio

import pytest

from foresight_services.core.conversation import Message
from foresight_services.core.errors import LimitReached, Reason, Upstream
from foresight_services.core.ports import ChatReply, ChatRequest, ModelRole
from foresight_services.core.task import Task
from foresight_services.core.usage import Ledger, ModelUsage
from foresight_services.models.metered import MeteredModel
from foresight_services.models.pricing import Price
from tests.fakes.telemetry import RecordingTelemetry
from tests.fakes.virtual_time import LoopClock


class Model:
    """Takes two seconds, then answers or fails."""

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error

    async def complete(self, request: ChatRequest) -> ChatReply:
        await asyncio.sleep(2)
        if self._error is not None:
            raise self._error
        return ChatReply("hello", 11, 3)


def ask(role: ModelRole) -> ChatRequest:
    return ChatRequest(role, Task(), (Message("user", "hi"),), 0, 100, Ledger())


@pytest.mark.parametrize(
    ("role", "stage"), [("user", "user_turn"), ("policy", "policy_turn"), ("judge", "judge")]
)
async def test_a_call_is_timed_counted_and_written_down(role, stage, clock: LoopClock) -> None:
    telemetry = RecordingTelemetry()
    request = ask(role)
    model = MeteredModel(Model(), clock=clock, telemetry=telemetry)
    assert await model.complete(request) == ChatReply("hello", 11, 3)
    ((observed, seconds),) = telemetry.stages
    assert observed == stage
    assert seconds == pytest.approx(2)
    assert telemetry.calls == {(role, "ok"): 1}
    usage = request.ledger.usage(messages=0, seconds=0.0)
    assert dict(usage.models) == {role: ModelUsage(1, 11, 3)}


async def test_a_failed_call_costs_a_call_and_passes_its_error_on(clock: LoopClock) -> None:
    telemetry, error = RecordingTelemetry(), Upstream(Reason.MODEL_FAILED, "overloaded")
    request = ask("policy")
    with pytest.raises(Upstream) as failed:
        await MeteredModel(Model(error), clock=clock, telemetry=telemetry).complete(request)
    assert failed.value is error
    ((observed, seconds),) = telemetry.stages
    assert observed == "policy_turn"
    assert seconds == pytest.approx(2)
    assert telemetry.calls == {("policy", "error"): 1}
    usage = request.ledger.usage(messages=0, seconds=0.0)
    assert dict(usage.models) == {"policy": ModelUsage(calls=1)}


async def test_a_cancelled_call_is_timed_and_is_neither_ok_nor_an_error(clock: LoopClock) -> None:
    telemetry = RecordingTelemetry()
    model = MeteredModel(Model(), clock=clock, telemetry=telemetry)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await model.complete(ask("user"))
    ((observed, seconds),) = telemetry.stages
    assert observed == "user_turn"
    assert seconds == pytest.approx(1)
    assert telemetry.calls == {}


class Troubled:
    """Answers after a retry and a hedge, which it writes down as the decorators do."""

    async def complete(self, request: ChatRequest) -> ChatReply:
        request.ledger.record(request.role, ModelUsage(calls=1, retries=1))
        request.ledger.record(request.role, ModelUsage(calls=1, hedges=1))
        request.ledger.record(request.role, ModelUsage(prompt_tokens=10, completion_tokens=1))
        return ChatReply("hello", 1000, 100, cached_tokens=400)


async def test_cached_tokens_dollars_retries_and_hedges_are_written_down_and_told() -> None:
    telemetry, request = RecordingTelemetry(), ask("judge")
    # What was there before is not this call's.
    request.ledger.record("judge", ModelUsage(1, 7, 7))
    price = Price(1_000_000.0, 2_000_000.0, 500_000.0)
    model = MeteredModel(Troubled(), clock=LoopClock(), telemetry=telemetry, price=price)
    await model.complete(request)
    cost = ModelUsage(3, 1010, 101, 400, 1, 1, 610 + 200 + 202)
    assert telemetry.spent == {"judge": cost}
    usage = request.ledger.usage(messages=0, seconds=0.0)
    assert dict(usage.models) == {"judge": ModelUsage(1, 7, 7) + cost}


async def test_a_call_that_the_budget_forbids_is_no_call(clock: LoopClock) -> None:
    telemetry, request = RecordingTelemetry(), ask("user")
    refusal = LimitReached(Reason.BUDGET_EXHAUSTED, "too dear")
    model = MeteredModel(Model(refusal), clock=clock, telemetry=telemetry)
    with pytest.raises(LimitReached):
        await model.complete(request)
    assert dict(request.ledger.usage(messages=0, seconds=0.0).models) == {}
