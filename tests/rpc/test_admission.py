"""A simulator that has more to do than it can: refusals on the wire, jobs, ten thousand futures."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import grpc.aio
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from foresight.errors import LimitReachedError, from_rpc_error, from_status
from foresight.v1 import simulator_service_pb2 as pb
from foresight.v1 import simulator_service_pb2_grpc as pb_grpc
from foresight_services.config import SimulatorConfig
from foresight_services.core.admission import RETRY_AFTER
from foresight_services.core.errors import Failure, Family, LimitReached, Reason
from foresight_services.core.future import Future, SimulatedFuture
from foresight_services.core.ports import Simulator
from foresight_services.rpc.server import Registration
from foresight_services.rpc.status import decode_failure, encode_failure
from foresight_services.simulator.codec import encode_request
from foresight_services.simulator.servicer import SimulatorServicer
from tests.fakes.chat import Gates, ScriptedChat
from tests.fakes.held import Held
from tests.fakes.prometheus import scrape
from tests.fakes.servers import foresight, loopback, remote_simulator, serving
from tests.fakes.simulation import make_simulation, simulation_request
from tests.fakes.telemetry import RecordingTelemetry
from tests.fakes.virtual_time import LoopClock
from tests.fakes.waiting import eventually


class Busy:
    """A simulator whose futures wait for a gate, and what it was told of."""

    def __init__(self, *, places: int, line: int) -> None:
        self.gates = Gates()
        self.telemetry = RecordingTelemetry()
        self.user = ScriptedChat(lambda request: self.gates.say("u", after="gate"))
        self.simulation = make_simulation(
            user=self.user,
            policy=ScriptedChat("a"),
            telemetry=self.telemetry,
            max_futures=places,
            max_waiting_futures=line,
        )


@asynccontextmanager
async def stub_of(simulator: Simulator) -> AsyncIterator[pb_grpc.SimulatorServiceAsyncStub]:
    """Serve `simulator` and yield the stub of a caller."""
    add = pb_grpc.add_SimulatorServiceServicer_to_server
    servicer = SimulatorServicer(simulator, LoopClock())
    registration = Registration("foresight.v1.SimulatorService", partial(add, servicer))
    async with serving(registration) as channel:
        yield pb_grpc.SimulatorServiceStub(channel)


async def ended(simulator: Simulator, samples: int, **fields: object) -> list[Future]:
    """Simulate so many futures of a single turn."""
    request = simulation_request(samples=samples, horizon_messages=1, **fields)
    return [future async for future in simulator.simulate(request)]


async def test_a_refusal_says_what_is_full_and_when_to_try_again() -> None:
    busy = Busy(places=2, line=3)
    async with stub_of(busy.simulation) as stub:
        first = stub.SimulateFutures(encode_request(simulation_request(samples=5)))
        await eventually(lambda: busy.telemetry.waiting == 3)
        second = stub.SimulateFutures(encode_request(simulation_request(samples=2)))
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await second.read()
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        status = rpc_status.from_call(refused.value)  # type: ignore[arg-type]
        info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
        assert status is not None
        assert [d.Unpack(info) or d.Unpack(retry) for d in status.details] == [True, True]
        assert (info.reason, info.domain) == ("LIMIT_REACHED", "foresight.v1")
        assert info.metadata["limit"] == "simulator.max_waiting_futures"
        assert info.metadata["field"] == "futures"
        assert (info.metadata["asked"], info.metadata["waiting"]) == ("2", "3")
        seconds = retry.retry_delay.ToNanoseconds() / 1e9
        assert seconds == float(info.metadata[RETRY_AFTER])
        assert 0.1 <= seconds <= 30
        # The clients tell it as it is.
        told = from_rpc_error(refused.value, "here")
        assert isinstance(told, LimitReachedError)
        assert told.retry_after == seconds
        # Who was let in has lost nothing.
        busy.gates.open("gate")
        answers = [response async for response in first]
        assert [answer.WhichOneof("outcome") for answer in answers] == ["future"] * 5
    assert busy.telemetry.refused == 1


async def test_a_refusal_reaches_the_caller_of_the_other_process_as_it_was() -> None:
    busy = Busy(places=1, line=0)
    async with remote_simulator(busy.simulation) as simulator:
        first = asyncio.create_task(ended(simulator, 1))
        await eventually(lambda: busy.user.in_flight == 1)
        with pytest.raises(LimitReached) as refused:
            await ended(simulator, 1)
        failure = refused.value.failure
        assert (failure.family, failure.reason) == (Family.LIMIT, Reason.LIMIT_REACHED)
        assert float(failure.metadata[RETRY_AFTER]) >= 0.1
        # Passed on once more it is the same.
        again = status_pb2.Status.FromString(encode_failure(failure).SerializeToString())
        assert decode_failure(again) == failure
        assert from_status(again).retry_after == float(failure.metadata[RETRY_AFTER])
        busy.gates.open("gate")
        assert len(await first) == 1
        # A retry finds room.
        assert len(await ended(simulator, 1)) == 1


async def test_what_follows_from_a_group_is_let_in_over_the_wire() -> None:
    busy = Busy(places=1, line=0)
    async with remote_simulator(busy.simulation) as simulator:
        first = asyncio.create_task(ended(simulator, 1))
        await eventually(lambda: busy.user.in_flight == 1)
        second = asyncio.create_task(ended(simulator, 2, follow_up=True))
        await eventually(lambda: busy.telemetry.waiting == 2)
        busy.gates.open("gate")
        assert (len(await first), len(await second)) == (1, 2)


@pytest.mark.parametrize("told", ["soon", "nan", "-1", "1e30"])
def test_a_time_that_is_none_is_not_passed_on(told: str) -> None:
    failure = Failure(Family.LIMIT, Reason.LIMIT_REACHED, "full", {RETRY_AFTER: told})
    assert len(encode_failure(failure).details) == 1


async def test_jobs_share_a_simulator_over_the_wire() -> None:
    busy = Busy(places=1, line=1000)
    async with remote_simulator(busy.simulation) as simulator:
        large = asyncio.create_task(ended(simulator, 101, job="large"))
        await eventually(lambda: busy.telemetry.waiting == 100)
        small = asyncio.create_task(
            ended(simulator, 10, job="small", candidates=("of the small job",))
        )
        await eventually(lambda: busy.telemetry.waiting == 110)
        busy.gates.open("gate")
        await asyncio.gather(large, small)
    whose = [request.conversation[1].content for request in busy.user.requests]
    # After the one that ran alone they took turns.
    assert whose[1:21].count("of the small job") == 10
    assert len(whose) == 111


@pytest.mark.parametrize("requests", [1, 100])
async def test_ten_thousand_futures_end(requests: int) -> None:
    busy = Busy(places=64, line=10_000)
    each = 10_000 // requests
    async with remote_simulator(busy.simulation) as simulator:
        candidates = tuple(f"candidate {index}" for index in range(10))
        runs = [
            asyncio.create_task(ended(simulator, each // 10, candidates=candidates))
            for _ in range(requests)
        ]
        await eventually(lambda: busy.telemetry.waiting == 10_000 - 64)
        busy.gates.open("gate")
        for futures in await asyncio.gather(*runs):
            assert len({future.id for future in futures}) == each
            assert all(isinstance(future.outcome, SimulatedFuture) for future in futures)
    assert busy.telemetry.most_in_flight == 64
    assert (busy.telemetry.waiting, busy.telemetry.in_flight) == (0, 0)
    assert busy.telemetry.futures == {"ok": 10_000}


async def test_the_configurations_line_is_the_services_and_prometheus_sees_it(held: Held) -> None:
    held.at = lambda request: "gate"
    config = loopback(metrics=True)
    line = SimulatorConfig(max_futures=2, max_waiting_futures=3)
    config = config.model_copy(update={"simulator": line})
    async with foresight(config, "simulator") as live:
        stub = pb_grpc.SimulatorServiceStub(live.channel)
        first = stub.SimulateFutures(game(5))
        await eventually(lambda: held.waiting == 2)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.SimulateFutures(game(1)).read()
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        told = await scrape(live.service.metrics)
        assert told.value("foresight_futures_waiting") == 3
        assert told.value("foresight_groups_refused_total") == 1
        held.gates.open("gate")
        assert len([response async for response in first]) == 5
        told = await scrape(live.service.metrics)
        assert told.value("foresight_futures_waiting") == 0
        assert told.value("foresight_stage_seconds_count", stage="queue") == 5


def game(futures: int) -> pb.SimulateFuturesRequest:
    """Return a request of the builtin world 20 Questions, each future with a call of its own."""
    questions = tuple(f"Is it number {index}?" for index in range(futures))
    request = simulation_request(samples=1, horizon_messages=1, candidates=questions)
    message = encode_request(request)
    message.task.Clear()
    message.task.world = "twenty_questions"
    message.task.goal = "dog"
    return message
