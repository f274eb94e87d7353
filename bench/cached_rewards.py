"""Cached rewards through the whole service: latency of one candidate, rewards per second in groups.

Every request was answered once before it is measured, so no model is asked: what is measured is the
client, gRPC, the reward service and its cache. The judge and all else are rules of 20 Questions.
A request that is the same as a whole is answered as a whole; one that wants the futures' texts, as
one that was asked with other weights, is put together from futures and scores.

    python -m bench.cached_rewards
"""

from __future__ import annotations

import asyncio
import json
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from bench.deployment import serving
from foresight import AsyncClient
from tests.fakes.redis_server import redis_server

RESULTS: Final = Path(__file__).parent / "results" / "cached_rewards.json"
GAME: Final = "Let's play 20 Questions! I'm thinking of a thing. You have 20 turns."
CANDIDATES: Final = ("Is it alive?", "Can it fly?", "Is it made by people?", "Is it a dog?")
GROUP: Final = 8
ONE: Final = 1_000
GROUPS: Final = 200
AT_ONCE: Final = 8


def request(seed: int, candidates: int, texts: bool) -> dict[str, Any]:
    """Return a request: 3 futures of 4 messages for each candidate, 3 metrics."""
    said = [f"{CANDIDATES[n % 4]}{' ' * (n // 4)}" for n in range(candidates)]
    return {
        "task": {"preset": "twenty_questions"},
        "prefix": [{"role": "user", "content": GAME}],
        "candidates": said,
        "include_futures": texts,
        "simulation": {"horizon_messages": 4, "samples": {"max": 3}, "seed": seed},
    }


async def measure(client: AsyncClient, *, texts: bool) -> dict[str, float]:
    """Return latencies in ms and rewards per second of requests that are all cached."""
    single = [request(seed, 1, texts) for seed in range(50)]
    groups = [request(1_000 + seed, GROUP, texts) for seed in range(25)]
    for asked in (*single, *groups):
        await client.send(asked)
    seconds = []
    for n in range(ONE):
        start = time.perf_counter()
        rewards = await client.send(single[n % len(single)])
        seconds.append(time.perf_counter() - start)
        assert rewards.cache.futures.computed == rewards.cache.scores.computed == 0
    left = iter(range(GROUPS))

    async def ask() -> None:
        for n in left:
            await client.send(groups[n % len(groups)])

    start = time.perf_counter()
    await asyncio.gather(*(ask() for _ in range(AT_ONCE)))
    rate = GROUPS * GROUP / (time.perf_counter() - start)
    cuts = statistics.quantiles(seconds, n=100)
    return {"p50_ms": 1e3 * cuts[49], "p99_ms": 1e3 * cuts[98], "rewards_per_second": rate}


async def main() -> None:
    """Measure over memory and over a real Redis, print a table and write it down."""
    found: dict[str, dict[str, float]] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        redis = stack.enter_context(redis_server(folder))
        for name, section in (("memory", "{}"), ("redis", f'{{url: "{redis.url}"}}')):
            config = folder / f"{name}.yaml"
            config.write_text(f"cache: {section}\n")
            async with serving("all", "--config", str(config)) as target:
                async with AsyncClient(target) as client:
                    found[f"{name}, whole"] = await measure(client, texts=False)
                    found[f"{name}, futures"] = await measure(client, texts=True)
    print(f"{'cache':18}{'p50 ms':>10}{'p99 ms':>10}{'rewards/s, groups of 8':>26}")
    for name, row in found.items():
        print(
            f"{name:18}{row['p50_ms']:10.2f}{row['p99_ms']:10.2f}{row['rewards_per_second']:26,.0f}"
        )
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    asyncio.run(main())
