"""Measure the stores: a group's futures read at once, and what an entry takes.

A group is 8 candidates with 3 futures each. Every future is a conversation of the builtin shopper's
kind in words, about 3 KB with its framing; conversations differ from one another. Reads are made
one after the other (latency) and by several callers (rate).

    python -m bench.cache --seconds 3
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import platform
import random
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import uvloop

from foresight_services.bootstrap import MonotonicClock
from foresight_services.cache.envelope import Envelope
from foresight_services.cache.opening import open_cache
from foresight_services.config.cache import CacheConfig
from foresight_services.core.cache import CacheKey, CacheStore, UnobservedCache
from tests.fakes.redis_server import redis_server

FUTURES = 24
GROUPS = 200
CALLERS = 8
WORDS = """I am still not sure what you mean by the second step could you please explain why the
value of the function has to be positive before we take the square root of both sides because in my
notes there is another example where they multiply first and then subtract the constant term which
gave me a different answer than yours so maybe I made a mistake somewhere let me write down what I
have so far and then tell me whether that looks right to you thanks for being patient with me sure
no problem here is how to see it first bring every term to one side of the equation then factor the
polynomial into two brackets each of which may be zero and check both solutions against the original
condition only one of them satisfies it therefore the answer is unique Does that help or shall we go
through a similar exercise together""".split()


def conversation(rng: random.Random, size: int) -> bytes:
    """Return messages of about `size` bytes in all, as a future stores them."""
    parts, total = list[str](), 0
    while total < size:
        words = rng.choices(WORDS, k=rng.randrange(30, 120))
        text = f'{{"role": "user", "content": "{" ".join(words)} {rng.random():.6f}."}}'
        parts.append(text)
        total += len(text)
    return "\n".join(parts).encode()


def key(number: int) -> CacheKey:
    """Return a key."""
    return CacheKey("future", hashlib.sha256(str(number).encode()).digest())


@asynccontextmanager
async def opened(**config: object) -> AsyncIterator[CacheStore]:
    """Open a store; time limits are long, so that a busy machine costs time and no hits."""
    store = await open_cache(
        CacheConfig(timeout_ms=5000, **config),  # type: ignore[arg-type]
        environment=os.environ,
        clock=MonotonicClock(),
        rng=random.Random(0),
        observer=UnobservedCache(),
    )
    try:
        yield store
    finally:
        await store.close()


async def read(store: CacheStore, group: Sequence[CacheKey]) -> float:
    """Return the seconds that reading a group takes."""
    start = time.perf_counter()
    values = await store.get_many(group)
    taken = time.perf_counter() - start
    if None in values:
        raise RuntimeError("a value is missing")
    return taken


async def measure(name: str, store: CacheStore, seconds: float) -> str:
    """Return a row of the table."""
    rng = random.Random(0)
    groups = [[key(n * FUTURES + i) for i in range(FUTURES)] for n in range(GROUPS)]
    start = time.perf_counter()
    for group in groups:
        await store.put_many({one: conversation(rng, 3000) for one in group})
    put = (time.perf_counter() - start) / GROUPS
    alone, cpu = list[float](), time.process_time()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        alone.append(await read(store, rng.choice(groups)))
    cpu = (time.process_time() - cpu) / len(alone)
    count, end = 0, time.perf_counter() + seconds

    async def caller() -> None:
        nonlocal count
        while time.perf_counter() < end:
            await read(store, rng.choice(groups))
            count += 1
            await asyncio.sleep(0)

    begin = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    rate = count / (time.perf_counter() - begin)
    alone.sort()
    p99 = alone[int(len(alone) * 0.99)]
    return (
        f"{name:14} {statistics.median(alone) * 1e3:8.3f} {p99 * 1e3:8.3f} {cpu * 1e3:8.3f} "
        f"{rate:9.0f} {rate * 8:10.0f} {put * 1e3:12.3f}"
    )


async def latencies(seconds: float) -> None:
    """Print how fast each store is."""
    print(f"{FUTURES} futures of 3 KB at once; ms; rates with {CALLERS} callers, one process")
    print(
        f"{'store':14} {'p50':>8} {'p99':>8} {'cpu':>8} {'groups/s':>9} {'rewards/s':>10}", end=""
    )
    print(f" {'make + put':>12}")
    with tempfile.TemporaryDirectory() as folder, redis_server(Path(folder)) as server:
        places: dict[str, dict[str, object]] = {
            "memory": {},
            "disk": {"path": f"{folder}/cache"},
            "redis, TCP": {"url": server.url},
            "redis, unix": {"url": f"unix://{server.socket_path}"},
            "redis, plain": {"url": server.url, "compress_above_bytes": 10**9, "key_prefix": "p"},
        }
        for name, place in places.items():
            async with opened(**place) as store:
                print(await measure(name, store, seconds), flush=True)
        for prefix in ("foresight", "p"):
            found = server.ask("MEMORY", "USAGE", f"{prefix}:future:{{{key(5).digest.hex()}}}")
            print(f"Redis takes {found} bytes for one entry of {prefix!r}")


def sizes() -> None:
    """Print what an entry takes by the length of its conversation."""
    rng = random.Random(1)
    packed, plain = Envelope(compress_above_bytes=512), Envelope(compress_above_bytes=10**9)
    print(f"{'conversation':>12} {'plain':>8} {'zstd':>8} {'share':>6}", end="")
    print(f" {'pack µs':>8} {'unpack µs':>9}")
    for size in (300, 1000, 3000, 10_000, 30_000, 100_000):
        values = [conversation(rng, size) for _ in range(100)]
        start = time.process_time()
        small = [packed.pack(key(n), value) for n, value in enumerate(values)]
        middle = time.process_time()
        for n, stored in enumerate(small):
            packed.unpack(key(n), stored)
        end = time.process_time()
        full = sum(len(plain.pack(key(0), value)) for value in values) // 100
        less = sum(len(stored) for stored in small) // 100
        times = f"{(middle - start) * 1e4:8.1f} {(end - middle) * 1e4:9.1f}"
        print(f"{size:12} {full:8} {less:8} {less / full:6.2f} {times}")


def main() -> None:
    """Measure and print tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=3.0)
    arguments = parser.parse_args()
    print(f"{os.cpu_count()} cores, Python {platform.python_version()}, uvloop")
    sizes()
    uvloop.run(latencies(arguments.seconds))


if __name__ == "__main__":
    main()
