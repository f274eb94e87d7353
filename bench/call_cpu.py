"""Measure the CPU that Foresight spends on one LLM call: each service, gRPC and all in all.

The three services run as real processes on loopback, against a model server that answers at once.
GRPO batches (16 prompts x 8 candidates x 3 futures x 4 messages; accuracy, interactivity and
token_amount) ask for 18 calls per reward: 12 turns, 6 verdicts. CPU is user and system time of each
service's process, all its threads included, read from /proc; the client and the model server are
not in it. Every request has a seed of its own, so nothing comes from the cache. `--redis` adds what
a Redis does for a future where the cache is there. Bytes on the network are all that passed over
loopback, client and models included: the least round is the one that others disturbed least.

    python -m bench.call_cpu --rounds 3 [--redis] [--out FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import uvloop

from bench import redis_use
from bench.deployment import three_processes
from bench.instant_models import model_server, words
from bench.side_by_side.report import machine
from foresight import AsyncClient
from tests.fakes.redis_server import RedisServer, redis_server

CANDIDATES: Final = 8
SAMPLES: Final = 3
HORIZON: Final = 4
PROMPTS: Final = 16
SERVICES: Final = ("reward", "simulator", "evaluator")
METRICS: Final = ("accuracy", "interactivity", "token_amount")
VERDICTS: Final = 2
"""Metrics that ask a judge."""


def _request(seed: int) -> dict[str, Any]:
    rng = random.Random(seed)
    return {
        "task": {
            "description": "A student asks an assistant for help with a task.",
            "goal": words(rng, 40),
            "reference": words(rng, 20),
        },
        "prefix": [{"role": "user", "content": words(rng, 40)}],
        "candidates": [words(rng, 60) for _ in range(CANDIDATES)],
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


async def measure(
    rounds: int, groups: int, hold: bool, redis: RedisServer | None
) -> list[dict[str, float]]:
    """Return what each round came to: ms of CPU per call of each service, rates, what Redis did."""
    found: list[dict[str, float]] = []
    async with model_server() as base_url, _services(base_url, redis) as target:
        async with AsyncClient(target) as client:
            await _run(client, iter(range(PROMPTS)), PROMPTS)  # connections, imports and caches
            processes = _children()
            if hold:
                print(json.dumps(processes), flush=True)
            for number in range(rounds):
                first = PROMPTS + number * groups
                seeds = iter(range(first, first + groups))
                before = {name: _cpu_seconds(processes[name]) for name in SERVICES}
                used = None if redis is None else redis_use.read(redis)
                bytes_before, start = _loopback_bytes(), time.perf_counter()
                calls = await _run(client, seeds, PROMPTS)
                wall, passed = time.perf_counter() - start, _loopback_bytes() - bytes_before
                spent = {
                    name: (_cpu_seconds(processes[name]) - before[name]) / calls * 1e3
                    for name in SERVICES
                }
                futures = groups * CANDIDATES * SAMPLES
                round_ = {
                    **spent,
                    "together": sum(spent.values()),
                    "calls_per_second": calls / wall,
                    "repeated_share": calls / (futures * (HORIZON + VERDICTS)) - 1,
                    "calls_per_future": calls / futures,
                    "network_bytes_per_future": passed / futures,
                }
                if redis is not None and used is not None:
                    round_ |= redis_use.read(redis).since(used, futures)
                found.append(round_)
    return found


def _loopback_bytes() -> int:
    """Return the bytes that were sent on loopback, by whomever."""
    for line in Path("/proc/net/dev").read_text().splitlines():
        name, _, numbers = line.partition(":")
        if name.strip() == "lo":
            return int(numbers.split()[8])
    raise RuntimeError("the system has no loopback")


@asynccontextmanager
async def _services(base_url: str, redis: RedisServer | None) -> AsyncIterator[str]:
    """Run the three services with models behind `base_url`; yield the reward service's target."""
    limits = "limits: {max_concurrency: 512}"
    model = f'{{backend: openai, base_url: "{base_url}", model: bench, {limits}}}'
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as config:
        config.write(f"models: {{policy: {model}, user: {model}, judge: {model}}}\n")
        if redis is not None:
            config.write(f'cache: {{url: "{redis.url}"}}\n')
        config.flush()
        os.environ["FORESIGHT_CONFIG"] = config.name
        async with three_processes() as target:
            yield target


def main() -> None:
    """Measure, print a table, and keep the numbers if asked."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--groups", type=int, default=4 * PROMPTS, help="groups in each round")
    parser.add_argument("--redis", action="store_true", help="keep all in a Redis of its own")
    parser.add_argument("--out", "--json", type=Path, help="file to write the numbers to")
    parser.add_argument("--processes", action="store_true", help="tell the services' processes")
    arguments = parser.parse_args()
    with ExitStack() as stack:
        redis = None
        if arguments.redis:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            redis = stack.enter_context(redis_server(Path(folder)))
        work = measure(arguments.rounds, arguments.groups, arguments.processes, redis)
        found = uvloop.run(work)
    calls = PROMPTS * CANDIDATES * SAMPLES * (HORIZON + VERDICTS)
    print(
        f"CPU for one LLM call, median of {arguments.rounds} x {arguments.groups} groups"
        f" ({calls} calls a batch), {os.cpu_count()} cores, Python {platform.python_version()}"
    )
    for name in found[0]:
        values = [round_[name] for round_ in found]
        median = statistics.median(values)
        print(f"{name:28} {median:11.3f} {min(values):11.3f} {max(values):11.3f}")
    if arguments.out is not None:
        whole = {
            "machine": dict(machine(None)),
            "turns": HORIZON,
            "verdicts": VERDICTS,
            "redis": redis is not None,
            "rounds": found,
        }
        arguments.out.write_text(json.dumps(whole, indent=2) + "\n")


if __name__ == "__main__":
    main()
