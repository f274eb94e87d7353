"""When a store is left alone and when it is tried again, and what becomes of callers."""

from __future__ import annotations

import asyncio

import pytest

from foresight_services.cache.guard import Guard, Outage, OutageSettings, StoreFailed
from foresight_services.core.cache import CacheFault, CacheOperation
from tests.fakes.virtual_time import settle, virtual_time

GET = CacheOperation.GET
SETTINGS = OutageSettings(failures=3, pause_seconds=1.0, longest_pause_seconds=4.0)


class Time:
    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time


@pytest.fixture
def time():
    return Time()


@pytest.fixture
def outage(time):
    return Outage(SETTINGS, time)


def fail(outage: Outage, times: int) -> None:
    for _ in range(times):
        assert outage.enter()
        outage.failed()


def test_failures_in_a_row_begin_it(outage):
    fail(outage, 2)
    outage.succeeded()
    fail(outage, 2)
    assert outage.enter()
    outage.failed()
    assert not outage.enter() and outage.lasts


def test_one_call_tries_and_its_success_ends_it(outage, time):
    fail(outage, 3)
    time.time = 0.99
    assert not outage.enter()
    time.time = 1.0
    assert outage.enter()
    assert not outage.enter()
    outage.succeeded()
    assert outage.enter() and not outage.lasts


def test_the_pause_doubles_up_to_its_limit_and_is_short_again(outage, time):
    fail(outage, 3)
    for pause in (1.0, 2.0, 4.0, 4.0):
        time.time += pause - 0.01
        assert not outage.enter()
        time.time += 0.01
        fail(outage, 1)
    time.time += 4.0
    assert outage.enter()
    outage.succeeded()
    fail(outage, 3)
    time.time += 1.0
    assert outage.enter()


def test_late_failures_do_not_prolong_it(outage, time):
    assert all(outage.enter() for _ in range(9))
    for _ in range(3):
        outage.failed()
    time.time = 0.5
    for _ in range(6):
        outage.failed()
    time.time = 1.0
    assert outage.enter()


@pytest.fixture
def guard(recorder):
    """Return a function that makes a guard within virtual time."""

    def make(clock, **given):
        return Guard(
            timeout_seconds=1.0,
            settings=SETTINGS,
            clock=clock,
            observer=recorder,
            fault_of=lambda error: CacheFault.CONNECTION if isinstance(error, OSError) else None,
            **given,
        )

    return make


async def test_a_call_never_takes_longer_than_its_limit(guard, recorder):
    with virtual_time() as clock:
        guarded = guard(clock, at_once=2)
        calls = [guarded.call(GET, 1, asyncio.Event().wait, "miss") for _ in range(5)]
        start = clock.now()
        assert await asyncio.gather(*calls) == ["miss"] * 5
        assert clock.now() - start == pytest.approx(1.0)
    assert recorder.faults == {"timeout": 5}


async def test_a_cancelled_caller_leaves_its_call_to_the_end(guard, recorder):
    with virtual_time() as clock:
        guarded, ended = guard(clock), []

        async def work() -> str:
            await asyncio.sleep(0.5)
            ended.append(clock.now())
            return "value"

        caller = asyncio.create_task(guarded.call(GET, 1, work, "miss"))
        await settle()
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        assert not ended
        await guarded.close()
        assert len(ended) == 1
    assert recorder.calls == {"get": 1} and not recorder.faults


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (StoreFailed(CacheFault.FAILOVER), "failover"),
        (ConnectionResetError(), "connection"),
        (TimeoutError(), "timeout"),
        (ZeroDivisionError("s3cret"), "unexpected"),
    ],
)
async def test_failures_are_named_and_never_raised(guard, recorder, caplog, error, fault):
    async def work() -> str:
        raise error

    with virtual_time() as clock:
        assert await guard(clock).call(GET, 1, work, "miss") == "miss"
    assert recorder.faults == {fault: 1}
    assert "s3cret" not in caplog.text


async def test_what_is_no_outage_does_not_begin_one(guard, recorder):
    async def work() -> str:
        raise StoreFailed(CacheFault.FULL)

    with virtual_time() as clock:
        guarded = guard(clock)
        for _ in range(10):
            await guarded.call(GET, 1, work, "miss")
        assert not guarded.outage.lasts
    assert recorder.faults == {"full": 10}
