"""A process with a store of its own, for tests that kill it.

python -m tests.cache.worker URL_OR_FOLDER put FIRST       stores values for ever, telling each
python -m tests.cache.worker URL_OR_FOLDER hold SECONDS    renews a lease for ever
python -m tests.cache.worker URL_OR_FOLDER fly SECONDS     makes a value when it is sent a line,
                                                           under a lease, and tells it
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
from collections.abc import AsyncGenerator

from foresight_services.cache.opening import open_cache
from foresight_services.config.cache import CacheConfig
from foresight_services.core.cache import CacheKey, CacheStore
from foresight_services.core.landed import Made
from foresight_services.core.single_flight import SingleFlight
from tests.cache.recording import Recorder, key, keys


class Monotonic:
    """Implements the port `Clock`."""

    def now(self) -> float:
        return time.monotonic()


def value_of(number: int) -> bytes:
    """Return the value of a number's key."""
    return random.Random(number).randbytes(2000)


class Plain:
    """Implements the port `EntryCodec` for bytes."""

    def encode(self, value: bytes) -> bytes:
        return value

    def decode(self, stored: bytes) -> bytes:
        return stored


def flights(store: CacheStore, lease_seconds: float) -> SingleFlight[bytes]:
    """Return flights of bytes over `store`."""
    return SingleFlight(
        store, Plain(), is_personal=lambda error: False, lease_seconds=lease_seconds
    )


async def fly(store: CacheStore, lease_seconds: float) -> None:
    async def work(keys: tuple[CacheKey, ...]) -> AsyncGenerator[Made[bytes], None]:
        print("making", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        for one in keys:
            yield Made(one, b"the first owner's", True)

    own = flights(store, lease_seconds)
    passenger = own.board(keys(0), work)
    landed = await passenger.next()
    await passenger.leave()
    await own.close()
    await store.close()
    assert landed.value is not None
    print(landed.value.decode(), flush=True)


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
        while True:
            # Where the machine was busy for longer than the lease, it is won again.
            assert await store.acquire_many(keys(0), "worker", ttl) == set(keys(0))
            print("held", flush=True)
            while await store.renew_many(keys(0), "worker", ttl):
                print("renewed", flush=True)
                await asyncio.sleep(ttl / 4)
    if what == "fly":
        await fly(store, float(number))
        assert not recorder.faults, recorder.faults
        return
    done = int(number)
    while True:
        await store.put_many({key(done): value_of(done)})
        assert not recorder.faults, recorder.faults
        print(done, flush=True)
        done += 1


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
