"""Stop work at a deadline."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from foresight_services.core.errors import DeadlinePassed
from foresight_services.core.ports import Clock


@asynccontextmanager
async def until(deadline: float | None, clock: Clock) -> AsyncIterator[None]:
    """Cancel what runs inside at `deadline`, in the time of `clock`, and raise DeadlinePassed."""
    try:
        async with asyncio.timeout(None if deadline is None else deadline - clock.now()) as scope:
            yield
    except TimeoutError as error:
        if not scope.expired():
            raise
        raise DeadlinePassed from error
