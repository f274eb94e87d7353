"""Real servers on loopback, channels to them, and what their errors say."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from foresight.v1 import evaluator_service_pb2_grpc, simulator_service_pb2_grpc
from foresight_services.bootstrap import RunningService, ServiceName, running
from foresight_services.config import Config, ServiceConfig, ServicesConfig
from foresight_services.core.ports import Evaluator, Simulator
from foresight_services.evaluator.remote import RemoteEvaluator
from foresight_services.evaluator.servicer import EvaluatorServicer
from foresight_services.rpc.channel import SIZE_OPTIONS, Peer
from foresight_services.rpc.server import Registration, Server
from foresight_services.simulator.remote import RemoteSimulator
from foresight_services.simulator.servicer import SimulatorServicer
from tests.fakes.virtual_time import LoopClock

ANY_PORT = "127.0.0.1:0"


def loopback(*, metrics: bool = False, **services: Any) -> Config:
    """Return a configuration whose servers listen on any free port and stop without notice."""
    where = ServiceConfig(listen=ANY_PORT, metrics=ANY_PORT if metrics else None)
    given = {
        "reward": where,
        "simulator": where,
        "evaluator": where,
        "drain_notice_seconds": 0.0,
        **services,
    }
    return Config(services=ServicesConfig(**given))


@asynccontextmanager
async def channel_to(address: str) -> AsyncIterator[grpc.aio.Channel]:
    """Open a channel that sends and takes messages as large as the services'."""
    async with grpc.aio.insecure_channel(address, SIZE_OPTIONS) as channel:
        yield channel


@asynccontextmanager
async def serving(registration: Registration) -> AsyncIterator[grpc.aio.Channel]:
    """Serve one servicer on a real server and open a channel to it."""
    server = Server(
        [registration], config=loopback(), clock=LoopClock(), observe=lambda *measured: None
    )
    address = await server.start(ANY_PORT)
    try:
        async with channel_to(address) as channel:
            yield channel
    finally:
        await server.stop()


@asynccontextmanager
async def remote_simulator(simulator: Simulator) -> AsyncIterator[Simulator]:
    """Put a server and a connection before `simulator`."""
    add = simulator_service_pb2_grpc.add_SimulatorServiceServicer_to_server
    servicer = SimulatorServicer(simulator, LoopClock())
    registration = Registration("foresight.v1.SimulatorService", partial(add, servicer))
    async with serving(registration) as channel:
        yield RemoteSimulator(Peer("simulator", channel), LoopClock())


@asynccontextmanager
async def remote_evaluator(evaluator: Evaluator) -> AsyncIterator[Evaluator]:
    """Put a server and a connection before `evaluator`."""
    add = evaluator_service_pb2_grpc.add_EvaluatorServiceServicer_to_server
    servicer = EvaluatorServicer(evaluator, LoopClock())
    registration = Registration("foresight.v1.EvaluatorService", partial(add, servicer))
    async with serving(registration) as channel:
        yield RemoteEvaluator(Peer("evaluator", channel), LoopClock())


@dataclass(frozen=True)
class Live:
    """A running service and a channel to it."""

    service: RunningService
    """The service."""
    channel: grpc.aio.Channel
    """A connection to it."""


@asynccontextmanager
async def foresight(config: Config, what: ServiceName = "all") -> AsyncIterator[Live]:
    """Run `what` until it is ready, with a plaintext channel to it."""
    async with running(config, what) as service, channel_to(service.address) as channel:
        await service.ready
        yield Live(service, channel)


@dataclass(frozen=True)
class Three:
    """The three services, apart from each other and ready."""

    reward: RunningService
    simulator: RunningService
    evaluator: RunningService


@asynccontextmanager
async def three_services(config: Config) -> AsyncIterator[Three]:
    """Run the three services on servers of their own."""
    async with running(config, "simulator") as one, running(config, "evaluator") as two:
        services = config.services
        found = services.model_copy(
            update={
                "simulator": services.simulator.model_copy(update={"target": one.address}),
                "evaluator": services.evaluator.model_copy(update={"target": two.address}),
            }
        )
        async with running(config.model_copy(update={"services": found}), "reward") as reward:
            await reward.ready
            yield Three(reward, one, two)


@dataclass(frozen=True)
class Refusal:
    """What a failed call told."""

    code: str
    """Name of the status code."""
    message: str
    """For people."""
    reason: str
    """ErrorInfo's reason; empty where there is no ErrorInfo of ours."""
    metadata: dict[str, str]
    """ErrorInfo's metadata."""
    fields: dict[str, str]
    """BadRequest's violations: field and description, in order."""


def refusal_of(error: grpc.aio.AioRpcError) -> Refusal:
    """Return what `error` told, its details unpacked."""
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    details = [] if status is None else status.details
    return _refusal(error.code().name, error.details() or "", details)


def refusal_in(status: Any) -> Refusal:
    """Return what a google.rpc.Status inside a response tells."""
    code = next(code.name for code in grpc.StatusCode if code.value[0] == status.code)
    return _refusal(code, status.message, status.details)


def _refusal(code: str, message: str, details: Any) -> Refusal:
    info, bad_request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in details:
        assert detail.Unpack(info) or detail.Unpack(bad_request), detail.type_url
    if info.reason:
        assert info.domain == "foresight.v1"
    fields = {v.field: v.description for v in bad_request.field_violations}
    return Refusal(code, message, info.reason, dict(info.metadata), fields)


async def rest_of(call: Any) -> list[Any]:
    """Read a stream to its end and return what it still told."""
    answers = []
    while (answer := await call.read()) is not grpc.aio.EOF:
        answers.append(answer)
    return answers


async def refused(call: Any) -> Refusal:
    """Await `call`, which must fail, and return what it told; for a stream, read it to its end."""
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await (rest_of(call) if hasattr(call, "read") else call)
    return refusal_of(failed.value)
