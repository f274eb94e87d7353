"""When a server says that it serves: after its peers, until it drains, service by service."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from foresight.v1 import reward_service_pb2_grpc as pb_grpc
from foresight_services.bootstrap import running
from foresight_services.config import ServiceConfig
from tests.fakes.held import Held
from tests.fakes.requests import game, simulation
from tests.fakes.servers import channel_to, foresight, loopback, refused
from tests.fakes.waiting import eventually

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING

SERVICES = {
    "all": ("RewardService", "SimulatorService", "EvaluatorService", "PolicyService"),
    "simulator": ("SimulatorService",),
    "evaluator": ("EvaluatorService",),
}


async def health(channel: grpc.aio.Channel, service: str = "") -> Any:
    stub: Any = health_pb2_grpc.HealthStub(channel)
    answer = await stub.Check(health_pb2.HealthCheckRequest(service=service))
    return answer.status


@pytest.mark.parametrize("what", SERVICES)
async def test_every_service_and_the_server_as_a_whole_are_serving(what: Any) -> None:
    async with foresight(loopback(), what) as live:
        for name in ("", *(f"foresight.v1.{name}" for name in SERVICES[what])):
            assert await health(live.channel, name) == SERVING


async def test_a_service_that_is_not_here_is_not_known() -> None:
    async with foresight(loopback(), "evaluator") as live:
        stub: Any = health_pb2_grpc.HealthStub(live.channel)
        request = health_pb2.HealthCheckRequest(service="foresight.v1.RewardService")
        assert (await refused(stub.Check(request))).code == "NOT_FOUND"


async def test_the_reward_service_serves_when_both_its_peers_do(tmp_path: Path) -> None:
    def on(name: str) -> ServiceConfig:
        return ServiceConfig(listen=f"unix:{tmp_path / name}", metrics=None)

    config = loopback(simulator=on("simulator"), evaluator=on("evaluator"))
    async with running(config, "reward") as reward, channel_to(reward.address) as channel:
        names = ("", "foresight.v1.RewardService", "foresight.v1.PolicyService")
        for name in names:
            assert await health(channel, name) == NOT_SERVING
        async with foresight(config, "simulator"):
            assert await health(channel) == NOT_SERVING
            assert not reward.ready.done()
            async with foresight(config, "evaluator"):
                await asyncio.wait_for(reward.ready, 60)
                for name in names:
                    assert await health(channel, name) == SERVING
                answer = await pb_grpc.RewardServiceStub(channel).ComputeRewards(game())
                assert answer.results[0].n_ok == 8


async def test_leaving_before_the_peers_came_leaves_nothing_behind(tmp_path: Path) -> None:
    nowhere = ServiceConfig(listen=f"unix:{tmp_path / 'nowhere'}", metrics=None)
    before = asyncio.all_tasks()
    async with running(loopback(simulator=nowhere, evaluator=nowhere), "reward") as reward:
        pass
    await eventually(reward.ready.done)
    assert reward.ready.cancelled()
    await eventually(lambda: asyncio.all_tasks() == before)


async def test_a_draining_server_says_so_and_finishes_what_it_has(held: Held) -> None:
    held.at = lambda request: "gate"
    config = loopback(drain_grace_seconds=60.0)
    async with foresight(config) as live:
        stub: Any = health_pb2_grpc.HealthStub(live.channel)
        watch = stub.Watch(health_pb2.HealthCheckRequest(service="foresight.v1.RewardService"))
        assert (await watch.read()).status == SERVING
        in_flight = asyncio.ensure_future(
            pb_grpc.RewardServiceStub(live.channel).ComputeRewards(
                game(simulation=simulation(most=2))
            )
        )
        await eventually(lambda: held.waiting == 2)
        drain = asyncio.create_task(live.service.server.drain())
        assert (await watch.read()).status == NOT_SERVING
        watch.cancel()
        assert not in_flight.done()
        assert held.waiting == 2
        held.gates.open("gate")
        assert (await in_flight).results[0].n_ok == 2
        await drain
        # It has stopped: nobody listens any more.
        async with channel_to(live.service.address) as late:
            late_stub: Any = health_pb2_grpc.HealthStub(late)
            refusal = await refused(late_stub.Check(health_pb2.HealthCheckRequest()))
            assert refusal.code == "UNAVAILABLE"


async def test_the_notice_of_draining_goes_to_every_service_while_calls_are_still_taken() -> None:
    async with foresight(loopback(drain_notice_seconds=60.0)) as live:
        stub: Any = health_pb2_grpc.HealthStub(live.channel)
        watch = stub.Watch(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == SERVING
        drain = asyncio.create_task(live.service.server.drain())
        assert (await watch.read()).status == NOT_SERVING
        for name in ("", *(f"foresight.v1.{name}" for name in SERVICES["all"])):
            assert await health(live.channel, name) == NOT_SERVING
        answer = await pb_grpc.RewardServiceStub(live.channel).ComputeRewards(game())
        assert answer.results[0].n_ok == 8
        watch.cancel()
        drain.cancel()
