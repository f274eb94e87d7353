"""GetReward, RescoreReward and request ids on the wire."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest

from foresight.v1 import conversation_pb2, metric_pb2
from foresight.v1 import reward_service_pb2 as pb
from foresight.v1 import reward_service_pb2_grpc as pb_grpc
from foresight_services.reward.servicer import RewardServicer
from foresight_services.rpc.server import Registration
from tests.fakes.kept import Service
from tests.fakes.requests import message, simulation
from tests.fakes.reward import DrivenSimulator, make_rewards
from tests.fakes.servers import refusal_in, refused, rest_of, serving
from tests.fakes.virtual_time import LoopClock


@asynccontextmanager
async def stub_of(rewards: Any) -> AsyncIterator[Any]:
    add = pb_grpc.add_RewardServiceServicer_to_server
    servicer = RewardServicer(rewards, LoopClock())
    async with serving(Registration("foresight.v1.RewardService", partial(add, servicer))) as to:
        yield pb_grpc.RewardServiceStub(to)


def objective(name: str = "worth", weight: float = 1.0) -> pb.Objective:
    return pb.Objective(metrics=[metric_pb2.MetricSpec(name=name, weight=weight)])


def request(**fields: Any) -> pb.ComputeRewardsRequest:
    given = {
        "task": conversation_pb2.Task(goal="the goal"),
        "prefix": [message("user", "Can you help me?")],
        "candidates": ["Sure.", "No."],
        "objective": objective(),
        "simulation": simulation(most=2, seed=5),
        **fields,
    }
    return pb.ComputeRewardsRequest(**given)


async def test_a_reward_is_returned_with_all_that_it_rests_on() -> None:
    service = Service()
    async with stub_of(service.rewards) as stub:
        quiet = await stub.ComputeRewards(request())
        reward_id = quiet.results[1].reward.reward_id
        stored = await stub.GetReward(pb.GetRewardRequest(reward_id=reward_id))
    assert not quiet.results[1].futures[0].messages
    assert stored.result.candidate_index == 1
    assert stored.result.reward == quiet.results[1].reward
    future = stored.result.futures[0]
    assert (future.goal, [said.content for said in future.messages]) == (
        "the goal",
        ["u", "a", "u", "a"],
    )
    assert (future.policy.name, future.policy.version) == ("policy", 7)
    assert future.scores[0].verdicts[0].raw == "raw reply"
    assert {model.role: model.calls for model in future.usage.models} == {
        "judge": 1,
        "policy": 2,
        "user": 2,
    }
    assert list(stored.request.candidates) == ["Sure.", "No."]
    assert stored.request.simulation.seed == 5
    assert stored.request.simulation.horizon_messages == 4
    assert (stored.profile, stored.profile_version) == ("release", "1")
    assert [(info.name, info.version) for info in stored.metrics] == [("worth", "1")]
    assert (stored.objective_range.min, stored.objective_range.max) == (0.0, 1.0)


async def test_what_a_stored_request_is_sent_again_gives_the_same_rewards() -> None:
    async with stub_of(Service().rewards) as stub:
        first = await stub.ComputeRewards(request())
        stored = await stub.GetReward(
            pb.GetRewardRequest(reward_id=first.results[0].reward.reward_id)
        )
        again = await stub.ComputeRewards(stored.request)
    assert [one.reward.value for one in again.results] == [
        one.reward.value for one in first.results
    ]


@pytest.mark.parametrize("call", ["GetReward", "RescoreReward"])
@pytest.mark.parametrize("reward_id", ["", "nonsense", f"{'0' * 32}-0"])
async def test_what_is_not_stored_is_not_found(call: str, reward_id: str) -> None:
    async with stub_of(Service().rewards) as stub:
        message = getattr(pb, f"{call}Request")(reward_id=reward_id)
        refusal = await refused(getattr(stub, call)(message))
    assert (refusal.code, refusal.reason) == ("NOT_FOUND", "UNKNOWN_REWARD")
    assert refusal.metadata == {"reward_id": reward_id}


@pytest.mark.parametrize("call", ["GetReward", "RescoreReward"])
async def test_a_service_that_stores_nothing_says_so(call: str) -> None:
    async with stub_of(make_rewards(DrivenSimulator())) as stub:
        message = getattr(pb, f"{call}Request")(reward_id="x")
        refusal = await refused(getattr(stub, call)(message))
    assert (refusal.code, refusal.reason) == ("UNIMPLEMENTED", "NOT_IMPLEMENTED")


async def test_a_candidate_without_a_reward_names_its_record_in_its_error() -> None:
    def answer(asked: Any) -> str:
        raise RuntimeError("the model is down")

    async with stub_of(Service(answer=answer).rewards) as stub:
        told = await stub.ComputeRewards(request(candidates=["Sure."]))
        reward_id = refusal_in(told.results[0].error).metadata["reward_id"]
        stored = await stub.GetReward(pb.GetRewardRequest(reward_id=reward_id))
    assert stored.result.error == told.results[0].error


async def test_another_objective_simulates_nothing() -> None:
    service = Service(remembers=True, identity="judges")
    async with stub_of(service.rewards) as stub:
        first = await stub.ComputeRewards(request())
        before = service.calls
        anew = await stub.RescoreReward(
            pb.RescoreRewardRequest(
                reward_id=first.results[1].reward.reward_id,
                objective=objective(weight=3.0),
                include_futures=True,
            )
        )
        stored = await stub.GetReward(
            pb.GetRewardRequest(reward_id=anew.rewards.results[0].reward.reward_id)
        )
    assert service.calls == before
    (result,) = anew.rewards.results
    assert (result.candidate_index, result.reward.value) == (0, 1.5)
    assert [said.content for said in result.futures[0].messages] == ["u", "a", "u", "a"]
    assert (anew.rewards.cache.futures.found, anew.rewards.cache.scores.found) == (2, 2)
    assert list(stored.request.candidates) == ["No."]


async def test_a_retry_over_another_call_gets_the_same_answer() -> None:
    service = Service()
    async with stub_of(service.rewards) as stub:
        first = await stub.ComputeRewards(request(request_id="r"))
        before = service.calls
        texts = await stub.ComputeRewards(request(request_id="r", include_futures=True))
        call = stub.StreamRewards()
        await call.write(pb.StreamRewardsRequest(group=request(request_id="r"), name="mine"))
        await call.done_writing()
        events = await rest_of(call)
    assert service.calls == before
    assert [one.reward for one in texts.results] == [one.reward for one in first.results]
    assert texts.results[0].futures[0].goal == "the goal"
    assert {event.request_id for event in events} == {"mine"}
    assert [event.candidate for event in events[:-1]] == list(first.results)


async def test_one_id_may_be_twice_on_a_stream_under_names_of_its_own() -> None:
    service = Service()
    async with stub_of(service.rewards) as stub:
        call = stub.StreamRewards()
        for name in ("a", "b"):
            await call.write(pb.StreamRewardsRequest(group=request(request_id="r"), name=name))
        await call.done_writing()
        events = await rest_of(call)
    assert service.calls == (8, 8, 4)
    ids = {
        name: {e.candidate.reward.reward_id for e in events if e.request_id == name} - {""}
        for name in ("a", "b")
    }
    assert ids["a"] == ids["b"] and len(ids["a"]) == 2


async def test_another_content_under_the_same_id_names_the_field() -> None:
    async with stub_of(Service().rewards) as stub:
        await stub.ComputeRewards(request(request_id="r"))
        refusal = await refused(stub.ComputeRewards(request(request_id="r", candidates=["Oh."])))
    assert (refusal.code, list(refusal.fields)) == ("INVALID_ARGUMENT", ["request_id"])


@pytest.mark.parametrize("name", ["x" * 129, "a"])
async def test_a_name_on_a_stream_is_short_and_its_own(name: str) -> None:
    async with stub_of(make_rewards(DrivenSimulator())) as stub:
        call = stub.StreamRewards()
        for _ in range(2):
            await call.write(pb.StreamRewardsRequest(group=request(), name=name))
        refusal = await refused(call)
    assert (refusal.code, list(refusal.fields)) == ("INVALID_ARGUMENT", ["name"])
