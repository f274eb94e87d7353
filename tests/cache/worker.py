"""A process with a store of its own, for tests that kill it.

python -m tests.cache.worker URL_OR_FOLDER put FIRST       stores values for ever, telling each
python -m tests.cache.worker URL_OR_FOLDER hold SECONDS    renews a lease for ever
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time

from foresight_services.cache.opening import open_cache
from foresight_services.config.cache import CacheConfig
from tests.cache.recording import Recorder, key, keys


class Monotonic:
    """Implements the port `Clock`."""

    def now(self) -> float:
        return time.monotonic()


def value_of(number: int) -> bytes:
    """Return the value of a number's key."""
    return random.Random(number).randbytes(2000)


async def main(place: str, what: str, number: str) -> None:
    config = (
        CacheConfig(url=place, timeout_ms=10_000) if "://" in place else CacheConfig(path=place)
    )
    recorder = Recorder()
    store = await open_cache(
        config,
        environment=os.environ,
        clock=Monotonic(),
        rng=random.Random(),
        observer=recorder,
    )
    if what == "hold":
        ttl = float(number)
        assert await store.acquire_many(keys(0), "worker", ttl) == set(keys(0))
        while True:
            print("held", flush=True)
            await asyncio.sleep(ttl / 4)
            assert await store.renew_many(keys(0), "worker", ttl) == set(keys(0))
    done = int(number)
    while True:
        await store.put_many({key(done): value_of(done)})
        assert not recorder.faults, recorder.faults
        print(done, flush=True)
        done += 1


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
