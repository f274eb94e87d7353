"""Measure what workers add: futures per second with 1 and 2 workers.

`all` is everything in each worker; the others are three services, the evaluator with one worker.
The builtin world 20 Questions, as in `bench.throughput`, but without any cache, from clients that
have a connection each. Every round starts the services anew, so that each has its own luck with how
the system spreads connections. The load generator runs on the same machine: on two cores it takes
some of what a second worker could have, three services are three processes already, and the table
says how busy the machine was.

    python -m bench.workers --rounds 3 --groups 60
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import foresight
from bench.deployment import serving
from bench.throughput import CANDIDATES, HORIZON, SAMPLES
from foresight_services.worlds.twenty_questions import opening_message

CLIENTS = 8
"""Clients, each with a connection and one group in flight."""

SETUPS = {
    "all, 1 worker": (0, 1),
    "all, 2 workers": (0, 2),
    "1 simulator, 1 reward": (1, 1),
    "2 simulators, 1 reward": (2, 1),
    "1 simulator, 2 rewards": (1, 2),
    "2 simulators, 2 rewards": (2, 2),
}
"""Workers of the simulator, 0 where there is none of its own, and of the reward service."""


@asynccontextmanager
async def deployed(simulators: int, rewards: int) -> AsyncIterator[str]:
    """Run the services; yield where rewards are computed."""
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        config = Path(folder) / "foresight.yaml"
        config.write_text(
            f"cache: {{path: {folder}/cache}}\n"
            "services:\n"
            f"  simulator: {{listen: '127.0.0.1:0', metrics: null, workers: {simulators or 1}}}\n"
            f"  reward: {{listen: '127.0.0.1:0', metrics: null, workers: {rewards}}}\n"
        )
        options = ("--config", str(config))
        if not simulators:
            yield await stack.enter_async_context(serving("all", *options))
            return
        simulator = await stack.enter_async_context(serving("simulator", *options))
        evaluator = await stack.enter_async_context(serving("evaluator", *options))
        peers = ("--simulator", simulator, "--evaluator", evaluator)
        yield await stack.enter_async_context(serving("reward", *options, *peers))


async def load(target: str, groups: int, first_seed: int) -> float:
    """Return the futures per second at which `groups` groups are served."""
    seeds = iter(range(first_seed, first_seed + groups))

    async def client() -> None:
        async with foresight.AsyncClient(target) as one:
            for seed in seeds:
                rewards = await one.compute_rewards(
                    task={"preset": "twenty_questions"},
                    prefix=[{"role": "user", "content": opening_message(8)}],
                    candidates=CANDIDATES,
                    simulation={
                        "horizon_messages": HORIZON,
                        "samples": {"max": SAMPLES},
                        "seed": seed,
                    },
                    cache="bypass",
                )
                if None in rewards.values:
                    raise RuntimeError("a candidate was left without a value")

    start = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return groups * len(CANDIDATES) * SAMPLES / (time.perf_counter() - start)


def busy_share(before: list[int], after: list[int]) -> float:
    """Return the share of the machine's time that it was busy between two looks at it."""
    spent = [late - early for early, late in zip(before, after, strict=True)]
    idle = spent[3] + spent[4]
    return 1 - idle / sum(spent)


def machine_time() -> list[int]:
    """Return the machine's time since it started: user, nice, system, idle, waiting, ..."""
    return [int(field) for field in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]


async def measure(rounds: int, groups: int) -> dict[str, dict[str, list[float]]]:
    """Return rates and busy shares of every set-up, one for each round."""
    found: dict[str, dict[str, list[float]]] = {
        name: {"futures_per_second": [], "busy": [], "load_generator_cores": []} for name in SETUPS
    }
    for number in range(rounds):
        for name, (simulators, rewards) in SETUPS.items():
            async with deployed(simulators, rewards) as target:
                await load(target, 2 * CLIENTS, 0)  # warm-up
                machine, own, start = machine_time(), time.process_time(), time.perf_counter()
                rate = await load(target, groups, 1000 * (number + 1))
                own, wall = time.process_time() - own, time.perf_counter() - start
                found[name]["futures_per_second"].append(rate)
                found[name]["busy"].append(busy_share(machine, machine_time()))
                found[name]["load_generator_cores"].append(own / wall)
    return found


def main() -> None:
    """Measure, print a table, and keep the numbers if asked."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--groups", type=int, default=60, help="groups in each round")
    parser.add_argument("--json", type=Path, help="file to write the numbers to")
    arguments = parser.parse_args()
    found = asyncio.run(measure(arguments.rounds, arguments.groups))
    print(
        f"20 Questions, {len(CANDIDATES)} candidates x {SAMPLES} futures x {HORIZON} messages, "
        f"{CLIENTS} clients, {os.cpu_count()} cores shared with the load generator, "
        f"Python {platform.python_version()}"
    )
    columns = ("futures/s", "lowest", "highest", "busy", "load gen.")
    print(f"{'':24}" + "".join(f"{column:>10}" for column in columns))
    for name, numbers in found.items():
        rates = numbers["futures_per_second"]
        busy = statistics.median(numbers["busy"])
        own = statistics.median(numbers["load_generator_cores"])
        print(
            f"{name:24}{statistics.median(rates):10.0f}{min(rates):10.0f}{max(rates):10.0f}"
            f"{busy:10.0%}{own:10.2f}"
        )
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
