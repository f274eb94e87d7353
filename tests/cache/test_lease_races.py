"""Leases that are lost while their owner works: nobody waits for ever, nobody is robbed."""

from __future__ import annotations

import asyncio
import gc
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from foresight_services.core.cache import CacheKey
from foresight_services.core.cache_use import Origin
from foresight_services.core.errors import Failure, Reason
from foresight_services.core.landed import Made
from tests.cache.recording import Recorder, key, keys, redis_cache
from tests.cache.worker import flights
from tests.fakes.caching import cached_simulator, seeded
from tests.fakes.chat import ScriptedChat
from tests.fakes.simulation import make_simulation, simulation_request
from tests.fakes.virtual_time import LoopClock
from tests.fakes.waiting import eventually

LONG = 1000.0
PREFIX = "foresight"


class Maker:
    """Makes a value when the test lets it."""

    def __init__(self, value: bytes) -> None:
        self.begun = asyncio.Event()
        self.may_end = asyncio.Event()
        self._value = value

    async def __call__(self, keys: tuple[CacheKey, ...]) -> AsyncGenerator[Made[bytes], None]:
        self.begun.set()
        await self.may_end.wait()
        for one in keys:
            yield Made(one, self._value, True)


def lease_of(server: Any, number: int = 0) -> Any:
    name = f"{PREFIX}:future:{{{key(number).digest.hex()}}}:lease"
    return server.ask("GET", name)


def store_of(server: Any, recorder: Recorder, **settings: Any) -> Any:
    return redis_cache(server.url, recorder, prefix=PREFIX, settings=settings)


