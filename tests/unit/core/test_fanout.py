"""Running many coroutines, each when its place is given: order, exceptions, cancellation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import pytest

from foresight_services.core.admission import Admission
from foresight_services.core.fanout import as_finished
from tests.fakes.chat import Gates
from tests.fakes.telemetry import RecordingTelemetry
from tests.fakes.virtual_time import LoopClock, settle


class Work:
    """Coroutines that end when their gate opens, and those that run and have begun."""

    def __init__(self) -> None:
        self.gates = Gates()
        self.running = 0
        self.begun: list[str] = []

    async def run(self, name: str, error: Exception | None = None) -> str:
        self.running += 1
        self.begun.append(name)
        try:
            await self.gates[name].wait()
            if error is not None:
                raise error
            return name
        finally:
            self.running -= 1


def ended(
    work: Work,
    names: Sequence[str],
    *,
    at_once: int = 9,
    error: Exception | None = None,
    deadline: float | None = None,
) -> AsyncGenerator[str, None]:
    """Run `work` for `names`, so many at once; the first one of them ends with `error`."""
    admission = Admission(
        places=at_once, most_waiting=100, clock=LoopClock(), observer=RecordingTelemetry()
    )
    return as_finished(
        names,
        lambda name: work.run(name, error if name == names[0] else None),
        places=admission.enter("", len(names)),
        clock=LoopClock(),
        deadline=deadline,
        late=lambda name: f"{name} is late",
    )


async def test_results_come_in_the_order_in_which_they_are_known(clock: LoopClock) -> None:
    work = Work()
    async with aclosing(ended(work, "abc")) as results:
        for name in "bca":
            work.gates.open(name)
            assert await anext(results) == name
        with pytest.raises(StopAsyncIteration):
            await anext(results)


async def test_everything_that_has_a_place_runs_at_once(clock: LoopClock) -> None:
    work = Work()
    async with aclosing(ended(work, "abc")) as results:
        first = asyncio.ensure_future(anext(results))
        await settle()
        assert work.running == 3
        work.gates.open("a")
        assert await first == "a"
        await settle()
        assert work.running == 2


async def test_nothing_is_made_of_work_without_a_place(clock: LoopClock) -> None:
    work = Work()
    async with aclosing(ended(work, "abcd", at_once=2)) as results:
        first = asyncio.ensure_future(anext(results))
        await settle()
        assert sorted(work.begun) == ["a", "b"]
        work.gates.open("a")
        assert await first == "a"
        # The reader has not come back, and the place is taken all the same.
        await settle()
        assert sorted(work.begun) == ["a", "b", "c"]


async def test_at_the_deadline_what_has_not_begun_is_late(clock: LoopClock) -> None:
    work = Work()
    deadline = clock.now() + 5
    async with aclosing(ended(work, "abcd", at_once=1, deadline=deadline)) as results:
        work.gates.open("a")
        assert await anext(results) == "a"
        assert [await anext(results) for _ in range(2)] == ["c is late", "d is late"]
        assert clock.now() == pytest.approx(deadline)
        # Who had begun knows of the deadline itself.
        work.gates.open("b")
        assert [result async for result in results] == ["b"]
    assert work.begun == ["a", "b"]


async def test_what_ends_after_the_deadline_lets_nothing_begin(clock: LoopClock) -> None:
    work = Work()
    work.gates.open("a")
    results = ended(work, "ab", at_once=1, deadline=clock.now())
    assert [result async for result in results] == ["a is late", "b is late"]
    assert work.begun == []


async def test_closing_cancels_what_has_not_finished(clock: LoopClock) -> None:
    work = Work()
    async with aclosing(ended(work, "abc")) as results:
        work.gates.open("a")
        await anext(results)
    assert work.running == 0


async def test_an_exception_ends_it_and_cancels_the_rest(clock: LoopClock) -> None:
    work = Work()
    work.gates.open("a")
    results = ended(work, "ab", error=ValueError("broken"))
    with pytest.raises(ValueError, match="broken"):
        await anext(results)
    assert work.running == 0


async def test_a_reader_that_is_cancelled_cancels_the_work(clock: LoopClock) -> None:
    work = Work()

    async def read() -> None:
        async with aclosing(ended(work, "ab")) as results:
            async for _ in results:
                pass

    reader = asyncio.create_task(read())
    await settle()
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    assert work.running == 0


async def test_no_work_is_no_result() -> None:
    assert [result async for result in ended(Work(), "")] == []


async def test_work_starts_with_the_first_question_and_not_before() -> None:
    work = Work()
    await ended(work, "ab").aclose()
    assert work.begun == []
