"""Futures in flight in one simulator process, and the most memory that it ever had for them.

Calls take long enough that every future is in flight before the first one ends; the model server's
log tells how many conversations really were between their first call and the end of their last one.
Beside it stands the memory of the reference's process after its batch from 128 threads, where that
was run.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import grpc

from bench.side_by_side import cases
from bench.side_by_side.backend import Latency
from bench.side_by_side.bench import Bench, NotWholeError, configuration
from bench.side_by_side.call_log import most_conversations
from bench.side_by_side.findings import Findings, Goal, Line
from bench.side_by_side.processes import service
from bench.side_by_side.rows import batch
from bench.side_by_side.work import Results, Row, Work
from foresight.v1 import conversation_pb2, simulator_service_pb2
from foresight.v1.simulator_service_pb2_grpc import SimulatorServiceStub

if TYPE_CHECKING:  # the name of a stub's type alone
    from foresight.v1.simulator_service_pb2_grpc import SimulatorServiceAsyncStub

RESIDENT: Final = "resident MiB"
IN_FLIGHT: Final = "futures in flight"
_CANDIDATES: Final = 32
_REQUESTS: Final = 8
_SECONDS_BETWEEN: Final = 0.25
_MOST_SECONDS: Final = 240.0


async def _foresight(bench: Bench) -> Findings:
    futures = bench.sizes.futures
    config = bench.folder / "memory.yaml"
    config.write_text(configuration(bench.server.address, max_futures=2 * futures))
    await bench.server.reset(Latency("fixed", bench.sizes.futures_mean_ms))
    async with service("simulator", config) as (process, target):
        idle = process.resident_mib()
        async with grpc.aio.insecure_channel(target) as channel:
            simulator = SimulatorServiceStub(channel)
            each = futures // _REQUESTS
            await asyncio.gather(*(_simulate(simulator, n, each) for n in range(_REQUESTS)))
        resident = process.resident_mib()
    calls = await bench.server.calls()
    drawn = sum(call.choices for call in calls)
    if drawn != futures * cases.HORIZON:
        raise NotWholeError(f"{drawn} messages for {futures} futures")
    return {
        RESIDENT: [resident],
        "idle MiB": [idle],
        IN_FLIGHT: [most_conversations(calls)],
    }


async def _simulate(simulator: SimulatorServiceAsyncStub, prompt: int, futures: int) -> None:
    # Not all at once: the line of a machine's new connections is shorter than that.
    await asyncio.sleep(prompt * _SECONDS_BETWEEN)
    done = 0
    async for response in simulator.SimulateFutures(
        _request(prompt, futures), timeout=_MOST_SECONDS
    ):
        if not response.HasField("future"):
            raise NotWholeError(f"a future failed: {response.error.message}")
        done += 1
    if done != futures:
        raise NotWholeError(f"{done} futures of {futures}")


def _request(prompt: int, futures: int) -> simulator_service_pb2.SimulateFuturesRequest:
    first = prompt * _CANDIDATES
    return simulator_service_pb2.SimulateFuturesRequest(
        task=conversation_pb2.Task(
            description=cases.DESCRIPTION, goal=cases.goal(prompt), reference=cases.REFERENCE
        ),
        prefix=[conversation_pb2.Message(**message) for message in cases.prefix(prompt)],
        candidates=[cases.candidate(case) for case in range(first, first + _CANDIDATES)],
        futures=[
            simulator_service_pb2.FutureSpec(
                candidate_index=number % _CANDIDATES, sample_index=number // _CANDIDATES
            )
            for number in range(futures)
        ],
        horizon_messages=cases.HORIZON,
        policy=conversation_pb2.PolicyRef(name="policy"),
        max_message_tokens=1024,
    )


def _lines(results: Results) -> list[Line]:
    found = results["memory"]
    threads = results["batch"].spread("reference", batch.RESIDENT)
    resident = found.spread("foresight", RESIDENT)
    note = "the reference's is that of its batch, at most 384 futures"
    return [
        Line(
            "Futures in flight in one simulator",
            "",
            None,
            found.spread("foresight", IN_FLIGHT),
            Goal("at least", 5_000),
        ),
        Line(
            "Memory of that simulator, at most",
            "MiB",
            threads,
            resident,
            Goal("at most", 512),
            note,
        ),
        Line("Memory of that simulator, idle", "MiB", None, found.spread("foresight", "idle MiB")),
    ]


ROW: Final = Row("memory", Work("memory", _foresight, most_rounds=2), _lines)