@contextmanager
def flying(url: str) -> Iterator[subprocess.Popen[str]]:
    """Run a process that makes a value under a lease of a second; it is killed at the end."""
    command = [sys.executable, "-m", "tests.cache.worker", url, "fly", "1.0"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


async def test_an_owner_that_sleeps_through_its_lease_robs_nobody(own_server, recorder):
    store = store_of(own_server, recorder)
    heirs, maker = flights(store, LONG), Maker(b"the heir's")
    with flying(own_server.url) as owner:
        assert owner.stdout is not None
        assert await asyncio.to_thread(owner.stdout.readline) == "making\n"
        passenger = heirs.board(keys(0), maker)
        first_lease = lease_of(own_server)
        owner.send_signal(signal.SIGSTOP)
        await maker.begun.wait()
        own_lease = lease_of(own_server)
        assert own_lease not in (None, first_lease)
        owner.send_signal(signal.SIGCONT)
        said, _ = await asyncio.to_thread(owner.communicate, "go on\n")
    # Who was late has a value of its own, stores it, and leaves the lease that is not its own.
    assert (owner.returncode, said) == (0, "the first owner's\n")
    assert lease_of(own_server) == own_lease
    maker.may_end.set()
    landed = await passenger.next()
    assert (landed.value, landed.origin) == (b"the heir's", Origin.COMPUTED)
    await passenger.leave()
    await heirs.close()
    assert lease_of(own_server) is None
    assert list(await store.get_many(keys(0))) == [b"the heir's"]
    await store.close()
    assert not recorder.faults


async def test_when_redis_forgets_leases_a_waiter_takes_over(own_server, recorder):
    store, other = (store_of(own_server, recorder, poll_seconds=0.05) for _ in range(2))
    owners, waiters = flights(store, LONG), flights(other, LONG)
    first, second = Maker(b"first"), Maker(b"second")
    one = owners.board(keys(0), first)
    await first.begun.wait()
    two = waiters.board(keys(0), second)
    await eventually(lambda: recorder.calls["watch"] > 0)
    own_server.ask("FLUSHALL")
    await second.begun.wait()
    taken = lease_of(own_server)
    first.may_end.set()
    assert (await one.next()).value == b"first"
    await one.leave()
    await owners.close()
    # The first one's end is not the second one's.
    assert lease_of(own_server) == taken
    second.may_end.set()
    assert (await two.next()).value == b"second"
    await two.leave()
    await waiters.close()
    assert lease_of(own_server) is None
    await store.close()
    await other.close()
    assert not recorder.faults


async def test_a_waiters_deadline_is_kept_however_long_the_lease(own_server, recorder):
    gate = asyncio.Event()

    async def say(request: Any) -> str:
        await gate.wait()
        return seeded(request)

    chats = [ScriptedChat(say), ScriptedChat(say)]
    stores = [store_of(own_server, recorder) for _ in chats]
    here, there = (
        cached_simulator(make_simulation(user=chat, policy=ScriptedChat("a")), store)
        for chat, store in zip(chats, stores, strict=True)
    )

    async def asked(simulator: Any, deadline: float | None = None) -> list[Any]:
        request = simulation_request(samples=2)
        return [future async for future in simulator.simulate(request, deadline=deadline)]

    patient = asyncio.create_task(asked(here))
    await eventually(lambda: len(chats[0].requests) == 2)
    for future in await asked(there, LoopClock().now() + 0.2):
        assert isinstance(future.outcome, Failure)
        assert future.outcome.reason is Reason.DEADLINE_EXCEEDED
    assert not chats[1].requests
    gate.set()
    assert not any(isinstance(future.outcome, Failure) for future in await patient)
    for store in stores:
        await store.close()


async def test_a_lease_that_never_ends_is_won(shared_server, recorder):
    store = redis_cache(shared_server.url, recorder, settings={"poll_seconds": LONG})
    shared_server.ask("SET", store._name(key(1)) + b":lease", "somebody")
    await store.acquire_many(keys(2), "me", LONG)
    assert await store.wait_any(keys(1, 2), LONG) == set(keys(1))
    assert await store.acquire_many(keys(1, 2), "heir", LONG) == set(keys(1))
    assert await store.renew_many(keys(1), "heir", LONG) == set(keys(1))
    assert 0 < shared_server.ask("PTTL", store._name(key(1)) + b":lease") <= LONG * 1000
    await store.close()
    assert not recorder.faults


class Slow:
    """A store whose answers about leases a test holds back."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.asked = asyncio.Event()
        self.may_answer = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def acquire_many(self, keys: Any, owner: str, ttl_seconds: float) -> Any:
        won = await self._store.acquire_many(keys, owner, ttl_seconds)
        self.asked.set()
        await self.may_answer.wait()
        return won


@pytest.mark.parametrize("others_wait", [False, True])
async def test_who_leaves_while_its_leases_are_asked_for_keeps_none(
    own_server, recorder, others_wait
):
    store = store_of(own_server, recorder)
    slow = Slow(store)
    flown, maker = flights(slow, LONG), Maker(b"value")
    passenger = flown.board(keys(0, 1), maker)
    await slow.asked.wait()
    waits = None
    if others_wait:
        waits = asyncio.create_task(store.wait_any(keys(0, 1), LONG))
    await passenger.leave()
    assert lease_of(own_server) is not None
    slow.may_answer.set()
    await flown.close()
    assert lease_of(own_server, 0) is None
    assert lease_of(own_server, 1) is None
    if waits is not None:
        assert await waits <= set(keys(0, 1))
    assert not maker.begun.is_set()
    await store.close()
    assert not recorder.faults


class Fussy:
    """Implements the port `EntryCodec`; takes some bytes only, and fails over others."""

    def encode(self, value: bytes) -> bytes | None:
        if value == b"worst":
            raise ZeroDivisionError
        return None if value == b"bad" else value

    def decode(self, stored: bytes) -> bytes:
        return stored


@pytest.mark.parametrize("value", [b"bad", b"worst"])
async def test_what_cannot_be_stored_is_told_and_leaves_nothing_behind(own_server, recorder, value):
    store = store_of(own_server, recorder)
    flown = flights(store, LONG)
    flown._codec = Fussy()
    errors: list[Any] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda loop, context: errors.append(context["exception"]))

    async def work(keys: tuple[CacheKey, ...]) -> AsyncGenerator[Made[bytes], None]:
        for one, made in zip(keys, (value, b"good"), strict=True):
            yield Made(one, made, True)
            # The first one is being stored when the second one lands.
            await asyncio.sleep(0)

    passenger = flown.board(keys(0, 1), work)
    assert {(await passenger.next()).value for _ in range(2)} == {value, b"good"}
    await passenger.leave()
    await eventually(lambda: not flown.aboard)
    await flown.close()
    assert list(await store.get_many(keys(0, 1))) == [None, b"good"]
    assert [lease_of(own_server, number) for number in (0, 1)] == [None, None]
    await store.close()
    gc.collect()  # tells of tasks whose error nobody took
    assert [type(error) for error in errors] == [ZeroDivisionError] * (value == b"worst")
