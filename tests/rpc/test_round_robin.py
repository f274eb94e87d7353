"""Calls are spread over the addresses of a target, and over connections to one address."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import pytest

from foresight import AsyncClient, Client, Tls
from foresight.v1 import simulator_service_pb2 as pb
from foresight.v1 import simulator_service_pb2_grpc as pb_grpc
from foresight_services.bootstrap import RunningService, running
from foresight_services.bootstrap.peers import open_peers
from foresight_services.config import Config, ServiceConfig, ServicesConfig, TlsConfig
from foresight_services.core.errors import InvalidInput
from foresight_services.rpc.channel import Peer, open_peer, open_stranger
from foresight_services.rpc.server import Registration, Server
from tests.fakes.prometheus import scrape
from tests.fakes.servers import ANY_PORT, loopback
from tests.fakes.virtual_time import LoopClock

ANSWERED = "foresight_request_seconds_count"
COMPUTE = {"service": "foresight.v1.RewardService", "method": "ComputeRewards", "code": "OK"}
SIMULATE = {"service": "foresight.v1.SimulatorService", "method": "SimulateFutures", "code": "OK"}
SMALL = {
    "task": {"preset": "twenty_questions"},
    "prefix": [{"role": "user", "content": "You have 20 turns."}],
    "candidates": ["Is it alive?"],
    "simulation": {"horizon_messages": 2, "samples": {"max": 2}},
    "cache": "bypass",
}


class Callers(pb_grpc.SimulatorServiceServicer):
    """Remembers over which connections it was called."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    async def GetFingerprint(self, request: Any, context: Any) -> pb.GetFingerprintResponse:
        self.seen.append(context.peer())
        return pb.GetFingerprintResponse()

    def SimulateFutures(self, request: Any, context: Any) -> Any:
        raise NotImplementedError

    def SampleMessages(self, request: Any, context: Any) -> Any:
        raise NotImplementedError


@asynccontextmanager
async def called(config: Config) -> AsyncIterator[tuple[Callers, str]]:
    callers = Callers()
    add = partial(pb_grpc.add_SimulatorServiceServicer_to_server, callers)
    server = Server(
        [Registration("foresight.v1.SimulatorService", add)],
        config=config,
        clock=LoopClock(),
        observe=lambda *measured: None,
    )
    address = await server.start(ANY_PORT)
    try:
        yield callers, address
    finally:
        await server.stop()


async def call(peer: Peer, times: int) -> None:
    stub: Any = pb_grpc.SimulatorServiceStub(peer.channel)
    for _ in range(times):
        await stub.GetFingerprint(pb.GetFingerprintRequest(), wait_for_ready=True)


async def answered(service: RunningService, labels: dict[str, str]) -> float:
    return (await scrape(service.metrics)).value(ANSWERED, **labels)


async def test_two_replicas_share_the_calls_of_a_client_and_one_can_go() -> None:
    config = loopback(metrics=True)
    async with running(config, "all") as one, running(config, "all") as two:
        await one.ready
        await two.ready
        async with AsyncClient(f"{one.address},{two.address}") as client:
            counts = [0.0, 0.0]
            calls = 0
            # Both are connected some time after the first call.
            while min(counts) < 2:
                assert (await client.send(SMALL)).values[0] is not None
                calls += 1
                counts = [await answered(service, COMPUTE) for service in (one, two)]
                assert sum(counts) == calls <= 1000
            before = counts[1]
            await one.server.stop()
            for _ in range(10):
                assert (await client.send(SMALL)).values[0] is not None
            assert await answered(two, COMPUTE) == before + 10


