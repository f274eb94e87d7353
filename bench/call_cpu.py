"""Measure the CPU that Foresight spends on one LLM call: each service, gRPC and all in all.

The three services run as real processes on loopback, against a model server that answers at once.
GRPO batches (16 prompts x 8 candidates x 3 futures x 4 messages; accuracy, interactivity and
token_amount) ask for 18 calls per reward: 12 turns, 6 verdicts. CPU is user and system time of each
service's process, all its threads included, read from /proc; the client and the model server are
not in it. Every request has a seed of its own, so nothing comes from the cache.

    python -m bench.call_cpu --rounds 3
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import cycle
from pathlib import Path
from typing import Any, Final

import uvloop

from bench.deployment import three_processes
from foresight import AsyncClient

CANDIDATES: Final = 8
SAMPLES: Final = 3
HORIZON: Final = 4
PROMPTS: Final = 16
SERVICES: Final = ("reward", "simulator", "evaluator")
METRICS: Final = ("accuracy", "interactivity", "token_amount")

_VOCABULARY: Final = (
    "the of and to in a is that for it was on are as with his they at be this from have or by one"
    " had not but what all were when we there can an your which their said if do will each about"
    " how up out them then she many some so these would other into has more her two like him see"
    " time could no make than first been its who now people my made over did down only way find"
    " use may water long little very after words called just where most know quadratic equation"
    " essay paragraph argument recipe schedule budget travel garden program function result"
).split()

_KINDS: Final = (b'"thought"', b'"interactivity"', b'"accuracy"')
"""What the schema of a user's reply and of each verdict names, in order of preference."""


def _words(rng: random.Random, count: int) -> str:
    return " ".join(rng.choices(_VOCABULARY, k=count))


def _replies(kind: bytes | None) -> Iterator[bytes]:
    """Yield whole HTTP answers, each with another text, for ever."""
    rng = random.Random(7)
    made = []
    for _ in range(997):
        content = _words(rng, 60)
        if kind == b'"thought"':
            content = json.dumps({"thought": _words(rng, 15), "message": content, "done": False})
        elif kind is not None:
            verdict = {"rationale": content, kind.decode().strip('"'): 1}
            content = json.dumps(verdict)
        message = {"role": "assistant", "content": content}
        usage = {"prompt_tokens": 600, "completion_tokens": 80, "total_tokens": 680}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        answer = {"id": "chatcmpl-1", "object": "chat.completion", "choices": [choice]}
        body = json.dumps({**answer, "usage": usage}).encode()
        head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\n"
        made.append(f"{head}content-type: application/json\r\n\r\n".encode() + body)
    return cycle(made)


class _Connection(asyncio.Protocol):
    """Answers each request once its body is complete, in the role that its schema asks for."""

    replies: Final = {kind: _replies(kind) for kind in (*_KINDS, None)}

    def __init__(self) -> None:
        self._data = b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, end, body = self._data.partition(b"\r\n\r\n")
        if not end:
            return
        size = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(body) < size:
            return
        self._data = b""
        schema = body.partition(b'"response_format"')[2]
        kind = next((kind for kind in _KINDS if kind in schema), None)
        self._transport.write(next(self.replies[kind]))


async def _serve_models() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Connection, "127.0.0.1", 0, backlog=4096)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await server.serve_forever()


