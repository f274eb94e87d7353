"""Every store keeps the contract of `Cache` and `Leases`."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack

import pytest

from foresight_services.cache.disk import open_disk_cache
from foresight_services.cache.memory import MemoryCache
from foresight_services.cache.redis_access import RedisTls
from foresight_services.core.cache import Lifetime
from tests.cache.certificates import make_certificate
from tests.cache.recording import Recorder, key, keys, redis_cache
from tests.fakes.fault_proxy import fault_proxy
from tests.fakes.redis_server import redis_cluster, redis_sentinels, redis_server
from tests.fakes.virtual_time import LoopClock

KINDS = ("memory", "disk", "redis", "unix", "sentinel", "cluster", "tls")
LONG = 1000.0
"""A time that no test waits for."""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with redis_server(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with redis_cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture(scope="module")
def sentinels(tmp_path_factory):
    with redis_sentinels(tmp_path_factory.mktemp("sentinels")) as (_, running):
        yield running


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return make_certificate(tmp_path_factory.mktemp("tls"), "server")


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
async def open_store(kind, request, tmp_path):
    """Return a function that opens a store; those of one test share their values."""
    prefix = f"test-{random.SystemRandom().getrandbits(64):x}"
    async with AsyncExitStack() as stack:

        async def make(observer, **given):
            lifetime = given.get("lifetime", Lifetime(LONG))
            if kind == "memory":
                return MemoryCache(
                    max_bytes=2**24,
                    lifetime=lifetime,
                    clock=LoopClock(),
                    rng=random.Random(0),
                    observer=observer,
                )
            if kind == "disk":
                return await open_disk_cache(
                    tmp_path / "cache",
                    max_bytes=2**24,
                    lifetime=lifetime,
                    compress_above_bytes=512,
                    clock=LoopClock(),
                    rng=random.Random(0),
                    observer=observer,
                )
            tls = RedisTls()
            if kind == "sentinel":
                nodes = request.getfixturevalue("sentinels")
                url = f"redis+sentinel://{','.join(f'127.0.0.1:{n.port}' for n in nodes)}/main"
            elif kind == "cluster":
                nodes = request.getfixturevalue("cluster")
                url = f"redis+cluster://{','.join(f'127.0.0.1:{n.port}' for n in nodes)}"
            elif kind == "tls":
                certificate = request.getfixturevalue("certificate")
                target = request.getfixturevalue("server").port
                proxy = await stack.enter_async_context(
                    fault_proxy(target, certificate.server(client=certificate))
                )
                url = f"rediss://127.0.0.1:{proxy.port}/0"
                tls = RedisTls(str(certificate.file), str(certificate.file), str(certificate.key))
            else:
                one = request.getfixturevalue("server")
                url = one.url if kind == "redis" else f"unix://{one.socket_path}"
            return redis_cache(url, observer, prefix=prefix, tls=tls, lifetime=lifetime)

        async def opened(observer=None, **given):
            store = await make(observer or Recorder(), **given)
            stack.push_async_callback(store.close)
            return store

        yield opened


@pytest.fixture
def recorder():
    return Recorder()


@pytest.fixture
async def store(open_store, recorder):
    yield await open_store(recorder)
    assert not recorder.faults


async def test_what_was_put_is_got_in_the_order_asked_for(store, recorder):
    values = {key(n): bytes([n]) * n for n in range(30)}
    await store.put_many(values)
    asked = keys(7, 99, 0, 29, 7)
    assert list(await store.get_many(asked)) == [b"\7" * 7, None, b"", b"\x1d" * 29, b"\7" * 7]
    assert (recorder.hits, recorder.misses, recorder.entries) == (4, 1, 30)


async def test_nothing_is_asked_for_nothing(store):
    assert list(await store.get_many([])) == []
    await store.put_many({})
    assert await store.acquire_many([], "me", LONG) == set()
    assert await store.renew_many([], "me", LONG) == set()
    await store.release_many([], "me")
    assert await store.wait_any([], LONG) == set()


async def test_namespaces_are_apart(store):
    await store.put_many({key(1, "future"): b"future", key(1, "score"): b"score"})
    found = await store.get_many([key(1, "score"), key(1, "reward"), key(1, "future")])
    assert list(found) == [b"score", None, b"future"]


async def test_the_last_value_counts(store):
    await store.put_many({key(1): b"a" * 5000})
    await store.put_many({key(1): b"b"})
    assert list(await store.get_many(keys(1))) == [b"b"]


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 100_000, 3_000_000])
async def test_values_of_any_size_come_back(store, size):
    plain, noise = b"ab" * (size // 2), random.Random(size).randbytes(size)
    await store.put_many({key(1): plain, key(2): noise})
    assert list(await store.get_many(keys(1, 2))) == [plain, noise]


async def test_one_of_many_wins(store):
    asked = keys(*range(20))
    won = await asyncio.gather(*(store.acquire_many(asked, f"owner-{n}", LONG) for n in range(10)))
    for one in asked:
        assert sum(one in each for each in won) == 1


async def test_a_lease_is_its_owners(store):
    assert await store.acquire_many(keys(1, 2), "me", LONG) == set(keys(1, 2))
    assert await store.acquire_many(keys(1, 2, 3), "other", LONG) == set(keys(3))
    assert await store.acquire_many(keys(1), "me", LONG) == set(keys(1))
    assert await store.renew_many(keys(1, 2, 3, 4), "me", LONG) == set(keys(1, 2))
    await store.release_many(keys(1, 2), "other")
    assert await store.acquire_many(keys(1, 2), "other", LONG) == set()
    await store.release_many(keys(1), "me")
    assert await store.renew_many(keys(1, 2), "me", LONG) == set(keys(2))
    assert await store.acquire_many(keys(1, 2), "other", LONG) == set(keys(1))


async def test_a_stored_key_is_not_won(store):
    await store.put_many({key(1): b"value"})
    assert await store.acquire_many(keys(1, 2), "me", LONG) == set(keys(2))
    assert await store.wait_any(keys(1), LONG) == set(keys(1))
    assert await store.renew_many(keys(1), "me", LONG) == set()


async def test_who_waits_is_told_what_was_stored(store):
    await store.acquire_many(keys(1, 2, 3), "me", LONG)
    waits = asyncio.create_task(store.wait_any(keys(1, 2), LONG))
    others = asyncio.create_task(store.wait_any(keys(3), LONG))
    await store.put_many({key(2): b"value"})
    assert await waits == set(keys(2))
    assert not others.done()
    await store.release_many(keys(3), "me")
    assert await others == set(keys(3))


async def test_a_wait_for_what_nobody_holds_ends_at_once(store):
    await store.acquire_many(keys(1), "me", LONG)
    assert await store.wait_any(keys(1, 2), LONG) == set(keys(2))


async def test_a_wait_ends_with_its_time(store):
    await store.acquire_many(keys(1), "me", LONG)
    assert await store.wait_any(keys(1), 0.0) == set()
    assert await store.wait_any(keys(1), 0.02) == set()


async def test_a_lease_that_is_not_renewed_is_won_by_a_waiter(store):
    assert await store.acquire_many(keys(1), "dead", 0.05) == set(keys(1))
    await store.acquire_many(keys(2), "alive", LONG)
    assert await store.wait_any(keys(1, 2), LONG) == set(keys(1))
    assert await store.acquire_many(keys(1), "heir", LONG) == set(keys(1))
    assert await store.renew_many(keys(1), "dead", LONG) == set()


async def test_a_cancelled_wait_leaves_the_others(store):
    await store.acquire_many(keys(1), "me", LONG)
    given_up = asyncio.create_task(store.wait_any(keys(1), LONG))
    stays = asyncio.create_task(store.wait_any(keys(1), LONG))
    await asyncio.sleep(0)
    given_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await given_up
    await store.put_many({key(1): b"value"})
    assert await stays == set(keys(1))


async def test_many_wait_for_many(store):
    count = 2000
    asked = keys(*range(count))
    for start in range(0, count, 100):
        await store.acquire_many(asked[start : start + 100], "me", LONG)
    waits = [asyncio.create_task(store.wait_any([one], LONG)) for one in asked]
    await asyncio.sleep(0)
    for start in range(0, count, 100):
        await store.put_many({one: b"value" for one in asked[start : start + 100]})
    assert await asyncio.gather(*waits) == [{one} for one in asked]


async def test_another_replica_wins_waits_and_reads(kind, store, open_store):
    if kind == "memory":
        other = store
    else:
        other = await open_store()
    await store.acquire_many(keys(1, 2), "me", LONG)
    assert await other.acquire_many(keys(1, 2), "other", LONG) == set()
    waits = asyncio.create_task(other.wait_any(keys(1, 2), LONG))
    await asyncio.sleep(0)
    await store.put_many({key(1): b"value"})
    assert await waits == set(keys(1))
    assert list(await other.get_many(keys(1))) == [b"value"]


async def test_a_closed_store_is_bypassed(open_store, recorder):
    store = await open_store(recorder)
    await store.acquire_many(keys(1), "me", LONG)
    waits = asyncio.create_task(store.wait_any(keys(1), LONG))
    await asyncio.sleep(0)
    await store.close()
    assert await waits == set(keys(1))
    assert list(await store.get_many(keys(1))) == [None]
    await store.put_many({key(1): b"value"})
    assert await store.acquire_many(keys(1), "me", LONG) == set(keys(1))
    assert await store.wait_any(keys(1), LONG) == set(keys(1))
    assert recorder.bypasses["closed"] == 3
