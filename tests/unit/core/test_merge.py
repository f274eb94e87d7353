"""Joining streams that arrive over time: order, exceptions, cancellation, a slow reader."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

import pytest

from foresight_services.core.merge import MOST_WAITING, merge
from tests.fakes.virtual_time import LoopClock, settle


class Source:
    """A stream that yields what is put into it, until `end`."""

    def __init__(self) -> None:
        self._items: asyncio.Queue[str | Exception | None] = asyncio.Queue()
        self.closed = False

    def put(self, *items: str | Exception) -> None:
        for item in items:
            self._items.put_nowait(item)

    def end(self) -> None:
        self._items.put_nowait(None)

    async def stream(self) -> AsyncGenerator[str, None]:
        try:
            while (item := await self._items.get()) is not None:
                if isinstance(item, Exception):
                    raise item
                yield item
        finally:
            self.closed = True


class Arrivals:
    """Streams that arrive when the test lets them."""

    def __init__(self, *sources: Source) -> None:
        self._queue: asyncio.Queue[Source | Exception | None] = asyncio.Queue()
        for source in sources:
            self._queue.put_nowait(source)

    def put(self, source: Source | Exception) -> None:
        self._queue.put_nowait(source)

    def end(self) -> None:
        self._queue.put_nowait(None)

    async def __aiter__(self) -> AsyncIterator[AsyncGenerator[str, None]]:
        while (source := await self._queue.get()) is not None:
            if isinstance(source, Exception):
                raise source
            yield source.stream()


async def test_items_come_as_they_are_known_and_the_end_with_the_last_stream(
    clock: LoopClock,
) -> None:
    one, two = Source(), Source()
    arrivals = Arrivals(one, two)
    async with aclosing(merge(aiter(arrivals))) as items:
        two.put("2a")
        assert await anext(items) == "2a"
        one.put("1a")
        assert await anext(items) == "1a"
        arrivals.end()
        one.end()
        two.put("2b")
        assert await anext(items) == "2b"
        two.end()
        with pytest.raises(StopAsyncIteration):
            await anext(items)


async def test_a_stream_that_arrives_late_runs_beside_the_others(clock: LoopClock) -> None:
    early, late = Source(), Source()
    arrivals = Arrivals(early)
    async with aclosing(merge(aiter(arrivals))) as items:
        early.put("early")
        assert await anext(items) == "early"
        arrivals.put(late)
        late.put("late")
        assert await anext(items) == "late"
        early.put("again")
        assert await anext(items) == "again"


async def test_each_streams_own_order_is_kept(clock: LoopClock) -> None:
    source = Source()
    source.put(*(str(number) for number in range(1000)))
    source.end()
    arrivals = Arrivals(source)
    arrivals.end()
    assert [item async for item in merge(aiter(arrivals))] == [str(n) for n in range(1000)]


async def test_no_streams_are_no_items() -> None:
    arrivals = Arrivals()
    arrivals.end()
    assert [item async for item in merge(aiter(arrivals))] == []


async def test_an_exception_of_a_stream_ends_it_by_itself_and_closes_the_others(
    clock: LoopClock,
) -> None:
    broken, other = Source(), Source()
    broken.put(ValueError("broken"))
    with pytest.raises(ValueError, match="broken"):
        async for _ in merge(aiter(Arrivals(broken, other))):
            pass
    assert other.closed
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_an_exception_of_the_arrivals_ends_it_and_closes_the_streams(
    clock: LoopClock,
) -> None:
    source = Source()
    arrivals = Arrivals(source)
    async with aclosing(merge(aiter(arrivals))) as items:
        source.put("first")
        assert await anext(items) == "first"
        arrivals.put(ValueError("no more"))
        with pytest.raises(ValueError, match="no more"):
            await anext(items)
    assert source.closed


async def test_closing_closes_every_stream(clock: LoopClock) -> None:
    one, two = Source(), Source()
    async with aclosing(merge(aiter(Arrivals(one, two)))) as items:
        one.put("1")
        await anext(items)
        await settle()
        assert not one.closed
    assert one.closed
    assert two.closed
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_reader_that_is_cancelled_leaves_nothing_behind(clock: LoopClock) -> None:
    source = Source()

    async def read() -> None:
        async with aclosing(merge(aiter(Arrivals(source)))) as items:
            async for _ in items:
                pass

    reader = asyncio.create_task(read())
    await settle()
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    await settle()
    gc.collect()
    assert source.closed
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_slow_reader_makes_the_streams_wait(clock: LoopClock) -> None:
    yielded = 0

    async def long() -> AsyncGenerator[int, None]:
        nonlocal yielded
        for number in range(10 * MOST_WAITING):
            yielded = number
            yield number

    async def arrivals() -> AsyncIterator[AsyncGenerator[int, None]]:
        yield long()

    async with aclosing(merge(arrivals())) as items:
        assert await anext(items) == 0
        await settle()
        # Those in line, and the one that waits to join it.
        assert MOST_WAITING <= yielded <= MOST_WAITING + 2
        assert [await anext(items) for _ in range(2 * MOST_WAITING)] == [
            number + 1 for number in range(2 * MOST_WAITING)
        ]