@asynccontextmanager
async def model_server() -> AsyncIterator[str]:
    """Run the model server as a process of its own; yield its base_url."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.call_cpu", "--serve-models"), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        yield (await process.stdout.readline()).decode().strip()
    finally:
        process.kill()
        await process.wait()


def _request(seed: int) -> dict[str, Any]:
    rng = random.Random(seed)
    return {
        "task": {
            "description": "A student asks an assistant for help with a task.",
            "goal": _words(rng, 40),
            "reference": _words(rng, 20),
        },
        "prefix": [{"role": "user", "content": _words(rng, 40)}],
        "candidates": [_words(rng, 60) for _ in range(CANDIDATES)],
        "objective": {"metrics": [{"name": name} for name in METRICS]},
        "simulation": {
            "horizon_messages": HORIZON,
            "samples": {"max": SAMPLES},
            "seed": seed,
            "max_message_tokens": 512,
        },
    }


def _children() -> dict[str, int]:
    """Return the process of each service, by name."""
    found: dict[str, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            words = (folder / "cmdline").read_bytes().decode().split("\0")
        except (FileNotFoundError, ProcessLookupError):
            continue  # It ended meanwhile.
        if parent == os.getpid() and "serve" in words:
            found[words[words.index("serve") + 1]] = int(folder.name)
    return found


def _cpu_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def _run(client: AsyncClient, seeds: Iterator[int], at_once: int) -> int:
    """Compute the rewards of a group for each seed; return how many calls they took."""
    calls = 0

    async def worker() -> None:
        nonlocal calls
        for seed in seeds:
            rewards = await client.send(_request(seed))
            if any(reward.value is None for reward in rewards):
                raise RuntimeError("a candidate was left without a value")
            calls += sum(usage.calls for usage in rewards.usage.models.values())

    await asyncio.gather(*(worker() for _ in range(at_once)))
    return calls


async def measure(rounds: int, groups: int, hold: bool) -> list[dict[str, float]]:
    """Return milliseconds of CPU per call of each service, and calls per second, by round."""
    found: list[dict[str, float]] = []
    async with model_server() as base_url, _services(base_url) as target:
        async with AsyncClient(target) as client:
            await _run(client, iter(range(PROMPTS)), PROMPTS)  # connections, imports and caches
            processes = _children()
            if hold:
                print(json.dumps(processes), flush=True)
            for number in range(rounds):
                first = PROMPTS + number * groups
                seeds = iter(range(first, first + groups))
                before = {name: _cpu_seconds(processes[name]) for name in SERVICES}
                start = time.perf_counter()
                calls = await _run(client, seeds, PROMPTS)
                wall = time.perf_counter() - start
                spent = {
                    name: (_cpu_seconds(processes[name]) - before[name]) / calls * 1e3
                    for name in SERVICES
                }
                expected = groups * CANDIDATES * SAMPLES * (HORIZON + 2)
                found.append(
                    {
                        **spent,
                        "together": sum(spent.values()),
                        "calls_per_second": calls / wall,
                        "repeated_share": calls / expected - 1,
                    }
                )
    return found


@asynccontextmanager
async def _services(base_url: str) -> AsyncIterator[str]:
    """Run the three services with models behind `base_url`; yield the reward service's target."""
    limits = "limits: {max_concurrency: 512}"
    model = f'{{backend: openai, base_url: "{base_url}", model: bench, {limits}}}'
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as config:
        config.write(f"models: {{policy: {model}, user: {model}, judge: {model}}}\n")
        config.flush()
        os.environ["FORESIGHT_CONFIG"] = config.name
        async with three_processes() as target:
            yield target


def main() -> None:
    """Measure, print a table, and keep the numbers if asked."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--groups", type=int, default=4 * PROMPTS, help="groups in each round")
    parser.add_argument("--json", type=Path, help="file to write the numbers to")
    parser.add_argument("--processes", action="store_true", help="tell the services' processes")
    parser.add_argument("--serve-models", action="store_true", help="be the model server")
    arguments = parser.parse_args()
    if arguments.serve_models:
        uvloop.run(_serve_models())
        return
    found = uvloop.run(measure(arguments.rounds, arguments.groups, arguments.processes))
    calls = PROMPTS * CANDIDATES * SAMPLES * (HORIZON + 2)
    print(
        f"CPU for one LLM call, median of {arguments.rounds} x {arguments.groups} groups"
        f" ({calls} calls a batch), {os.cpu_count()} cores, Python {platform.python_version()}"
    )
    for name in found[0]:
        values = [round_[name] for round_ in found]
        print(f"{name:18} {statistics.median(values):9.3f} {min(values):9.3f} {max(values):9.3f}")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
