"""How calls end early: cancelled by the caller, or by a failing model or service."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from foresight.v1 import conversation_pb2
from foresight.v1 import reward_service_pb2 as pb
from foresight.v1 import reward_service_pb2_grpc as pb_grpc
from foresight.v1 import simulator_service_pb2 as simulator_pb
from foresight.v1 import simulator_service_pb2_grpc as simulator_grpc
from foresight_services.core.errors import Reason, Upstream
from foresight_services.core.ports import ChatRequest
from tests.fakes.held import Held
from tests.fakes.requests import game, message, simulation
from tests.fakes.servers import (
    channel_to,
    foresight,
    loopback,
    refusal_in,
    refused,
    rest_of,
    three_services,
)
from tests.fakes.waiting import eventually
from tests.rpc.topologies import both, rewards, served


@both
async def test_a_cancelled_call_stops_its_model_calls(topology: str, held: Held) -> None:
    held.at = lambda request: "never"
    async with rewards(topology) as channel:
        call = pb_grpc.RewardServiceStub(channel).ComputeRewards(game())
        await eventually(lambda: held.waiting == 8)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await eventually(lambda: held.waiting == 0)


@both
async def test_a_cancelled_stream_stops_the_model_calls_of_all_its_groups(
    topology: str, held: Held
) -> None:
    held.at = lambda request: "never"
    async with rewards(topology) as channel:
        call: Any = pb_grpc.RewardServiceStub(channel).StreamRewards()
        # Of one seed they would be one work.
        for seed, name in enumerate(("one", "two")):
            group = game(request_id=name, simulation=simulation(most=3, seed=seed))
            await call.write(pb.StreamRewardsRequest(group=group))
        await eventually(lambda: held.waiting == 6)
        call.cancel()
        await eventually(lambda: held.waiting == 0)


@both
async def test_a_caller_that_disappears_stops_its_model_calls(topology: str, held: Held) -> None:
    held.at = lambda request: "never"
    async with served(topology) as address:
        async with channel_to(address) as channel:
            call = pb_grpc.RewardServiceStub(channel).ComputeRewards(game())
            await eventually(lambda: held.waiting == 8)
        await eventually(lambda: held.waiting == 0)
        with pytest.raises(asyncio.CancelledError):
            await call


async def test_a_cancelled_simulation_stops_its_model_calls(held: Held) -> None:
    held.at = lambda request: "never"
    request = simulator_pb.SimulateFuturesRequest(
        task=conversation_pb2.Task(world="twenty_questions"),
        prefix=[message("user", "hello")],
        candidates=["Is it alive?"],
        futures=[simulator_pb.FutureSpec(sample_index=sample) for sample in range(4)],
        horizon_messages=2,
        max_message_tokens=100,
    )
    async with foresight(loopback(), "simulator") as live:
        call: Any = simulator_grpc.SimulatorServiceStub(live.channel).SimulateFutures(request)
        await eventually(lambda: held.waiting == 4)
        call.cancel()
        await eventually(lambda: held.waiting == 0)


@both
async def test_a_failing_model_costs_the_futures_it_plays_in(topology: str, held: Held) -> None:
    def fail(request: ChatRequest) -> None:
        if request.role == "user" and request.conversation[1].content == "bad":
            raise Upstream(Reason.MODEL_FAILED, "overloaded", metadata={"role": "user"})

    held.at = fail
    async with rewards(topology) as channel:
        response = await pb_grpc.RewardServiceStub(channel).ComputeRewards(
            game(candidates=["good", "bad"])
        )
    good, bad = response.results
    assert good.reward.status == pb.REWARD_STATUS_COMPLETE
    refusal = refusal_in(bad.error)
    assert (refusal.code, refusal.reason) == ("UNAVAILABLE", "TOO_FEW_FUTURES")
    assert refusal.metadata.pop("reward_id")
    assert refusal.metadata == {"n_ok": "0", "min_samples": "4", "first_error": "MODEL_FAILED"}
    first = refusal_in(bad.futures[0].error)
    assert (first.reason, first.metadata) == ("MODEL_FAILED", {"role": "user"})
    # The failed calls are in the bill.
    assert {m.role: m.calls for m in bad.usage.models} == {"user": 8}


@both
async def test_a_defect_is_internal_and_keeps_its_text_to_the_log(
    topology: str, held: Held, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(request: ChatRequest) -> None:
        raise RuntimeError("a secret of the backend")

    held.at = fail
    async with rewards(topology) as channel:
        response = await pb_grpc.RewardServiceStub(channel).ComputeRewards(game())
    (result,) = response.results
    assert refusal_in(result.error).metadata["first_error"] == "INTERNAL"
    assert refusal_in(result.futures[0].error).code == "INTERNAL"
    assert b"a secret" not in response.SerializeToString()
    assert "a secret of the backend" in caplog.text


@both
async def test_a_failing_judge_is_no_score_of_zero(topology: str, held: Held) -> None:
    def fail(request: ChatRequest) -> None:
        if request.role == "judge":
            raise Upstream(Reason.MODEL_FAILED, "overloaded")

    held.at = fail
    async with rewards(topology) as channel:
        response = await pb_grpc.RewardServiceStub(channel).ComputeRewards(game())
    (result,) = response.results
    assert result.WhichOneof("outcome") == "error"
    success, messages, tokens = result.metrics
    assert (success.HasField("mean"), success.n_ok, success.n_failed) == (False, 0, 8)
    assert (messages.n_ok, tokens.n_ok) == (8, 8)
    # What could be scored is told.
    assert [s.WhichOneof("outcome") for s in result.futures[0].scores] == [
        "error",
        "value",
        "value",
    ]


async def test_a_simulator_that_stops_leaves_what_has_finished(held: Held) -> None:
    held.at = lambda request: "never" if request.conversation[1].content == "slow" else None
    async with three_services(loopback()) as three, channel_to(three.reward.address) as channel:
        call: Any = pb_grpc.RewardServiceStub(channel).StreamRewards()
        group = game(candidates=["fast", "slow"], simulation=simulation(most=2))
        await call.write(pb.StreamRewardsRequest(group=group, progress=True))
        await call.done_writing()
        told = [(await call.read()).WhichOneof("event") for _ in range(3)]
        assert told == ["future", "future", "candidate"]
        await eventually(lambda: held.waiting == 2)
        await three.simulator.server.stop()
        answers = await rest_of(call)
    (slow,) = [a.candidate for a in answers if a.WhichOneof("event") == "candidate"]
    refusal = refusal_in(slow.error)
    assert (refusal.code, refusal.reason) == ("UNAVAILABLE", "TOO_FEW_FUTURES")
    assert refusal.metadata["first_error"] == "SERVICE_UNAVAILABLE"
    first = refusal_in(slow.futures[0].error)
    assert first.metadata == {"service": "simulator"}
    assert answers[-1].done.WhichOneof("outcome") == "summary"


async def test_an_evaluator_that_stops_costs_the_futures_it_had_not_scored(held: Held) -> None:
    def judge_the_fast(request: ChatRequest) -> str | None:
        slow = request.conversation[1].content == "slow"
        return "never" if request.role == "judge" and slow else None

    held.at = judge_the_fast
    async with three_services(loopback()) as three, channel_to(three.reward.address) as channel:
        call: Any = pb_grpc.RewardServiceStub(channel).StreamRewards()
        group = game(candidates=["fast", "slow"], simulation=simulation(most=2))
        await call.write(pb.StreamRewardsRequest(group=group))
        await call.done_writing()
        assert (await call.read()).candidate.n_ok == 2
        await eventually(lambda: held.waiting == 2)
        await three.evaluator.server.stop()
        answers = await rest_of(call)
    slow = answers[0].candidate
    assert refusal_in(slow.error).metadata["first_error"] == "SERVICE_UNAVAILABLE"
    assert refusal_in(slow.futures[0].error).metadata == {"service": "evaluator"}
    # What its simulation cost is not forgotten.
    assert slow.usage.messages > 0


@pytest.mark.parametrize("gone", ["evaluator", "simulator"])
async def test_without_a_peer_nothing_is_scored_and_it_is_named(gone: str, held: Held) -> None:
    asked: list[ChatRequest] = []
    held.at = asked.append
    async with three_services(loopback()) as three, channel_to(three.reward.address) as channel:
        await getattr(three, gone).server.stop()
        call = pb_grpc.RewardServiceStub(channel).ComputeRewards(game())
        if gone == "evaluator":
            refusal = await refused(call)
            assert (refusal.code, refusal.reason) == ("UNAVAILABLE", "SERVICE_UNAVAILABLE")
        else:
            (result,) = (await call).results
            refusal = refusal_in(result.futures[0].error)
            assert refusal_in(result.error).metadata["first_error"] == "SERVICE_UNAVAILABLE"
    assert refusal.metadata == {"service": gone}
    assert asked == []
