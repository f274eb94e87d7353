"""Run many coroutines at once and hand over each result as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Iterable
from typing import Any, TypeVar

T = TypeVar("T")


async def as_finished(work: Iterable[Coroutine[Any, Any, T]]) -> AsyncGenerator[T, None]:
    """Yield results in the order in which they come; an exception ends it.

    Close the generator to cancel what has not finished; it returns when everything has stopped.
    """
    finished: asyncio.Queue[asyncio.Task[T]] = asyncio.Queue()
    tasks = [asyncio.ensure_future(coroutine) for coroutine in work]
    for task in tasks:
        task.add_done_callback(finished.put_nowait)
    try:
        for _ in tasks:
            yield (await finished.get()).result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
