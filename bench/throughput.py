"""Measure futures and rewards per second in the builtin world 20 Questions.

Rules answer in microseconds, so what is measured is Foresight itself: fan-out, scoring, estimation
and, between processes, gRPC. Three set-ups, each in every round: `core` calls the main use case in
this process, on the event loop of the services; `one process` and `three processes` are real
services on loopback, with the client that loads them on the same machine. Medians over the rounds,
and their extremes.

    python -m bench.throughput --rounds 5 --groups 40
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import uvloop

import foresight
from bench.deployment import one_process, three_processes
from foresight_services.bootstrap import (
    MonotonicClock,
    build_evaluator,
    build_models,
    build_rewards,
    build_simulator,
)
from foresight_services.cli.garbage import collect_seldom
from foresight_services.config import Config
from foresight_services.core.conversation import Message
from foresight_services.core.request import RewardQuery
from foresight_services.core.result import CandidateResult
from foresight_services.core.task import Task
from foresight_services.telemetry.prometheus import PrometheusTelemetry
from foresight_services.worlds.twenty_questions import opening_message

CANDIDATES = (
    "Is it alive?",
    "Is it made mostly of metal?",
    "Is it a food?",
    "Can you hold it in one hand?",
    "Is it a bell?",
    "Is it an elephant?",
    "Is it round?",
    "Nice weather today.",
)
SAMPLES = 8
HORIZON = 4
AT_ONCE = 8
"""Groups in flight."""

Group = Callable[[int], Awaitable[int]]
"""Computes the rewards of one group with a seed and returns how many have a value."""


@asynccontextmanager
async def core() -> AsyncIterator[Group]:
    """The main use case in this process, with the telemetry of a real service."""
    config, clock, telemetry = Config(), MonotonicClock(), PrometheusTelemetry()
    rewards = build_rewards(
        config,
        build_simulator(config, clock, telemetry),
        build_evaluator(config, clock, build_models(config, clock, telemetry)),
        clock,
        telemetry,
    )

    async def group(seed: int) -> int:
        query = RewardQuery(
            task=Task(preset="twenty_questions"),
            prefix=(Message("user", opening_message(8)),),
            candidates=CANDIDATES,
            horizon_messages=HORIZON,
            samples_max=SAMPLES,
            seed=seed,
        )
        async with aclosing(rewards.compute(query)) as events:
            return sum([isinstance(e, CandidateResult) async for e in events])

    yield group


@asynccontextmanager
async def over_grpc(target: str) -> AsyncIterator[Group]:
    """A running service, called by the client SDK."""
    async with foresight.AsyncClient(target) as client:

        async def group(seed: int) -> int:
            rewards = await client.compute_rewards(
                task={"preset": "twenty_questions"},
                prefix=[{"role": "user", "content": opening_message(8)}],
                candidates=CANDIDATES,
                simulation={
                    "horizon_messages": HORIZON,
                    "samples": {"max": SAMPLES},
                    "seed": seed,
                },
            )
            return sum(value is not None for value in rewards.values)

        yield group


async def futures_per_second(group: Group, groups: int, first_seed: int) -> float:
    """Return the rate at which `groups` groups, `AT_ONCE` in flight, are served."""
    seeds = iter(range(first_seed, first_seed + groups))

    async def worker() -> None:
        for seed in seeds:
            if await group(seed) != len(CANDIDATES):
                raise RuntimeError("a candidate was left without a value")

    start = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
    return groups * len(CANDIDATES) * SAMPLES / (time.perf_counter() - start)


async def measure(rounds: int, groups: int) -> dict[str, list[float]]:
    """Return the rates of every set-up, one for each round."""
    async with (
        core() as direct,
        one_process() as one,
        three_processes() as three,
        over_grpc(one) as in_one,
        over_grpc(three) as in_three,
    ):
        setups = {"core": direct, "one process": in_one, "three processes": in_three}
        rates: dict[str, list[float]] = {name: [] for name in setups}
        for group in setups.values():
            await futures_per_second(group, AT_ONCE, 0)  # warm-up
        for number in range(rounds):
            for name, group in setups.items():
                rates[name].append(await futures_per_second(group, groups, 1 + number * groups))
    return rates


def main() -> None:
    """Measure, print a table, and keep the numbers if asked."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--groups", type=int, default=40, help="groups in each round")
    parser.add_argument("--json", type=Path, help="file to write the numbers to")
    arguments = parser.parse_args()
    collect_seldom()  # as the services do
    rates = uvloop.run(measure(arguments.rounds, arguments.groups))
    print(
        f"20 Questions, {len(CANDIDATES)} candidates x {SAMPLES} futures x {HORIZON} messages, "
        f"{AT_ONCE} groups in flight, {os.cpu_count()} cores, Python {platform.python_version()}"
    )
    print(f"{'':16} {'futures/s':>10} {'lowest':>8} {'highest':>8} {'rewards/s':>10}")
    for name, found in rates.items():
        median = statistics.median(found)
        print(
            f"{name:16} {median:10.0f} {min(found):8.0f} {max(found):8.0f} {median / SAMPLES:10.0f}"
        )
    if arguments.json is not None:
        arguments.json.write_text(json.dumps({"futures_per_second": rates}, indent=2) + "\n")


if __name__ == "__main__":
    main()
