"""Lift and paired differences over the wire: one process and three, one call and a stream."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

import pytest

import foresight
from foresight.v1 import reward_service_pb2 as pb
from foresight.v1 import reward_service_pb2_grpc as pb_grpc
from tests.fakes.requests import game, simulation
from tests.fakes.servers import refused
from tests.rpc.topologies import both, rewards, served

CANDIDATES = ["Is it alive?", "Is it made mostly of metal?", "Is it a bell?"]


def request(responses: int = 4, **fields: Any) -> pb.ComputeRewardsRequest:
    asked = game(candidates=CANDIDATES, simulation=simulation(most=8, policy="asker"), **fields)
    asked.simulation.baseline.responses = responses
    return asked


def sent(**fields: Any) -> dict[str, Any]:
    return {
        "task": {"preset": "twenty_questions"},
        "prefix": [{"role": m.role, "content": m.content} for m in request().prefix],
        "candidates": CANDIDATES,
        "simulation": {
            "samples": {"max": 8},
            "policy": {"name": "asker"},
            "baseline": {"responses": 4},
        },
        "include_futures": True,
        **fields,
    }


def timeless(response: pb.ComputeRewardsResponse) -> pb.ComputeRewardsResponse:
    response.usage.ClearField("wall_time")
    response.request_id = ""
    for result in (*response.results, *response.baseline):
        result.usage.ClearField("wall_time")
        result.reward.ClearField("reward_id")
        for future in result.futures:
            future.usage.ClearField("wall_time")
    return response


async def test_the_same_lift_in_one_process_and_in_three() -> None:
    answers = []
    for topology in ("one process", "three services"):
        async with rewards(topology) as channel:
            stub = pb_grpc.RewardServiceStub(channel)
            asked = request(cache="bypass", include_futures=True)
            answers.append(timeless(await stub.ComputeRewards(asked)))
    one, three = answers
    assert one == three
    assert [row.candidate_index for row in one.baseline] == [0, 1, 2, 3]
    assert all(row.response and len(row.futures) == 8 for row in one.baseline)
    mean = sum(row.reward.value for row in one.baseline) / 4
    for result in one.results:
        lift = result.reward.lift
        assert lift.responses == 4 and lift.baseline == pytest.approx(mean)
        assert lift.value == pytest.approx(result.reward.value - mean)
        assert lift.interval.method == "student_t"
        assert result.HasField("behind_best") is (result.candidate_index != one.best)
    # A row that says what an earlier one said has its futures, and pays for none.
    said = [row.response for row in one.baseline]
    paid = [sum(future.usage.messages for future in row.futures) for row in one.baseline]
    assert [bool(messages) for messages in paid] == [
        text not in said[:index] for index, text in enumerate(said)
    ]


@both
async def test_all_clients_are_told_the_same(topology: str) -> None:
    asked = sent()
    async with served(topology) as address, foresight.AsyncClient(address) as client:
        called = await client.compute_rewards(**asked)
        async with aclosing(client.stream_rewards([asked], progress=True)) as stream:
            events = [event async for event in stream]
        again = await client.compute_rewards(**sent(include_futures=False))
        stored = await client.get_reward(called[0].reward_id)
        rescored = await client.rescore_reward(called[0].reward_id)
    (group,) = (event for event in events if isinstance(event, foresight.GroupEvent))
    assert group.rewards is not None
    for other in (group.rewards, again):
        assert [one.lift for one in other] == [one.lift for one in called]
        assert [one.behind_best for one in other] == [one.behind_best for one in called]
        assert other.best == called.best
        assert [(one.response, one.value) for one in other.baseline] == [
            (one.response, one.value) for one in called.baseline
        ]
    assert not again.usage.models and not group.rewards.usage.models
    # Of a baseline there is no progress.
    told = [event for event in events if isinstance(event, foresight.FutureEvent)]
    assert len(told) == 3 * 8
    assert called[0].lift is not None and called[0].lift.responses == 4
    assert stored.reward.lift == called[0].lift
    assert stored.reward.behind_best == called[0].behind_best
    assert stored.request.simulation.baseline.responses == 4
    assert (rescored[0].value, rescored[0].lift, rescored.baseline) == (called[0].value, None, ())


@both
async def test_any_two_candidates_can_be_compared(topology: str) -> None:
    async with served(topology) as address, foresight.AsyncClient(address) as client:
        called = await client.compute_rewards(**sent(include_futures=False))
    assert called.best is not None
    for candidate in called:
        found = called.difference(called.best, candidate.candidate_index)
        assert found is not None and found.n == 8
        lead = candidate.behind_best
        if lead is None:
            assert (found.mean, found.stderr) == (0.0, 0.0)
        else:
            assert (found.mean, found.stderr) == pytest.approx((lead.difference, lead.stderr))
    one, other = called.difference(0, 1), called.difference(1, 0)
    assert one is not None and other is not None
    assert (one.mean, one.stderr) == (-other.mean, other.stderr)


@both
@pytest.mark.parametrize("responses", [0, 1, 17])
async def test_a_wrong_number_of_responses_is_named(topology: str, responses: int) -> None:
    async with rewards(topology) as channel:
        refusal = await refused(
            pb_grpc.RewardServiceStub(channel).ComputeRewards(request(responses))
        )
    assert refusal.code == "INVALID_ARGUMENT"
    assert list(refusal.fields) == ["simulation.baseline.responses"]


@both
async def test_a_budget_holds_for_the_baseline_too(topology: str) -> None:
    async with rewards(topology) as channel:
        stub = pb_grpc.RewardServiceStub(channel)
        free = await stub.ComputeRewards(request(cache="bypass"))
        rich = request(cache="bypass")
        rich.budget.max_tokens = 10_000_000
        paid = await stub.ComputeRewards(rich)
        rich.budget.max_tokens = 1
        broke = await stub.ComputeRewards(rich)
    assert [one.reward.lift for one in paid.results] == [one.reward.lift for one in free.results]
    assert [one.WhichOneof("outcome") for one in broke.baseline] == ["error"] * 4
    assert not any(one.HasField("reward") for one in broke.results)
    spent = sum(m.prompt_tokens + m.completion_tokens for m in broke.usage.models)
    assert spent <= 1