async def test_two_simulators_share_the_futures_of_a_reward_service_and_one_can_go() -> None:
    config = loopback(metrics=True)
    async with AsyncExitStack() as stack:
        one, two, evaluator = [
            await stack.enter_async_context(running(config, what))
            for what in ("simulator", "simulator", "evaluator")
        ]
        found = config.services.model_copy(
            update={
                "simulator": config.services.simulator.model_copy(
                    update={"target": f"{one.address},{two.address}"}
                ),
                "evaluator": config.services.evaluator.model_copy(
                    update={"target": evaluator.address}
                ),
            }
        )
        reward = await stack.enter_async_context(
            running(config.model_copy(update={"services": found}), "reward")
        )
        await reward.ready
        client = await stack.enter_async_context(AsyncClient(reward.address))
        counts = [0.0, 0.0]
        calls = 0
        while min(counts) < 2:
            assert (await client.send(SMALL)).values[0] is not None
            calls += 1
            counts = [await answered(service, SIMULATE) for service in (one, two)]
            assert sum(counts) == calls <= 1000
        await two.server.stop()
        for _ in range(10):
            assert (await client.send(SMALL)).values[0] is not None
        assert await answered(one, SIMULATE) == counts[0] + 10


async def test_a_peer_of_several_workers_is_called_over_connections_in_turn() -> None:
    async with called(loopback()) as (callers, address):
        peer = open_peer("simulator", address, loopback(), connections=3)
        async with peer.channel:
            await call(peer, 6)
    assert len(set(callers.seen)) == 3
    assert callers.seen[:3] == callers.seen[3:]


async def test_a_reward_service_has_four_connections_for_each_worker_of_a_peer() -> None:
    async with called(loopback()) as (callers, address):
        peers = ServiceConfig(listen=address, metrics=None, workers=2)
        simulator, evaluator = open_peers(loopback(simulator=peers))
        async with simulator.channel, evaluator.channel:
            await call(simulator, 16)
    assert len(set(callers.seen)) == 8


async def test_one_connection_is_the_rule() -> None:
    async with called(loopback()) as (callers, address):
        peer = open_peer("simulator", address, loopback())
        async with peer.channel:
            await call(peer, 6)
    assert len(set(callers.seen)) == 1


async def test_callers_connect_anew_at_an_age_and_no_call_is_lost() -> None:
    async with called(loopback(max_connection_age_seconds=1.0)) as (callers, address):
        peer = open_peer("simulator", address, loopback())
        async with peer.channel:
            calls = 0

            async def aged() -> bool:
                nonlocal calls
                await call(peer, 1)
                calls += 1
                return len(set(callers.seen)) > 2

            while not await aged():
                assert calls < 1_000_000
    assert len(callers.seen) == calls


def test_a_list_under_tls_has_no_name_to_check() -> None:
    with pytest.raises(ValueError, match=r"is a list: say which name .* Tls\(server_name=...\)"):
        Client("127.0.0.1:1,127.0.0.1:2", tls=Tls())
    with pytest.raises(InvalidInput) as refused:
        open_stranger("evaluator", "127.0.0.1:1,127.0.0.1:2", b"pem", "")
    (violation,) = refused.value.violations
    assert violation.field == "evaluator.remotes"
    assert "dns:///name:port" in violation.description


def test_a_peer_that_is_a_list_under_tls_is_refused(tmp_path: Any) -> None:
    for name in ("certificate", "key", "ca"):
        (tmp_path / name).write_bytes(b"pem")
    tls = TlsConfig(
        certificate_path=str(tmp_path / "certificate"),
        key_path=str(tmp_path / "key"),
        ca_path=str(tmp_path / "ca"),
    )
    config = Config(services=ServicesConfig(tls=tls))
    with pytest.raises(InvalidInput) as refused:
        open_peer("simulator", "127.0.0.1:1,127.0.0.1:2", config)
    assert refused.value.violations[0].field == "services.simulator.target"


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("a:1,b:2", "'a:1' in it is no IP address with a port"),
        ("127.0.0.1:1,", "'' in it is no IP address"),
        ("127.0.0.1,127.0.0.1:2", "'127.0.0.1' in it is no IP address with a port"),
        ("[::1]:1,127.0.0.1:2", "mixes IPv4 and IPv6 addresses"),
    ],
)
def test_a_list_that_grpc_could_not_read_is_refused(target: str, problem: str) -> None:
    with pytest.raises(ValueError, match="^target ") as refused:
        Client(target)
    assert problem in str(refused.value)
