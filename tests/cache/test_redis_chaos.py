"""Requests go on without Redis, whatever happens to it, and with it once it is back."""

from __future__ import annotations

import asyncio
import random
from functools import partial
from typing import Any

from foresight_services.core.cache import Lifetime
from tests.cache.recording import key, keys, redis_cache
from tests.cache.trouble import LONG, NO_PAUSE, until_it_works, works
from tests.fakes.fault_proxy import fault_proxy
from tests.fakes.redis_server import free_port
from tests.fakes.waiting import eventually


async def eventually_got(store, number: int) -> None:
    async with asyncio.timeout(60):
        while None in await store.get_many(keys(number)):  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)


async def test_a_server_that_is_not_there_is_a_miss(recorder):
    store = redis_cache(f"redis://127.0.0.1:{free_port()}", recorder)
    for _ in range(7):
        assert list(await store.get_many(keys(1, 2))) == [None, None]
    assert await store.acquire_many(keys(1, 2), "me", LONG) == set(keys(1, 2))
    assert await store.renew_many(keys(1), "me", LONG) == set(keys(1))
    await store.release_many(keys(1), "me")
    assert await store.wait_any(keys(1), LONG) == set(keys(1))
    await store.close()
    assert recorder.faults["connection"] >= 5
    assert recorder.bypasses["outage"] >= 4 + 2 + 1 + 1 + 1
    assert recorder.misses == 14


async def test_killed_and_started_again(own_server, recorder):
    store = redis_cache(own_server.url, recorder, outage=NO_PAUSE)
    assert await works(store, 1)
    own_server.kill()
    for _ in range(5):
        assert list(await store.get_many(keys(1))) == [None]
    assert await store.acquire_many(keys(1), "me", LONG) == set(keys(1))
    own_server.start()
    await until_it_works(store)
    assert list(await store.get_many(keys(1))) == [None]
    await store.close()
    assert set(recorder.faults) == {"connection"}


async def test_killed_in_the_middle_of_load(own_server, recorder):
    store = redis_cache(own_server.url, recorder, outage=NO_PAUSE)
    values = {key(n): bytes([n]) * 2000 for n in range(50)}
    stop = False

    async def load(seed: int) -> None:
        rng = random.Random(seed)
        while not stop:
            asked = rng.sample(list(values), 10)
            if rng.random() < 0.5:
                await store.put_many({one: values[one] for one in asked})
            for one, found in zip(asked, await store.get_many(asked), strict=True):
                assert found in (None, values[one])
            await asyncio.sleep(0)

    def more_hits(before: int) -> bool:
        return recorder.hits > before

    def more_faults(before: int) -> bool:
        return recorder.faults["connection"] > before

    async with asyncio.TaskGroup() as tasks:
        for seed in range(16):
            tasks.create_task(load(seed))
        for _ in range(3):
            await eventually(partial(more_hits, recorder.hits + 500))
            failed = recorder.faults["connection"]
            own_server.kill()
            await eventually(partial(more_faults, failed))
            await asyncio.to_thread(own_server.start)
        await eventually(partial(more_hits, recorder.hits + 500))
        stop = True
    await store.close()
    assert set(recorder.faults) == {"connection"}


async def test_a_pause_ends_with_an_attempt(own_server, recorder):
    store = redis_cache(own_server.url, recorder, outage={"failures": 2, "pause_seconds": LONG})
    assert await works(store, 1)
    own_server.kill()
    for _ in range(5):
        await store.get_many(keys(1))
    assert (recorder.faults["connection"], recorder.bypasses["outage"]) == (2, 3)
    own_server.start()
    await store.get_many(keys(1))
    assert recorder.bypasses["outage"] == 4
    await store.close()


async def test_flushed(own_server, recorder):
    store = redis_cache(own_server.url, recorder)
    await store.put_many({key(1): b"value"})
    await store.acquire_many(keys(2), "me", LONG)
    waits = asyncio.create_task(store.wait_any(keys(2), LONG))
    await eventually(lambda: recorder.calls["watch"] > 0)
    own_server.ask("FLUSHALL")
    assert list(await store.get_many(keys(1))) == [None]
    assert await waits == set(keys(2))  # no message told of it
    assert await store.renew_many(keys(2), "me", LONG) == set()
    assert await store.acquire_many(keys(2), "heir", LONG) == set(keys(2))
    await store.close()
    assert not recorder.faults


async def test_full(own_server, recorder):
    store = redis_cache(own_server.url, recorder)
    await store.put_many({key(1): b"value"})
    own_server.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")
    own_server.ask("CONFIG", "SET", "maxmemory", "1mb")
    own_server.ask("CONFIG", "SET", "maxmemory", "100")
    for number in range(2, 12):
        await store.put_many({key(number): b"value"})
        assert list(await store.get_many(keys(1, number))) == [b"value", None]
        assert await store.acquire_many(keys(number), "me", LONG) == set(keys(number))
    own_server.ask("CONFIG", "SET", "maxmemory", "0")
    assert await works(store, 2)
    await store.close()
    assert recorder.entries == 2
    assert recorder.faults == {"full": 20}


