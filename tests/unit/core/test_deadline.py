"""Work with a deadline: what ends it, what it raises, and how many timers it takes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from foresight_services.core.deadline import until
from foresight_services.core.errors import DeadlinePassed
from tests.fakes.virtual_time import virtual_time


async def test_all_pieces_of_a_request_end_at_its_deadline_by_one_timer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with virtual_time() as clock:
        loop, timers = asyncio.get_running_loop(), list[float]()
        call_later = loop.call_later

        def counted(delay: float, *arguments: Any, **named: Any) -> asyncio.TimerHandle:
            timers.append(delay)
            return call_later(delay, *arguments, **named)

        deadline = clock.now() + 5

        async def piece() -> float:
            with pytest.raises(DeadlinePassed):
                async with until(deadline, clock):
                    await loop.create_future()
            return clock.now()

        monkeypatch.setattr(loop, "call_later", counted)
        ends = await asyncio.gather(*(piece() for _ in range(100)))
        assert timers == [5.0]
        assert ends == [pytest.approx(deadline)] * 100


async def test_work_that_is_done_in_time_is_left_alone_and_the_rest_still_ends() -> None:
    with virtual_time() as clock:
        deadline = clock.now() + 5

        async def piece(seconds: float) -> str:
            try:
                async with until(deadline, clock):
                    await asyncio.sleep(seconds)
            except DeadlinePassed:
                return "late"
            await asyncio.sleep(10)  # past the deadline, which is no longer its own
            return "done"

        found = list(await asyncio.gather(piece(1), piece(9), piece(2)))
        assert found == ["done", "late", "done"]


async def test_a_deadline_can_be_waited_for_again_after_all_had_left() -> None:
    with virtual_time() as clock:
        deadline = clock.now() + 5
        async with until(deadline, clock):
            await asyncio.sleep(1)
        with pytest.raises(DeadlinePassed):
            async with until(deadline, clock):
                await asyncio.sleep(9)
        assert clock.now() == pytest.approx(deadline)


async def test_past_its_deadline_work_ends_where_it_first_waits() -> None:
    with virtual_time() as clock:
        begun = False
        with pytest.raises(DeadlinePassed):
            async with until(clock.now() - 1, clock):
                begun = True
                await asyncio.get_running_loop().create_future()
        assert begun


async def test_of_nested_deadlines_at_one_moment_the_outer_one_is_told() -> None:
    with virtual_time() as clock:
        deadline = clock.now() + 5
        passed: list[str] = []
        with pytest.raises(DeadlinePassed):
            async with until(deadline, clock):
                try:
                    async with until(deadline, clock):
                        await asyncio.get_running_loop().create_future()
                except DeadlinePassed:
                    passed.append("inner")
                    await asyncio.get_running_loop().create_future()
        assert passed == []


async def test_the_callers_cancellation_stays_one() -> None:
    with virtual_time() as clock:

        async def work() -> None:
            async with until(clock.now() + 5, clock):
                await asyncio.get_running_loop().create_future()

        task = asyncio.create_task(work())
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


@pytest.mark.parametrize("seconds", [None, 5.0])
async def test_a_cancellation_from_inside_is_an_error(seconds: float | None) -> None:
    with virtual_time() as clock:
        inner: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        inner.cancel()
        deadline = None if seconds is None else clock.now() + seconds
        with pytest.raises(RuntimeError, match="cancelled by what it called"):
            async with until(deadline, clock):
                await inner


async def test_a_timeout_of_the_works_own_is_not_the_deadline() -> None:
    with virtual_time() as clock:
        with pytest.raises(TimeoutError):
            async with until(clock.now() + 5, clock):
                async with asyncio.timeout(1):
                    await asyncio.get_running_loop().create_future()
