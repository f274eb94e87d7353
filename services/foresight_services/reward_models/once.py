"""Work that many may ask for and that is done once, unless it fails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Result = TypeVar("Result")


class Once(Generic[Result]):
    """The result of `work`, started by the first who asks; after a failure the next may try anew.

    Who gives up waiting leaves the work to the others.
    """

    def __init__(self, work: Callable[[], Awaitable[Result]]) -> None:
        self._work = work
        self._task: asyncio.Task[Result] | None = None

    async def get(self) -> Result:
        """Return the result, or raise what the work raised."""
        task = self._task
        if task is None:
            task = self._task = asyncio.create_task(self._run())
            task.add_done_callback(_look)
        return await asyncio.shield(task)

    async def aclose(self) -> None:
        """Stop the work if it still runs."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> Result:
        try:
            return await self._work()
        except BaseException:
            self._task = None
            raise


def _look(task: asyncio.Task[Result]) -> None:
    """Look at the outcome, for everyone who waited for it may have gone."""
    if not task.cancelled():
        task.exception()
