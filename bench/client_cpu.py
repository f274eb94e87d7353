"""Measure the CPU time that one chat call costs its client, by client library.

Every library calls the same server, a process of its own that answers at once, from a fresh
process on uvloop with 64 calls in flight. CPU time is user and system time of the client's process,
its threads included, between the end of the warm-up and the last answer. Rounds go through all
libraries in turn; the table has medians over the rounds and their extremes. Libraries that are not
installed are left out.

    python -m bench.client_cpu --rounds 3 --calls 1000
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.metadata
import importlib.util
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import uvloop

from bench.chat_server import REPLY, chat_server
from foresight_services.bootstrap import MonotonicClock
from foresight_services.core.conversation import Message
from foresight_services.core.ports import ChatRequest
from foresight_services.core.task import Task
from foresight_services.core.usage import Ledger
from foresight_services.models.openai import OpenAIModel, OpenAISettings

IN_FLIGHT = 64
MESSAGES = [
    {"role": role, "content": f"Message {number}. " + "Some words that were said before. " * 12}
    for number, role in enumerate(("system", "user", "assistant", "user", "assistant", "user"))
]
"""About 2,500 characters, as much as an average call of a simulation."""

Call = Callable[[int], Awaitable[str]]
"""Makes the call with a seed and returns the reply."""


@asynccontextmanager
async def bare_aiohttp(base_url: str) -> AsyncIterator[Call]:
    """The session's own JSON functions, and nothing around them."""
    connector = aiohttp.TCPConnector(limit=1024)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def call(seed: int) -> str:
            body = {"model": "bench", "messages": MESSAGES, "temperature": 0.8, "seed": seed}
            url = f"{base_url}/chat/completions"
            async with session.post(url, json={**body, "max_tokens": 256}) as response:
                return str((await response.json())["choices"][0]["message"]["content"])

        yield call


@asynccontextmanager
async def openai_backend(base_url: str) -> AsyncIterator[Call]:
    """The backend `openai` of this project."""
    model = OpenAIModel(
        OpenAISettings("bench", base_url, "bench", None, 0.8), clock=MonotonicClock()
    )
    conversation = tuple(Message(m["role"], m["content"]) for m in MESSAGES)  # type: ignore[arg-type]
    task, ledger = Task(), Ledger()

    async def call(seed: int) -> str:
        request = ChatRequest("policy", task, conversation, seed, 256, ledger, deadline=1e12)
        return (await model.complete(request)).text

    try:
        yield call
    finally:
        await model.aclose()


@asynccontextmanager
async def openai_package(base_url: str) -> AsyncIterator[Call]:
    """The package `openai`, as it comes."""
    import openai

    async with openai.AsyncOpenAI(base_url=base_url, api_key="none", max_retries=0) as client:

        async def call(seed: int) -> str:
            messages: Any = MESSAGES
            answer = await client.chat.completions.create(
                model="bench", messages=messages, temperature=0.8, seed=seed, max_tokens=256
            )
            return answer.choices[0].message.content or ""

        yield call


@asynccontextmanager
async def litellm_package(base_url: str) -> AsyncIterator[Call]:
    """The package `litellm`, as it comes, but without its download of prices."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    import litellm

    async def call(seed: int) -> str:
        answer: Any = await litellm.acompletion(
            "openai/bench",
            MESSAGES,
            api_base=base_url,
            api_key="none",
            temperature=0.8,
            seed=seed,
            max_tokens=256,
            num_retries=0,
        )
        return str(answer.choices[0].message.content)

    yield call


CLIENTS = {
    "aiohttp alone": ("aiohttp", bare_aiohttp),
    "backend openai": ("aiohttp", openai_backend),
    "package openai": ("openai", openai_package),
    "package litellm": ("litellm", litellm_package),
}
"""The library that each needs, and how it is called."""


async def measure(name: str, base_url: str, calls: int) -> dict[str, float]:
    """Return milliseconds of CPU per call and calls per second of one client."""
    async with CLIENTS[name][1](base_url) as call:
        await _run(call, 4 * IN_FLIGHT)  # connections, imports and caches
        cpu, wall = time.process_time(), time.perf_counter()
        await _run(call, calls)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return {"cpu_ms": cpu / calls * 1e3, "calls_per_second": calls / wall}


async def _run(call: Call, calls: int) -> None:
    seeds = iter(range(calls))

    async def worker() -> None:
        for seed in seeds:
            if await call(seed) != REPLY:
                raise RuntimeError("a call brought another reply than the server gives")

    await asyncio.gather(*(worker() for _ in range(IN_FLIGHT)))


async def compare(rounds: int, calls: int) -> dict[str, list[dict[str, float]]]:
    """Return what every installed client measured, one for each round."""
    names = [n for n, (package, _) in CLIENTS.items() if importlib.util.find_spec(package)]
    found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    async with chat_server() as base_url:
        for _ in range(rounds):
            for name in names:
                found[name].append(await _in_own_process(name, base_url, calls))
    return found


async def _in_own_process(name: str, base_url: str, calls: int) -> dict[str, float]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.client_cpu", "--calls", str(calls)),
        *("--measure", name, base_url),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"the measurement of {name!r} failed")
    measured: dict[str, float] = json.loads(output.splitlines()[-1])
    return measured


def main() -> None:
    """Measure, print a table, and keep the numbers if asked."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--calls", type=int, default=1000, help="calls of each client and round")
    parser.add_argument("--json", type=Path, help="file to write the numbers to")
    parser.add_argument("--measure", nargs=2, metavar=("CLIENT", "BASE_URL"), help="one client")
    arguments = parser.parse_args()
    if arguments.measure:
        name, base_url = arguments.measure
        print(json.dumps(uvloop.run(measure(name, base_url, arguments.calls))))
        return
    found = asyncio.run(compare(arguments.rounds, arguments.calls))
    print(
        f"CPU of the client for one chat call, {IN_FLIGHT} in flight, median of "
        f"{arguments.rounds} x {arguments.calls} calls, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}"
    )
    print(f"{'':34} {'ms/call':>8} {'lowest':>8} {'highest':>8} {'x aiohttp':>10} {'calls/s':>8}")
    bare = statistics.median(m["cpu_ms"] for m in found["aiohttp alone"])
    for name, measured in found.items():
        times = [m["cpu_ms"] for m in measured]
        median, rate = statistics.median(times), [m["calls_per_second"] for m in measured]
        library = CLIENTS[name][0]
        label = f"{name} ({library} {importlib.metadata.version(library)})"
        print(
            f"{label:34} {median:8.3f} {min(times):8.3f} {max(times):8.3f} "
            f"{median / bare:10.2f} {statistics.median(rate):8.0f}"
        )
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
