"""What the metrics endpoint tells of the work that was done."""

from __future__ import annotations

import asyncio

import pytest

from foresight.v1 import reward_service_pb2_grpc as pb_grpc
from foresight_services.bootstrap import running
from foresight_services.config import ServiceConfig
from foresight_services.core.errors import InvalidInput, Reason, Upstream
from foresight_services.core.ports import ChatRequest
from tests.fakes.held import Held
from tests.fakes.prometheus import scrape
from tests.fakes.requests import game, simulation
from tests.fakes.servers import ANY_PORT, foresight, loopback, refused
from tests.fakes.waiting import eventually


async def test_everything_that_was_done_is_counted_and_timed(held: Held) -> None:
    def fail(request: ChatRequest) -> None:
        if request.role == "user" and request.conversation[1].content == "bad":
            raise Upstream(Reason.MODEL_FAILED, "overloaded")

    held.at = fail
    async with foresight(loopback(metrics=True)) as live:
        stub = pb_grpc.RewardServiceStub(live.channel)
        response = await stub.ComputeRewards(
            game(
                candidates=["good", "better", "bad"],
                simulation=simulation(most=3, horizon_messages=4),
            )
        )
        assert (await refused(stub.ComputeRewards(game(candidates=[])))).code == "INVALID_ARGUMENT"
        told = await scrape(live.service.metrics)

    calls = {model.role: model.calls for model in response.usage.models}
    # Six futures of two turns each, and three whose first call fails.
    assert calls == {"user": 15, "policy": 12, "judge": 6}
    stages = {"queue": 9, "user_turn": 15, "policy_turn": 12, "judge": 6}
    for stage, count in stages.items():
        assert told.value("foresight_stage_seconds_count", stage=stage) == count
        assert told.value("foresight_stage_seconds_sum", stage=stage) > 0
        assert told.value("foresight_stage_seconds_bucket", stage=stage, le="+Inf") == count
    assert told.value("foresight_reward_seconds_count", status="complete") == 2
    assert told.value("foresight_reward_seconds_count", status="TOO_FEW_FUTURES") == 1
    assert told.value("foresight_reward_seconds_count", status="partial") == 0
    assert told.value("foresight_reward_seconds_sum", status="complete") > 0
    assert told.value("foresight_futures_total", status="ok") == 6
    assert told.value("foresight_futures_total", status="MODEL_FAILED") == 3
    assert told.value("foresight_futures_in_flight") == 0
    for role, outcome, count in (
        ("user", "ok", 12),
        ("user", "error", 3),
        ("policy", "ok", 12),
        ("judge", "ok", 6),
    ):
        assert told.value("foresight_model_calls_total", role=role, outcome=outcome) == count
    method = {"service": "foresight.v1.RewardService", "method": "ComputeRewards"}
    for code in ("OK", "INVALID_ARGUMENT"):
        assert told.value("foresight_request_seconds_count", **method, code=code) == 1


async def test_futures_in_flight_are_seen_while_they_run_and_gone_when_cancelled(
    held: Held,
) -> None:
    held.at = lambda request: "never"
    async with foresight(loopback(metrics=True)) as live:
        call = pb_grpc.RewardServiceStub(live.channel).ComputeRewards(
            game(candidates=["one", "two"], simulation=simulation(most=3))
        )
        await eventually(lambda: held.waiting == 6)
        told = await scrape(live.service.metrics)
        assert told.value("foresight_futures_in_flight") == 6
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await eventually(lambda: held.waiting == 0)
        async with asyncio.timeout(60):
            while (told := await scrape(live.service.metrics)).value(
                "foresight_request_seconds_count",
                service="foresight.v1.RewardService",
                method="ComputeRewards",
                code="CANCELLED",
            ) < 1:
                pass
        assert told.value("foresight_futures_in_flight") == 0


async def test_labels_come_from_fixed_sets_whatever_callers_send() -> None:
    async with foresight(loopback(metrics=True)) as live:
        stub = pb_grpc.RewardServiceStub(live.channel)
        for index in range(5):
            request = game(
                candidates=[f"candidate {index}"],
                request_id=f"request {index}",
                simulation=simulation(most=1, horizon_messages=0),
            )
            await stub.ComputeRewards(request)
        told = await scrape(live.service.metrics)
    assert told.labels("foresight_reward_seconds_count") == {frozenset({("status", "complete")})}
    assert len(told.labels("foresight_request_seconds_count")) == 1
    assert told.value("foresight_reward_seconds_count", status="complete") == 5


async def test_each_service_has_an_endpoint_of_its_own_or_none() -> None:
    async with foresight(loopback(metrics=True), "evaluator") as live:
        told = await scrape(live.service.metrics)
        assert len(told.labels("foresight_build_info")) == 1
        assert told.value("process_open_fds") > 0
    async with foresight(loopback(), "evaluator") as live:
        assert live.service.metrics is None


async def test_an_endpoint_that_cannot_listen_is_refused_by_name() -> None:
    async with foresight(loopback(metrics=True), "evaluator") as live:
        taken = ServiceConfig(listen=ANY_PORT, metrics=live.service.metrics)
        with pytest.raises(InvalidInput) as refusal:
            async with running(loopback(evaluator=taken), "evaluator"):
                pass
        assert [v.field for v in refusal.value.violations] == ["metrics"]
        taken = ServiceConfig(listen=live.service.address, metrics=None)
        with pytest.raises(InvalidInput) as refusal:
            async with running(loopback(evaluator=taken), "evaluator"):
                pass
        assert [v.field for v in refusal.value.violations] == ["listen"]
