"""What a server offers: reflection, and the shape of an answer."""

from __future__ import annotations

from typing import Any

import pytest
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from foresight.v1 import reward_service_pb2 as pb
from foresight.v1 import reward_service_pb2_grpc as pb_grpc
from foresight.v1 import simulator_service_pb2 as simulator_pb
from tests.fakes.requests import game, message, metric, simulation
from tests.fakes.servers import channel_to, foresight, loopback, three_services


async def test_reflection_lists_the_services() -> None:
    async with foresight(loopback()) as live:
        channel: Any = live.channel
        stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
        call = stub.ServerReflectionInfo()
        await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
        answer = await call.read()
        await call.done_writing()
        assert {service.name for service in answer.list_services_response.service} == {
            "foresight.v1.RewardService",
            "foresight.v1.SimulatorService",
            "foresight.v1.EvaluatorService",
            "foresight.v1.PolicyService",
            "grpc.health.v1.Health",
            "grpc.reflection.v1alpha.ServerReflection",
        }


async def answer_of(config: Any, request: Any, *, apart: bool) -> pb.ComputeRewardsResponse:
    if apart:
        async with three_services(config) as three, channel_to(three.reward.address) as channel:
            return await pb_grpc.RewardServiceStub(channel).ComputeRewards(request)
    async with foresight(config) as live:
        return await pb_grpc.RewardServiceStub(live.channel).ComputeRewards(request)


def timeless(response: pb.ComputeRewardsResponse) -> pb.ComputeRewardsResponse:
    response.usage.ClearField("wall_time")
    for result in response.results:
        result.usage.ClearField("wall_time")
        # Every computation is kept under an id of its own.
        result.reward.ClearField("reward_id")
        for future in result.futures:
            future.usage.ClearField("wall_time")
    return response


@pytest.mark.parametrize("preset", ["twenty_questions", "groceries"])
async def test_one_process_and_three_services_answer_alike_bit_for_bit(preset: str) -> None:
    request = game(
        request_id="mine",
        prefix=[message("user", "Can you help me?")],
        candidates=["Is it alive?", "I'll place the order now.", "Hm."],
        include_futures=True,
    )
    request.task.preset = preset
    together = timeless(await answer_of(loopback(), request, apart=False))
    assert timeless(await answer_of(loopback(), request, apart=True)) == together
    assert timeless(await answer_of(loopback(), request, apart=False)) == together


async def test_an_answer_has_every_part_of_the_contract() -> None:
    request = game(
        candidates=["Is it alive?", "Is it a dog?"],
        objective=pb.Objective(metrics=[metric("success", 2.0), metric("messages", -0.25)]),
        simulation=simulation(horizon_messages=2, most=3),
        include_futures=True,
        # Futures in which the same was said would have one score between them.
        cache="bypass",
    )
    request.task.goal = "dog"
    response = await answer_of(loopback(), request, apart=False)
    assert len(response.request_id) == 32
    assert (response.profile, response.profile_version) == ("release", "1")
    assert [info.name for info in response.metrics] == ["success", "messages"]
    assert (response.metrics[1].range.min, response.metrics[1].range.max) == (1.0, 3.0)
    assert (response.objective_range.min, response.objective_range.max) == (-0.75, 1.75)
    asked, guessed = response.results
    assert [asked.candidate_index, guessed.candidate_index] == [0, 1]

    # The guess is right: the user ends the chat with the first message.
    assert guessed.reward.value == 2.0 - 0.25 * 2
    assert guessed.reward.status == pb.REWARD_STATUS_COMPLETE
    assert guessed.reward.stderr == 0.0
    assert guessed.reward.interval.low <= 1.5 <= guessed.reward.interval.high
    assert guessed.reward.interval.level == 0.95
    assert (guessed.n_ok, guessed.n_requested) == (3, 3)
    assert [(m.name, m.mean, m.n_ok, m.n_failed) for m in guessed.metrics] == [
        ("success", 1.0, 3, 0),
        ("messages", 2.0, 3, 0),
    ]
    for index, future in enumerate(guessed.futures):
        assert (future.sample_index, future.objective, future.goal) == (index, 1.5, "dog")
        assert future.termination == simulator_pb.TERMINATION_USER_ENDED
        assert [m.role for m in future.messages] == ["user"]
        assert (future.policy.name, future.policy.version) == ("policy", 0)
        assert [(s.name, s.value) for s in future.scores] == [("success", 1.0), ("messages", 2.0)]
        # One call gave the first messages of all three.
        paid = {"judge": 1} if index else {"user": 1, "judge": 1}
        assert {m.role: m.calls for m in future.usage.models} == paid

    assert asked.futures[0].termination == simulator_pb.TERMINATION_HORIZON
    assert [m.role for m in asked.futures[0].messages] == ["user", "assistant"]
    assert {m.role: m.calls for m in response.usage.models} == {
        "user": 2,
        "policy": 3,
        "judge": 6,
    }
    assert response.usage.messages == 9


async def test_texts_and_an_error_of_few_values_stay_out_unless_asked_for() -> None:
    request = game(simulation=simulation(most=1))
    (result,) = (await answer_of(loopback(), request, apart=False)).results
    assert (result.futures[0].goal, list(result.futures[0].messages)) == ("", [])
    assert not result.reward.HasField("stderr")


async def test_a_metric_without_a_weight_counts_once_and_one_of_weight_0_not_at_all() -> None:
    values = []
    for metrics in ([metric("messages")], [metric("messages", 1.0), metric("success", 0.0)]):
        request = game(
            objective=pb.Objective(metrics=metrics),
            simulation=simulation(horizon_messages=2, most=1),
        )
        response = await answer_of(loopback(), request, apart=True)
        values.append(response.results[0].reward.value)
    assert values == [3.0, 3.0]
