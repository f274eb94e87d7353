"""Measure the simulator's line: memory while futures wait, shares of two jobs, refusals.

Each row has a simulator of its own, a process whose model answers after `--latency`, and is asked
over gRPC. Memory is the process's resident memory: before it is asked, and the greatest while
everything is asked for and played. Two jobs ask at once, one for ten times as many futures as the
other; their shares are counted while both wait.

    python -m bench.admission
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

import grpc.aio

from foresight.v1 import simulator_service_pb2_grpc as pb_grpc
from foresight_services.bootstrap import MonotonicClock
from foresight_services.config import Config
from foresight_services.core.admission import Admission
from foresight_services.core.conversation import Message
from foresight_services.core.future import FutureId, SimulationRequest
from foresight_services.core.ports import ChatReply, ChatRequest, ResolvedPolicy
from foresight_services.core.simulation import MOST_WAITING_FUTURES, Simulation
from foresight_services.core.task import PolicyRef, Task
from foresight_services.rpc.channel import SIZE_OPTIONS
from foresight_services.rpc.server import Registration, Server
from foresight_services.simulator.codec import encode_request
from foresight_services.simulator.servicer import SimulatorServicer
from foresight_services.telemetry.inert import InertTelemetry
from foresight_services.worlds.goals import WorldGoals

FUTURES: Final = 10_000
LONG: Final = 5.0
TURNS: Final = 4
REPLY: Final = "I am not sure that I have understood the second step; could you explain it? " * 5
CANDIDATE: Final = "Bring every term to one side, factor, and check both solutions. " * 10


class LateModel:
    """Answers after a while; implements the port `ChatModel`."""

    def __init__(self, latency: float) -> None:
        self._latency = latency

    async def complete(self, request: ChatRequest) -> ChatReply:
        """Return the same reply as always."""
        await asyncio.sleep(self._latency)
        return ChatReply(REPLY, 500, 80)


class OnePolicy:
    """Knows one policy, whatever it is called; implements the port `Policies`."""

    def __init__(self, model: LateModel) -> None:
        self._model = model

    async def resolve(self, ref: PolicyRef, task: Task) -> ResolvedPolicy:
        """Return it."""
        return ResolvedPolicy(ref, self._model)


async def serve(places: int, line: int, latency: float) -> None:
    """Serve until the input ends; the first line of the output is the address."""
    clock, model = MonotonicClock(), LateModel(latency)
    simulation = Simulation(
        user=model,
        policies=OnePolicy(model),
        goals=WorldGoals({}, world_required=False),
        clock=clock,
        telemetry=InertTelemetry(),
        termination_signal="[[END]]",
        max_futures=places,
        max_waiting_futures=line,
    )
    add = pb_grpc.add_SimulatorServiceServicer_to_server
    servicer = SimulatorServicer(simulation, clock)
    registration = Registration("foresight.v1.SimulatorService", partial(add, servicer))
    server = Server([registration], config=Config(), clock=clock, observe=lambda *measured: None)
    print(await server.start("127.0.0.1:0"), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.stop()


class Simulator:
    """A simulator in a process of its own."""

    def __init__(self, stub: pb_grpc.SimulatorServiceAsyncStub, process: int) -> None:
        self.stub = stub
        self._status = Path(f"/proc/{process}/status")

    def memory(self, name: str) -> float:
        """Return `VmRSS` or `VmHWM` in MiB."""
        for line in self._status.read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) / 1024
        raise RuntimeError(f"the system tells no {name}")

    async def play(
        self,
        futures: int,
        job: str = "",
        ends: list[str] | None = None,
        begun: asyncio.Event | None = None,
    ) -> None:
        """Ask for so many futures in one request and read them all; `begun` at the first."""
        candidates = min(10, futures)
        request = SimulationRequest(
            task=Task(description="Homework", goal="Understand the solution."),
            prefix=(Message("user", "How do I solve this equation?"),),
            candidates=(CANDIDATE,) * candidates,
            futures=tuple(FutureId(i % candidates, i // candidates) for i in range(futures)),
            horizon_messages=TURNS,
            seed=0,
            policy=PolicyRef("policy"),
            max_message_tokens=256,
            job=job,
        )
        heard = 0
        async for _ in self.stub.SimulateFutures(encode_request(request)):
            heard += 1
            if ends is not None:
                ends.append(job)
            if begun is not None:
                begun.set()
        if heard != futures:
            raise RuntimeError(f"asked for {futures} futures and heard of {heard}")


@asynccontextmanager
async def simulator(
    *, places: int, line: int = MOST_WAITING_FUTURES, latency: float
) -> AsyncIterator[Simulator]:
    """Start a simulator and connect to it."""
    options = ["--serve", f"{places}", "--line", f"{line}", "--latency", f"{latency}"]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "bench.admission", *options),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        address = (await process.stdout.readline()).decode().strip()
        async with grpc.aio.insecure_channel(address, SIZE_OPTIONS) as channel:
            live = Simulator(pb_grpc.SimulatorServiceStub(channel), process.pid)
            await live.play(1)
            yield live
    finally:
        process.stdin.close()
        await process.wait()


async def memory_row(
    requests: int, futures: int, places: int, latency: float
) -> Mapping[str, float]:
    """Ask for so many futures by so many requests; print and return what they took."""
    async with simulator(places=places, latency=latency) as live:
        before, start = live.memory("VmRSS"), time.perf_counter()
        await asyncio.gather(*(live.play(futures // requests) for _ in range(requests)))
        seconds = time.perf_counter() - start
        most = live.memory("VmHWM")
    kib = (most - before) * 1024 / futures
    print(
        f"| {futures} | {requests} | {places} | {latency:g} | {before:.0f} | {most:.0f} |"
        f" {kib:.1f} | {futures / seconds:.0f} |",
        flush=True,
    )
    return {
        "futures": futures,
        "requests": requests,
        "places": places,
        "call_seconds": latency,
        "mib_before": before,
        "mib_most": most,
        "kib_per_future": kib,
        "futures_per_second": futures / seconds,
    }


async def shares_row(large: int, places: int, latency: float) -> Mapping[str, int]:
    """Let one job ask for ten times what another does; tell who got what meanwhile."""
    ends: list[str] = []
    async with simulator(places=places, latency=latency) as live:
        begun = asyncio.Event()
        first = asyncio.create_task(live.play(large, "large", ends, begun))
        await begun.wait()
        before = len(ends)
        await live.play(large // 10, "small", ends)
        shares = Counter(ends[before:])
        await first
    print(f"while both waited, of {shares.total()} futures: {dict(shares)}", flush=True)
    return shares


async def refusals_row(latency: float) -> float:
    """Fill a line; print and return the median time of what is refused meanwhile, in ms."""
    async with simulator(places=64, line=1000, latency=latency) as live:
        first = asyncio.create_task(live.play(1064))
        await asyncio.sleep(4 * latency)
        times = []
        for _ in range(50):
            start = time.perf_counter()
            try:
                await live.play(1000)
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                    raise
                times.append(time.perf_counter() - start)
        await first
    median = statistics.median(times) * 1e3
    print(f"{len(times)} refusals of 1000 futures: median {median:.1f} ms")
    return median


def decisions_row(groups: int, each: int) -> float:
    """Print and return what one decision costs in µs, without an event loop."""
    admission = Admission(
        places=1,
        most_waiting=groups * each + 1,
        clock=MonotonicClock(),
        observer=InertTelemetry(),
    )
    holder = admission.enter("", 1)
    holder.stand(lambda: True)
    for index in range(groups):
        admission.enter(f"job {index % 4}", each).stand(lambda: True)
    start = time.perf_counter()
    while admission.waiting:
        holder.ended()
    micros = (time.perf_counter() - start) / groups / each * 1e6
    print(f"{groups} groups of {each} wait: {micros:.2f} µs for one decision")
    return micros


async def measure(latency: float) -> Mapping[str, object]:
    """Print and return all rows."""
    head = "futures | requests | places | s a call | MiB before | MiB most | KiB for a future"
    print(f"| {head} | futures/s |\n{'|---' * 8}|")
    asked = [(requests, FUTURES, 256, latency) for requests in (1, 100, 1000)]
    # With calls so long that all futures are played at the same time.
    asked += [(100, FUTURES, FUTURES, LONG), (100, 10 * FUTURES, 256, latency)]
    return {
        "memory": [await memory_row(*one) for one in asked],
        "shares": await shares_row(5000, 64, latency),
        "refusal_ms": await refusals_row(latency),
        "decision_us": {
            f"{groups} groups of {each}": decisions_row(groups, each)
            for groups, each in ((1, 10_000), (100, 100), (10_000, 1), (10_000, 24))
        },
    }


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--latency", type=float, default=0.05, help="seconds of a model call")
    parser.add_argument("--json", type=Path, help="file to write the numbers to")
    parser.add_argument("--line", type=int, default=MOST_WAITING_FUTURES, help=argparse.SUPPRESS)
    parser.add_argument("--serve", type=int, metavar="PLACES", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve is not None:
        asyncio.run(serve(options.serve, options.line, options.latency))
        return
    found = asyncio.run(measure(options.latency))
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
