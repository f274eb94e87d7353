"""What Redis holds or sends that was not stored is never taken for a value."""

from __future__ import annotations

import asyncio
import random

import pytest

from tests.cache.recording import key, keys, redis_cache
from tests.cache.trouble import LONG, NO_PAUSE, until_it_works
from tests.fakes.fault_proxy import fault_proxy


@pytest.mark.parametrize("rate", [0.02, 0.5])
@pytest.mark.parametrize("seed", range(4))
async def test_garbled_answers_are_never_values(shared_server, recorder, seed, rate):
    rng = random.Random(seed)

    def garble(data: bytes) -> bytes:
        if rng.random() > rate:
            return data
        place = rng.randrange(len(data))
        match rng.randrange(4):
            case 0:
                return data[:place] + bytes([rng.randrange(256)]) + data[place + 1 :]
            case 1:
                return data[:place]
            case 2:
                return data[:place] + rng.randbytes(9) + data[place:]
            case _:
                return rng.randbytes(len(data))

    values = {key(n): rng.randbytes(500 + n) for n in range(40)}
    async with fault_proxy(shared_server.port) as proxy:
        url = f"redis://127.0.0.1:{proxy.port}"
        settings = {"timeout_seconds": 0.2}
        store = redis_cache(url, recorder, settings=settings, outage=NO_PAUSE)
        await store.put_many(values)
        proxy.change = garble

        async def load(seed: int) -> None:
            own = random.Random(seed)
            for _ in range(20):
                asked = own.sample(list(values), 8)
                await store.put_many({one: values[one] for one in asked[:2]})
                for one, found in zip(asked, await store.get_many(asked), strict=True):
                    assert found in (None, values[one])
                await store.acquire_many(asked, f"owner-{seed}", 0.01)
                await store.wait_any(asked, 0.001)

        await asyncio.gather(*(load(n) for n in range(6)))
        proxy.change = None
        proxy.drop()
        await until_it_works(store)
        await store.close()
    assert recorder.faults and "unexpected" not in recorder.faults


async def test_foreign_data_is_a_miss_and_counted(shared_server, recorder):
    store = redis_cache(shared_server.url, recorder)
    for number, value in enumerate((b"", b"hello", b"\x01" * 100, b"\x80\x04pickle.")):
        shared_server.ask("SET", store._name(key(number)), value)
    shared_server.ask("LPUSH", store._name(key(9)), "a list")
    shared_server.ask("LPUSH", store._name(key(8)) + b":lease", "a list")
    await store.put_many({key(7): b"value"})
    found = await store.get_many(keys(0, 1, 2, 3, 9, 7))
    assert list(found) == [None] * 5 + [b"value"]
    assert recorder.faults == {"garbage": 1}
    assert await store.acquire_many(keys(8), "me", LONG) == set(keys(8))
    await store.put_many({key(9): b"value"})
    assert list(await store.get_many(keys(9))) == [b"value"]
    await store.close()


async def test_a_value_under_another_key_is_no_value(shared_server, recorder):
    store = redis_cache(shared_server.url, recorder)
    await store.put_many({key(1): b"one", key(2): b"two"})
    other = shared_server.ask("GET", store._name(key(2)))
    shared_server.ask("SET", store._name(key(1)), other)
    assert list(await store.get_many(keys(1, 2))) == [None, b"two"]
    await store.close()
