"""Time that passes only while nothing else can happen, so that tests of deadlines are exact.

Within `virtual_time()` the running loop jumps to its next timer the moment no task is ready: work
takes no time, waiting takes no patience, and a deadline comes after everything that could come
before it. A loop in which every task waits for something that never comes is an error at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class LoopClock:
    """The time of the running loop; implements the port `Clock`."""

    def now(self) -> float:
        """Return the loop's time."""
        return asyncio.get_running_loop().time()


@contextmanager
def virtual_time() -> Iterator[LoopClock]:
    """Replace the time of the running loop."""
    loop: Any = asyncio.get_running_loop()
    selector = loop._selector
    really_select = selector.select
    now = loop.time()

    def select(timeout: float | None) -> Any:
        nonlocal now
        events = really_select(0)
        if not events:
            if timeout is None:
                raise RuntimeError("every task waits for something that never comes")
            now += timeout
        return events

    loop.time = lambda: now
    selector.select = select
    try:
        yield LoopClock()
    finally:
        del loop.time
        del selector.select


async def settle() -> None:
    """Return when every other task of the loop waits; within `virtual_time()` only."""
    await asyncio.sleep(1e-6)
