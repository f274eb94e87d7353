"""Any order of calls and times leaves the stores as a table would be."""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import Callable
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from foresight_services.cache.disk import open_disk_cache
from foresight_services.cache.memory import MemoryCache
from foresight_services.core.cache import CacheKey, CacheStore, Lifetime
from tests.cache.recording import Recorder, key, redis_cache

LIFETIME = 10.0
SCALE = 1000.0
"""Seconds in Redis for one of the script, so that the real ones do not matter."""
some = st.lists(st.integers(0, 5), min_size=1, max_size=4, unique=True)
owners = st.sampled_from(["one", "two"])
times = st.sampled_from([3.0, 7.0])
steps = st.lists(
    st.one_of(
        st.tuples(st.just("get"), some),
        st.tuples(st.just("put"), some, st.binary(max_size=600)),
        st.tuples(st.just("acquire"), some, owners, times),
        st.tuples(st.just("renew"), some, owners, times),
        st.tuples(st.just("release"), some, owners),
        st.tuples(st.just("pass"), st.sampled_from([1.0, 3.0, 6.5])),
    ),
    max_size=30,
)


class Time:
    """A clock and a wall clock that the test moves."""

    def __init__(self) -> None:
        self.time = 1e6

    def now(self) -> float:
        return self.time

    __call__ = now


class Table:
    """What a store does, in the plainest way."""

    def __init__(self, time: Time) -> None:
        self._time = time
        self._values: dict[CacheKey, tuple[bytes, float]] = {}
        self._leases: dict[CacheKey, tuple[str, float]] = {}

    def value(self, one: CacheKey) -> bytes | None:
        value, end = self._values.get(one, (None, 0.0))
        return value if end > self._time.time else None

    def holder(self, one: CacheKey) -> str | None:
        owner, end = self._leases.get(one, (None, 0.0))
        return owner if end > self._time.time else None

    def put(self, one: CacheKey, value: bytes) -> None:
        self._values[one] = (value, self._time.time + LIFETIME)

    def hold(self, one: CacheKey, owner: str, ttl: float) -> None:
        self._leases[one] = (owner, self._time.time + ttl)

    def free(self, one: CacheKey) -> None:
        self._leases.pop(one, None)


async def follow(
    store: CacheStore, script, time: Time, wait: Callable[[float], None], scale: float = 1.0
) -> None:
    """Do what `script` says on the store and on a table, and compare."""
    table = Table(time)
    for what, *how in script:
        if what == "pass":
            time.time += how[0]
            wait(how[0])
            continue
        asked = [key(number) for number in how[0]]
        match what:
            case "get":
                assert list(await store.get_many(asked)) == [table.value(one) for one in asked]
            case "put":
                await store.put_many(dict.fromkeys(asked, how[1]))
                for one in asked:
                    table.put(one, how[1])
            case "acquire":
                free = [one for one in asked if table.holder(one) in (None, how[1])]
                won = {one for one in free if table.value(one) is None}
                for one in set(free) - won:
                    table.free(one)
                assert await store.acquire_many(asked, how[1], how[2] * scale) == won
                for one in won:
                    table.hold(one, how[1], how[2])
            case "renew":
                held = {one for one in asked if table.holder(one) == how[1]}
                assert await store.renew_many(asked, how[1], how[2] * scale) == held
                for one in held:
                    table.hold(one, how[1], how[2])
            case "release":
                await store.release_many(asked, how[1])
                for one in asked:
                    if table.holder(one) == how[1]:
                        table.free(one)
        settled = {
            one for one in asked if table.value(one) is not None or table.holder(one) is None
        }
        if settled:
            assert await store.wait_any(asked, 1000.0) == settled
        else:
            assert await store.wait_any(asked, 0.0) == set()


@given(steps)
@settings(deadline=None, max_examples=100)
def test_memory(script):
    async def run() -> None:
        time = Time()
        store = MemoryCache(
            max_bytes=2**20,
            lifetime=Lifetime(LIFETIME),
            clock=time,
            rng=random.Random(0),
            observer=Recorder(),
        )
        await follow(store, script, time, lambda seconds: None)
        await store.close()

    asyncio.run(run())


@given(steps)
@settings(deadline=None, max_examples=60)
def test_disk(script):
    async def run(folder: Path) -> None:
        time, recorder = Time(), Recorder()
        store = await open_disk_cache(
            folder,
            max_bytes=2**20,
            lifetime=Lifetime(LIFETIME),
            compress_above_bytes=64,
            clock=time,
            rng=random.Random(0),
            observer=recorder,
            wall_clock=time,
        )
        await follow(store, script, time, lambda seconds: None)
        await store.close()
        assert not recorder.faults

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(Path(folder)))


def test_redis(shared_server):
    """Redis has a clock of its own, so time passes by taking it off every key's life."""

    @given(steps)
    @settings(deadline=None, max_examples=60)
    def check(script):
        async def run() -> None:
            recorder = Recorder()
            lifetime = Lifetime(LIFETIME * SCALE)
            store = redis_cache(shared_server.url, recorder, lifetime=lifetime)
            names = [store._name(key(number)) for number in range(6)]

            def wait(seconds: float) -> None:
                for name in [*names, *(name + b":lease" for name in names)]:
                    left = shared_server.ask("PTTL", name)
                    if isinstance(left, int) and left > 0:
                        # Rounded, because a few milliseconds have really passed.
                        units = round(left / 1000 / SCALE * 2) / 2 - seconds
                        shared_server.ask("PEXPIRE", name, max(0, int(units * SCALE * 1000)))

            await follow(store, script, Time(), wait, SCALE)
            await store.close()
            assert not recorder.faults

        asyncio.run(run())

    check()
