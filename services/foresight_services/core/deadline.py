"""Stop work at a deadline."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from foresight_services.core.errors import DeadlinePassed
from foresight_services.core.ports import Clock


@asynccontextmanager
async def until(deadline: float | None, clock: Clock) -> AsyncIterator[None]:
    """Cancel what runs inside at `deadline`, in the time of `clock`, and raise DeadlinePassed.

    A cancellation that comes from inside, and not from whoever waits for the task, is an error like
    any other: it must not pass for the caller's own.
    """
    try:
        async with asyncio.timeout(None if deadline is None else deadline - clock.now()) as scope:
            yield
    except TimeoutError as error:
        if not scope.expired():
            raise
        raise DeadlinePassed from error
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise RuntimeError("a call was cancelled by what it called") from error
