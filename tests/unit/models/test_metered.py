"""Measuring model calls: time, outcome, cost."""

from __future__ import annotations

import asyncio

import pytest

from foresight_services.core.conversation import Message
from foresight_services.core.errors import Reason, Upstream
from foresight_services.core.ports import ChatReply, ChatRequest, ModelRole
from foresight_services.core.task import Task
from foresight_services.core.usage import Ledger, ModelUsage
from foresight_services.models.metered import MeteredModel
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
