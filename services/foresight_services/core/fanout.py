"""Run many coroutines, each when its place is given, and hand over each result as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable
from typing import Any, Protocol, TypeVar

from foresight_services.core.ports import Clock

T = TypeVar("T")
W = TypeVar("W")


class Places(Protocol):
    """Where work waits until it may begin; see `core/admission.py`."""

    def stand(self, begin: Callable[[], bool]) -> None:
        """Have `begin` called for each place that is given, until it returns False."""
        ...

    def ended(self) -> None:
        """Give one place back."""
        ...

    def leave(self) -> None:
        """Wait for no more places."""
        ...


async def as_finished(
    work: Iterable[W],
    run: Callable[[W], Coroutine[Any, Any, T]],
    *,
    places: Places,
    clock: Clock,
    deadline: float | None = None,
    late: Callable[[W], T] | None = None,
) -> AsyncGenerator[T, None]:
    """Yield results in the order in which they come; an exception ends it.

    Nothing is made of a piece of work before its place is given, so that a long list costs nothing
    in advance. Close the generator to cancel what has not finished; it returns when everything has
    stopped.

    Args:
        work: the pieces, in the order of their beginning; as many as places are waited for.
        run: does one of them.
        places: told of each end at once, and not when the reader comes back: a slow one must not
            leave places empty.
        clock: the clock of the deadline.
        deadline: when nothing begins any more, in the time of `clock`.
        late: makes the result of a piece that had not begun by then; needed with a deadline.
    """
    finished: asyncio.Queue[asyncio.Task[T] | None] = asyncio.Queue()
    running: set[asyncio.Task[T]] = set()
    waiting = list(work)
    waiting.reverse()
    closed = False

    def begin() -> bool:
        # The alarm may ring a moment after the deadline.
        if deadline is not None and clock.now() >= deadline:
            return False
        task = asyncio.ensure_future(run(waiting.pop()))
        running.add(task)
        task.add_done_callback(end)
        return True

    def end(task: asyncio.Task[T]) -> None:
        running.discard(task)
        if not closed:
            finished.put_nowait(task)
        places.ended()

    def expire() -> None:
        places.leave()
        finished.put_nowait(None)

    alarm: asyncio.TimerHandle | None = None
    if deadline is not None:
        left = max(0.0, deadline - clock.now())
        alarm = asyncio.get_running_loop().call_later(left, expire)
    try:
        places.stand(begin)
        while waiting or running or not finished.empty():
            task = await finished.get()
            if task is not None:
                yield task.result()
                continue
            assert late is not None, "with a deadline"
            while waiting:
                yield late(waiting.pop())
    finally:
        closed = True
        if alarm is not None:
            alarm.cancel()
        places.leave()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
