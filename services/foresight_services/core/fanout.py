"""Run many coroutines, a bounded number at once, and hand over each result as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Iterable
from itertools import islice
from typing import Any, TypeVar

T = TypeVar("T")


async def as_finished(
    work: Iterable[Coroutine[Any, Any, T]], *, at_once: int
) -> AsyncGenerator[T, None]:
    """Yield results in the order in which they come; an exception ends it.

    At most `at_once` coroutines run, and no further one is taken from `work` before one of them has
    ended, so that a long list costs nothing in advance. Close the generator to cancel what has not
    finished; it returns when everything has stopped.
    """
    finished: asyncio.Queue[asyncio.Task[T]] = asyncio.Queue()
    running: set[asyncio.Task[T]] = set()
    left = iter(work)

    def start(most: int) -> None:
        for coroutine in islice(left, most):
            task = asyncio.ensure_future(coroutine)
            running.add(task)
            task.add_done_callback(end)

    def end(task: asyncio.Task[T]) -> None:
        running.discard(task)
        finished.put_nowait(task)
        # At once, and not when the reader comes back: a slow one must not leave places empty.
        start(1)

    start(at_once)
    try:
        while running or not finished.empty():
            yield (await finished.get()).result()
    finally:
        left = iter(())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
