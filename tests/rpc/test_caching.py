"""Asking again over the wire, in one process and with three services."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import grpc.aio
import pytest

from foresight.v1 import reward_service_pb2 as pb
from foresight.v1 import reward_service_pb2_grpc as pb_grpc
from foresight.v1 import simulator_service_pb2 as simulator_pb
from foresight.v1 import simulator_service_pb2_grpc as simulator_grpc
from foresight.v1.conversation_pb2 import PolicyRef
from tests.fakes.requests import game, metric, simulation
from tests.fakes.servers import channel_to, foresight, loopback, refused, three_services

both = pytest.mark.parametrize("topology", ["one process", "three services"])


@asynccontextmanager
async def rewards(topology: str) -> AsyncIterator[Any]:
    if topology == "one process":
        async with foresight(loopback()) as live:
            yield pb_grpc.RewardServiceStub(live.channel)
    else:
        async with (
            three_services(loopback()) as three,
            channel_to(three.reward.address) as channel,
        ):
            yield pb_grpc.RewardServiceStub(channel)


def request(most: int = 3, **fields: Any) -> pb.ComputeRewardsRequest:
    return game(
        candidates=["Is it alive?", "Is it a dog?"], simulation=simulation(most=most), **fields
    )


def worth(response: pb.ComputeRewardsResponse) -> list[float]:
    return [result.reward.value for result in response.results]


@both
async def test_the_same_again_costs_nothing_and_says_the_same(topology: str) -> None:
    async with rewards(topology) as stub:
        first = await stub.ComputeRewards(request())
        again = await stub.ComputeRewards(request())
        fresh = await stub.ComputeRewards(request(cache="bypass"))
    assert worth(first) == worth(again) == worth(fresh)
    assert first.cache.futures == pb.OriginCounts(computed=6)
    assert again.cache.futures == pb.OriginCounts(found=6)
    assert again.cache.scores.found == 6 * len(first.metrics)
    assert fresh.cache.futures == pb.OriginCounts(computed=6)
    assert first.usage.models
    assert not again.usage.models
    for before, after in zip(first.results, again.results, strict=True):
        for then, now in zip(before.futures, after.futures, strict=True):
            assert (then.origin, now.origin) == (pb.ORIGIN_COMPUTED, pb.ORIGIN_FOUND)
            assert [s.value for s in then.scores] == [s.value for s in now.scores]
            assert not then.HasField("cost")
            assert now.cost.messages == then.usage.messages


@both
async def test_what_is_new_alone_is_computed(topology: str) -> None:
    async with rewards(topology) as stub:
        await stub.ComputeRewards(request(most=3))
        more = await stub.ComputeRewards(request(most=5))
        metrics = [metric("success", 3.0), metric("messages", -1.0, label="length")]
        other = pb.Objective(metrics=metrics)
        weighed = await stub.ComputeRewards(request(most=5, objective=other))
    assert more.cache.futures == pb.OriginCounts(computed=4, found=6)
    assert weighed.cache.futures == pb.OriginCounts(found=10)


@both
async def test_a_mode_that_there_is_not_is_refused(topology: str) -> None:
    async with rewards(topology) as stub:
        refusal = await refused(stub.ComputeRewards(request(cache="read-only")))
    assert refusal.code == "INVALID_ARGUMENT"
    assert "read_only" in refusal.fields["cache"]


async def test_a_simulator_tells_what_determines_its_futures() -> None:
    async with foresight(loopback(), "simulator") as live:
        stub = simulator_grpc.SimulatorServiceStub(live.channel)
        ask = simulator_pb.GetFingerprintRequest
        default, named, other = [
            (await stub.GetFingerprint(one)).fingerprint
            for one in (
                ask(),
                ask(policy=PolicyRef(name="policy")),
                ask(policy=PolicyRef(name="guesser")),
            )
        ]
    assert len(default) == 64
    assert default == named != other


async def test_a_simulator_that_knows_no_fingerprints_is_not_cached(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def unknown(self: Any, request: Any, context: grpc.aio.ServicerContext) -> Any:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")

    path = "foresight_services.simulator.servicer.SimulatorServicer.GetFingerprint"
    monkeypatch.setattr(path, unknown)
    async with rewards("three services") as stub:
        for _ in range(2):
            response = await stub.ComputeRewards(request())
            assert response.cache.futures == pb.OriginCounts(computed=6)


@both
async def test_a_kept_answer_is_the_answer(topology: str) -> None:
    async with rewards(topology) as stub:
        first = await stub.ComputeRewards(request())
        again = await stub.ComputeRewards(request(request_id="another"))
        texts = await stub.ComputeRewards(request(include_futures=True))
        kept = await stub.GetReward(
            pb.GetRewardRequest(reward_id=again.results[1].reward.reward_id)
        )
    assert again.request_id == "another"
    assert again.usage.wall_time.ToTimedelta() > timedelta(0)
    # What was found is what was given: the very reward, with all that it rests on.
    assert [one.reward for one in again.results] == [one.reward for one in first.results]
    assert kept.result.reward == again.results[1].reward
    assert kept.result.futures[0].messages == texts.results[1].futures[0].messages
    assert list(again.metrics) == list(first.metrics)
    assert (again.profile, again.objective_range) == (first.profile, first.objective_range)
    assert texts.cache.futures == pb.OriginCounts(found=6)


@both
async def test_a_stream_tells_a_kept_answer_as_any_other(topology: str) -> None:
    async with rewards(topology) as stub:
        first = await stub.ComputeRewards(request())
        asked = [
            pb.StreamRewardsRequest(name=name, group=request(), progress=name == "told")
            for name in ("told", "untold")
        ]
        events = [event async for event in stub.StreamRewards(iter(asked))]
    for name, progress in (("told", 6), ("untold", 0)):
        own = [event for event in events if event.request_id == name]
        kinds = Counter(event.WhichOneof("event") for event in own)
        assert kinds == Counter({"candidate": 2, "future": progress, "done": 1}) - Counter()
        results = [event.candidate for event in own if event.HasField("candidate")]
        assert [one.reward for one in results] == [one.reward for one in first.results]
        assert own[-1].done.summary.cache.futures == pb.OriginCounts(found=6)
        assert not own[-1].done.summary.results
        assert all(event.future.ok for event in own if event.HasField("future"))
