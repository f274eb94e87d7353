"""An evaluation that is open for as long as anybody needs it.

It is opened for a request, but what it scores may be waited for by others when that request has
left. One task enters and leaves it, whoever is the last to need it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager

from foresight_services.core.ports import EvaluationSession


class HeldSession:
    """Counts who needs a session, and closes it when nobody does."""

    def __init__(self, opening: AbstractAsyncContextManager[EvaluationSession]) -> None:
        """Start to open a session; the caller is the first to need it."""
        self._needs = 1
        self._unneeded = asyncio.Event()
        self._opened: asyncio.Future[EvaluationSession] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._keep(opening))

    async def session(self) -> EvaluationSession:
        """Return the session once it is open; raises what opening it raised."""
        return await asyncio.shield(self._opened)

    @contextmanager
    def needed(self) -> Iterator[None]:
        """Keep the session open inside."""
        self._needs += 1
        try:
            yield
        finally:
            self._drop()

    async def leave(self) -> None:
        """Need it no more; where nobody else does, return when it is closed."""
        self._drop()
        if not self._unneeded.is_set():
            # How it closes is nobody's then: those who need it are told how their scores ended.
            self._task.add_done_callback(_note)
            return
        if not self._opened.done():
            self._task.cancel()
        await asyncio.wait((self._task,))
        if not self._task.cancelled() and (error := self._task.exception()) is not None:
            raise error

    def _drop(self) -> None:
        self._needs -= 1
        if not self._needs:
            self._unneeded.set()

    async def _keep(self, opening: AbstractAsyncContextManager[EvaluationSession]) -> None:
        try:
            async with opening as session:
                self._opened.set_result(session)
                await self._unneeded.wait()
        except BaseException as error:
            if self._opened.done():
                raise
            if isinstance(error, asyncio.CancelledError):
                self._opened.cancel()
                raise
            self._opened.set_exception(error)
            # Whoever waits is told; where nobody does any more, it is nobody's.
            self._opened.exception()


def _note(task: asyncio.Task[None]) -> None:
    """Take note of how `task` ended, of which the loop would complain otherwise."""
    if not task.cancelled():
        task.exception()
