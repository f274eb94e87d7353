"""Stored rewards: what both clients ask for and how they read the answers."""

import pickle

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.json_format import ParseDict
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

import foresight
from foresight import Message, Usage, ValueRange
from foresight.errors import InternalError, InvalidRequestError
from foresight.v1 import reward_service_pb2 as pb

ID = f"{'ab' * 16}-1"

STORED = {
    "request": {
        "candidates": ["Sure.", "x = 2."],
        "simulation": {"seed": 5},
        "job": "run",
    },
    "result": {
        "candidate_index": 1,
        "reward": {"value": 0.5, "status": "REWARD_STATUS_COMPLETE", "reward_id": ID},
        "n_ok": 1,
        "n_requested": 1,
        "futures": [
            {
                "objective": 0.5,
                "goal": "x",
                "messages": [{"role": "user", "content": "thanks"}],
                "origin": "ORIGIN_FOUND",
                "cost": {"messages": 4},
            },
            {"sample_index": 1, "objective": 0.5},
        ],
    },
    "profile": "release",
    "profile_version": "2",
    "metrics": [{"name": "success", "version": "3"}],
    "objective_range": {"min": 0, "max": 1},
}


def stored(message=STORED):
    return lambda request, context: ParseDict(message, pb.GetRewardResponse())


async def test_a_stored_reward_is_one_frozen_object(connect, target, service):
    service.stored = stored()
    found = await connect(target, token="secret").get_reward(ID)
    assert [request.reward_id for request in service.requests] == [ID]
    assert service.metadata[0]["authorization"] == "Bearer secret"
    assert (found.reward_id, found.candidate, found.reward.value) == (ID, "x = 2.", 0.5)
    assert (found.request.simulation.seed, found.request.job) == (5, "run")
    assert (found.profile, found.profile_version) == ("release", "2")
    assert [(metric.name, metric.version) for metric in found.metrics] == [("success", "3")]
    assert found.objective_range == ValueRange(0.0, 1.0)
    cached, computed = found.reward.futures
    assert (cached.goal, cached.messages) == ("x", (Message("user", "thanks"),))
    assert (cached.origin, cached.cost) == ("found", Usage(4, {}, 0.0))
    assert (computed.origin, computed.cost) == (None, None)
    with pytest.raises(AttributeError):
        found.reward_id = "other"
    assert pickle.loads(pickle.dumps(found)) == found


async def test_a_result_of_a_candidate_that_is_not_there_is_an_internal_error(
    connect, target, service
):
    service.stored = stored({"result": {"candidate_index": 0}})
    with pytest.raises(InternalError):
        await connect(target).get_reward(ID)


@pytest.mark.parametrize("call", ["get_reward", "rescore_reward"])
async def test_what_is_not_stored_is_an_error_of_its_own(connect, target, service, call):
    status = Status(code=grpc.StatusCode.NOT_FOUND.value[0], message="no such reward")
    status.details.add().Pack(
        ErrorInfo(reason="UNKNOWN_REWARD", domain="foresight.v1", metadata={"reward_id": "x"})
    )

    def refuse(request, context):
        context.abort_with_status(rpc_status.to_status(status))

    service.stored = service.rescored = refuse
    with pytest.raises(foresight.UnknownRewardError, match="no such reward") as refused:
        await getattr(connect(target), call)("x")
    assert refused.value.metadata == {"reward_id": "x"}


async def test_another_objective_is_asked_for_and_answered(connect, target, service):
    def rescored(request, context):
        rewards = pb.ComputeRewardsResponse(results=[service.candidate(0, 0.75)], profile="release")
        return pb.RescoreRewardResponse(rewards=rewards)

    service.rescored = rescored
    metrics = [{"name": "success", "weight": 2}]
    rewards = await connect(target).rescore_reward(
        ID, objective={"metrics": metrics}, include_futures=True, cache="refresh"
    )
    (request,) = service.requests
    assert (request.reward_id, request.include_futures, request.cache) == (ID, True, "refresh")
    assert [(spec.name, spec.weight) for spec in request.objective.metrics] == [("success", 2.0)]
    assert rewards.values == [0.75]


async def test_the_stored_objective_is_asked_for_by_saying_nothing(connect, target, service):
    def rescored(request, context):
        assert not request.HasField("objective")
        rewards = pb.ComputeRewardsResponse(results=[service.candidate(0)], profile="release")
        return pb.RescoreRewardResponse(rewards=rewards)

    service.rescored = rescored
    assert (await connect(target).rescore_reward(ID)).values == [0.5]


async def test_an_objective_that_is_wrong_is_not_sent(connect, target, service):
    with pytest.raises(InvalidRequestError) as refused:
        await connect(target).rescore_reward(ID, objective={"metrics": [{"nam": "success"}]})
    assert [violation.field for violation in refused.value.violations] == [
        "objective.metrics[0].nam"
    ]
    assert service.requests == []


async def test_a_failed_candidate_has_the_id_of_its_record(connect, target, service):
    info = AnyMessage()
    info.Pack(
        ErrorInfo(reason="TOO_FEW_FUTURES", domain="foresight.v1", metadata={"reward_id": ID})
    )
    error = Status(code=14, message="none", details=[info])

    def compute(request, context):
        return pb.ComputeRewardsResponse(results=[pb.CandidateResult(error=error)])

    service.compute = compute
    rewards = await connect(target).send({"candidates": ["Sure."]})
    assert (rewards[0].value, rewards[0].reward_id) == (None, ID)