async def test_eviction_bounds_it(own_server, recorder):
    store = redis_cache(own_server.url, recorder)
    memory: Any = own_server.ask("INFO", "memory")
    used = memory["used_memory"]
    own_server.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    own_server.ask("CONFIG", "SET", "maxmemory", used + 2**20)
    for number in range(400):
        await store.put_many({key(number): random.Random(number).randbytes(10_000)})
    kept = sum(v is not None for v in await store.get_many(keys(*range(400))))
    await store.close()
    assert 0 < kept < 110
    assert not recorder.faults


async def test_a_server_that_hangs_costs_the_time_limit_and_no_more(own_server, recorder):
    settings = {"timeout_seconds": 0.05, "at_once": 2}
    store = redis_cache(own_server.url, recorder, settings=settings, outage=NO_PAUSE)
    await until_it_works(store)
    recorder.faults.clear()
    own_server.hang()
    # All of them end although the server says nothing, also those without a place.
    many = [store.get_many(keys(n)) for n in range(20)]
    assert await asyncio.gather(*many) == [[None]] * 20
    assert await store.acquire_many(keys(1), "me", LONG) == set(keys(1))
    assert set(recorder.faults) == {"timeout"}
    own_server.go_on()
    await until_it_works(store)
    await store.close()


async def test_paused_writes_are_dropped_and_reads_go_on(own_server, recorder):
    settings = {"timeout_seconds": 0.2}
    store = redis_cache(own_server.url, recorder, settings=settings, outage=NO_PAUSE)
    await until_it_works(store, 1)
    recorder.faults.clear()
    own_server.ask("CLIENT", "PAUSE", 3_600_000, "WRITE")
    await store.put_many({key(2): b"value"})
    assert recorder.faults == {"timeout": 1}
    await eventually_got(store, 1)
    own_server.ask("CLIENT", "UNPAUSE")
    await until_it_works(store)
    await store.close()


async def test_a_waiter_is_let_go_when_the_server_hangs(shared_server, recorder):
    async with fault_proxy(shared_server.port) as proxy:
        settings = {"timeout_seconds": 0.1, "poll_seconds": 0.01}
        store = redis_cache(f"redis://127.0.0.1:{proxy.port}", recorder, settings=settings)
        await until_it_works(store)
        await store.acquire_many(keys(1), "me", LONG)
        waits = asyncio.create_task(store.wait_any(keys(1), LONG))
        await eventually(lambda: recorder.calls["watch"] > 0)
        proxy.stall()
        assert await waits == set(keys(1))
        await store.close()


async def test_a_message_that_is_lost_is_made_up_for(shared_server, recorder):
    prefix = f"lost-{random.SystemRandom().getrandbits(64):x}"
    settings = {"poll_seconds": 0.02}
    deaf = redis_cache(shared_server.url, recorder, prefix=prefix, settings=settings)
    await deaf.acquire_many(keys(1, 2), "me", LONG)
    waits = [asyncio.create_task(deaf.wait_any(keys(n), LONG)) for n in (1, 2)]
    await deaf._news.listening.wait()
    # Stored and released as by a replica whose message never comes.
    name = deaf._name(key(1))
    shared_server.ask("SET", name, b"anything")
    shared_server.ask("DEL", deaf._name(key(2)) + b":lease")
    assert await asyncio.gather(*waits) == [set(keys(1)), set(keys(2))]
    await deaf.close()


async def test_a_subscription_that_ends_is_made_again(own_server, recorder):
    prefix = "again"
    async with fault_proxy(own_server.port) as proxy:
        url = f"redis://127.0.0.1:{proxy.port}"
        settings = {"poll_seconds": LONG}
        store = redis_cache(url, recorder, prefix=prefix, settings=settings, outage=NO_PAUSE)
        other = redis_cache(own_server.url, recorder, prefix=prefix)
        await store.acquire_many(keys(1), "me", LONG)
        waits = asyncio.create_task(store.wait_any(keys(1), LONG))
        await store._news.listening.wait()
        proxy.drop()
        await eventually(lambda: not store._news.listening.is_set())
        await store._news.listening.wait()
        await other.put_many({key(1): b"value"})
        assert await waits == set(keys(1))
        await store.close()
        await other.close()


async def test_lifetimes_differ_within_the_jitter(shared_server, recorder):
    lifetime = Lifetime(1000.0, 0.5)
    store = redis_cache(shared_server.url, recorder, lifetime=lifetime)
    await store.put_many({key(n): b"value" for n in range(100)})
    left = [shared_server.ask("PTTL", store._name(key(n))) for n in range(100)]
    assert len(set(left)) > 90
    assert 400_000 < min(left) < 700_000 < max(left) <= 1_000_000
    await store.close()
