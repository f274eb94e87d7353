"""The store in this process: bounded, with lifetimes and leases that end when they should."""

from __future__ import annotations

import asyncio
import random

import pytest

from foresight_services.cache.memory import ENTRY_BYTES, MemoryCache
from foresight_services.core.cache import Lifetime
from tests.cache.recording import key, keys
from tests.fakes.virtual_time import settle, virtual_time


def store_of(recorder, clock, *, max_bytes: int = 2**20, jitter: float = 0.0) -> MemoryCache:
    return MemoryCache(
        max_bytes=max_bytes,
        lifetime=Lifetime(100.0, jitter),
        clock=clock,
        rng=random.Random(0),
        observer=recorder,
    )


async def test_the_one_used_least_recently_goes_first(recorder):
    with virtual_time() as clock:
        store = store_of(recorder, clock, max_bytes=3 * (100 + ENTRY_BYTES))
        await store.put_many({key(n): bytes(100) for n in (1, 2, 3)})
        await store.get_many(keys(1))
        await store.put_many({key(4): bytes(100)})
        found = await store.get_many(keys(1, 2, 3, 4))
        assert [value is not None for value in found] == [True, False, True, True]
        await store.put_many({key(5): bytes(100 + ENTRY_BYTES + 100)})
        found = await store.get_many(keys(1, 3, 4, 5))
        assert [value is not None for value in found] == [False, False, True, True]
        assert store.size == 3 * (100 + ENTRY_BYTES)
        await store.close()


async def test_many_values_stay_within_the_bound(recorder):
    rng = random.Random(0)
    with virtual_time() as clock:
        store = store_of(recorder, clock, max_bytes=50_000)
        for _ in range(500):
            entries = {key(rng.randrange(100)): bytes(rng.randrange(3000)) for _ in range(5)}
            await store.put_many(entries)
            assert store.size <= 50_000
            held = [v for v in await store.get_many(keys(*range(100))) if v is not None]
            assert store.size == sum(len(value) + ENTRY_BYTES for value in held)
        await store.close()


async def test_a_value_larger_than_the_store_leaves_the_others(recorder):
    with virtual_time() as clock:
        store = store_of(recorder, clock, max_bytes=1000)
        await store.put_many({key(1): b"value"})
        await store.put_many({key(2): bytes(1000)})
        assert list(await store.get_many(keys(1, 2))) == [b"value", None]
        await store.close()
    assert recorder.bypasses == {"too_large": 1}


async def test_values_end_with_their_lifetime(recorder):
    with virtual_time() as clock:
        store = store_of(recorder, clock, jitter=0.5)
        await store.put_many({key(n): b"value" for n in range(100)})
        await asyncio.sleep(49.9)
        assert None not in await store.get_many(keys(*range(100)))
        await asyncio.sleep(25.0)
        left = sum(value is not None for value in await store.get_many(keys(*range(100))))
        assert 25 < left < 75
        await asyncio.sleep(25.2)
        assert set(await store.get_many(keys(*range(100)))) == {None}
        assert store.size == 0
        await store.close()


async def test_a_waiter_is_told_the_moment_a_lease_ends(recorder):
    with virtual_time() as clock:
        store = store_of(recorder, clock)
        start = clock.now()
        await store.acquire_many(keys(1), "me", 10.0)
        waits = asyncio.create_task(store.wait_any(keys(1), 1000.0))
        for _ in range(3):
            await asyncio.sleep(8.0)
            assert await store.renew_many(keys(1), "me", 10.0) == set(keys(1))
        assert await waits == set(keys(1))
        assert clock.now() - start == pytest.approx(34.0, abs=0.01)
        await store.close()


async def test_a_wait_takes_its_time_and_no_longer(recorder):
    with virtual_time() as clock:
        store = store_of(recorder, clock)
        await store.acquire_many(keys(1), "me", 50.0)
        start = clock.now()
        assert await store.wait_any(keys(1), 5.0) == set()
        assert clock.now() - start == pytest.approx(5.0)
        await store.close()


async def test_no_task_is_left_when_nobody_waits(recorder):
    with virtual_time() as clock:
        store = store_of(recorder, clock)
        await store.acquire_many(keys(1), "me", 50.0)
        waits = asyncio.create_task(store.wait_any(keys(1), 50.0))
        await settle()
        waits.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waits
        await settle()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        await store.close()
