"""Running many coroutines at once: order, exceptions, cancellation."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import aclosing
from typing import Any

import pytest

from foresight_services.core.fanout import as_finished
from tests.fakes.chat import Gates
from tests.fakes.virtual_time import LoopClock, settle


class Work:
    """Coroutines that end when their gate opens, and a count of those that run."""

    def __init__(self) -> None:
        self.gates = Gates()
        self.running = 0

    async def run(self, name: str, error: Exception | None = None) -> str:
        self.running += 1
        try:
            await self.gates[name].wait()
            if error is not None:
                raise error
            return name
        finally:
            self.running -= 1


async def test_results_come_in_the_order_in_which_they_are_known(clock: LoopClock) -> None:
    work = Work()
    async with aclosing(as_finished((work.run(name) for name in "abc"), at_once=9)) as results:
        for name in "bca":
            work.gates.open(name)
            assert await anext(results) == name
        with pytest.raises(StopAsyncIteration):
            await anext(results)


async def test_everything_runs_at_once(clock: LoopClock) -> None:
    work = Work()
    async with aclosing(as_finished((work.run(name) for name in "abc"), at_once=9)) as results:
        first = asyncio.ensure_future(anext(results))
        await settle()
        assert work.running == 3
        work.gates.open("a")
        assert await first == "a"
        await settle()
        assert work.running == 2


async def test_closing_cancels_what_has_not_finished(clock: LoopClock) -> None:
    work = Work()
    async with aclosing(as_finished((work.run(name) for name in "abc"), at_once=9)) as results:
        work.gates.open("a")
        await anext(results)
    assert work.running == 0


async def test_an_exception_ends_it_and_cancels_the_rest(clock: LoopClock) -> None:
    work = Work()
    work.gates.open("a")
    results = as_finished((work.run("a", ValueError("broken")), work.run("b")), at_once=9)
    with pytest.raises(ValueError, match="broken"):
        await anext(results)
    assert work.running == 0


async def test_a_reader_that_is_cancelled_cancels_the_work(clock: LoopClock) -> None:
    work = Work()

    async def read() -> None:
        async with aclosing(as_finished((work.run(name) for name in "ab"), at_once=9)) as results:
            async for _ in results:
                pass

    reader = asyncio.create_task(read())
    await settle()
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    assert work.running == 0


async def test_no_work_is_no_result() -> None:
    nothing: list[Coroutine[Any, Any, str]] = []
    assert [result async for result in as_finished(nothing, at_once=9)] == []


async def test_work_starts_with_the_first_question_and_not_before() -> None:
    started: list[str] = []

    def work() -> Iterator[Coroutine[Any, Any, str]]:
        started.append("started")
        yield from ()

    await as_finished(work(), at_once=9).aclose()
    assert started == []
