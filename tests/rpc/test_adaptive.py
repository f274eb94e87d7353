"""Adaptive sampling over the wire: in one process and in three, in one call and on a stream."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

import grpc.aio
import pytest

import foresight
from foresight.v1 import reward_service_pb2 as pb
from foresight.v1 import reward_service_pb2_grpc as pb_grpc
from tests.fakes.requests import game, simulation
from tests.fakes.servers import refused
from tests.rpc.topologies import both, rewards, served

CANDIDATES = ["Is it alive?", "Is it made mostly of metal?", "Is it a bell?"]


def request(**samples: Any) -> pb.ComputeRewardsRequest:
    asked = game(candidates=CANDIDATES, simulation=simulation(most=24))
    for name, value in samples.items():
        setattr(asked.simulation.samples, name, value)
    return asked


def sent(**samples: Any) -> dict[str, Any]:
    asked = request()
    return {
        "task": {"preset": "twenty_questions"},
        "prefix": [{"role": m.role, "content": m.content} for m in asked.prefix],
        "candidates": CANDIDATES,
        "simulation": {"samples": {"max": 24, **samples}},
        "include_futures": True,
    }


async def test_the_same_course_in_one_process_and_in_three() -> None:
    answers = []
    for topology in ("one process", "three services"):
        async with rewards(topology) as channel:
            stub = pb_grpc.RewardServiceStub(channel)
            answers.append(await stub.ComputeRewards(request(decide="best", confidence=0.9)))
    one, three = answers
    assert one.decision == three.decision
    assert one.decision.aim == "best" and one.decision.confidence > 0.0
    for here, there in zip(one.results, three.results, strict=True):
        assert here.n_requested == there.n_requested
        assert here.behind_best == there.behind_best
        assert here.HasField("behind_best") is (here.candidate_index != one.decision.best)
        assert here.reward.value == there.reward.value
        assert [f.sample_index for f in here.futures] == list(range(here.n_requested))


@both
async def test_a_budget_is_the_request_s_and_enough_of_it_changes_nothing(topology: str) -> None:
    async with rewards(topology) as channel:
        stub = pb_grpc.RewardServiceStub(channel)
        free = await stub.ComputeRewards(request(target_stderr=0.1))
        limited = request(target_stderr=0.1)
        limited.cache = "bypass"
        limited.budget.max_tokens = 10_000_000
        paid = await stub.ComputeRewards(limited)
        limited.budget.max_tokens = 1
        broke = await stub.ComputeRewards(limited)
    values = [[one.reward.value for one in answer.results] for answer in (free, paid)]
    assert values[0] == values[1]
    assert [one.n_requested for one in free.results] == [one.n_requested for one in paid.results]
    assert any(one.n_requested > 3 for one in free.results)
    assert len(broke.results) == 3


@both
async def test_all_clients_are_told_the_same(topology: str) -> None:
    asked = sent(decide="ranking", total=40)
    async with served(topology) as address, foresight.AsyncClient(address) as client:
        called = await client.compute_rewards(**asked)
        async with aclosing(client.stream_rewards([asked], progress=True)) as stream:
            events = [event async for event in stream]
    (group,) = (event for event in events if isinstance(event, foresight.GroupEvent))
    assert group.rewards is not None
    assert group.rewards.decision == called.decision
    assert called.decision is not None and called.decision.aim == "ranking"
    assert [one.behind_best for one in group.rewards] == [one.behind_best for one in called]
    told = [event for event in events if isinstance(event, foresight.FutureEvent)]
    assert len(told) == sum(one.n_requested for one in called) <= 40
    for one in called:
        assert (one.behind_best is None) is (one.candidate_index == called.decision.best)


@both
async def test_a_stored_reward_tells_how_it_was_sampled(topology: str) -> None:
    async with served(topology) as address, foresight.AsyncClient(address) as client:
        called = await client.compute_rewards(**sent(decide="best"))
        stored = await client.get_reward(called[1].reward_id)
        again = await client.rescore_reward(called[1].reward_id)
    samples = stored.request.simulation.samples
    assert (samples.decide, samples.confidence, samples.window, samples.min) == ("best", 0.95, 3, 2)
    assert stored.reward.behind_best == called[1].behind_best
    assert stored.reward.n_requested == called[1].n_requested
    assert again[0].value == called[1].value
    assert again[0].n_requested == called[1].n_requested


@both
@pytest.mark.parametrize(
    ("samples", "field"),
    [
        ({"target_stderr": -1.0}, "target_stderr"),
        ({"target_stderr": 0.1, "decide": "best"}, "target_stderr"),
        ({"decide": "worst"}, "decide"),
        ({"decide": "best", "confidence": 1.5}, "confidence"),
        ({"tolerance": 0.5}, "tolerance"),
        ({"decide": "best", "total": 3}, "total"),
        ({"window": 3}, "window"),
    ],
)
async def test_a_wrong_field_is_named(topology: str, samples: dict[str, Any], field: str) -> None:
    async with rewards(topology) as channel:
        refusal = await refused(
            pb_grpc.RewardServiceStub(channel).ComputeRewards(request(**samples))
        )
    assert refusal.code == grpc.StatusCode.INVALID_ARGUMENT.name
    assert list(refusal.fields) == [f"simulation.samples.{field}"]
