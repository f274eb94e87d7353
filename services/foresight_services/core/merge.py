"""Join streams that arrive over time into one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Final, TypeVar

T = TypeVar("T")

MOST_WAITING: Final = 256
"""Items that may wait for a slow reader before the streams wait for it too."""


async def merge(sources: AsyncIterator[AsyncGenerator[T, None]]) -> AsyncGenerator[T, None]:
    """Run every stream of `sources` from its arrival on; yield their items as they come.

    Ends when `sources` and all its streams have ended; an exception in any of them ends it at
    once. Close the generator to close what is left; it returns when everything has stopped.
    """
    items: asyncio.Queue[T] = asyncio.Queue(MOST_WAITING)

    async def drain(source: AsyncGenerator[T, None]) -> None:
        async with aclosing(source):
            async for item in source:
                await items.put(item)

    async def drain_all() -> None:
        async with asyncio.TaskGroup() as streams:
            async for source in sources:
                streams.create_task(drain(source))

    work = asyncio.create_task(drain_all())
    getter: asyncio.Future[T] | None = None
    try:
        while not work.done() or not items.empty():
            getter = asyncio.ensure_future(items.get())
            await asyncio.wait((getter, work), return_when=asyncio.FIRST_COMPLETED)
            if getter.done():
                yield getter.result()
        await _unwrapped(work)
    finally:
        work.cancel()
        if getter is not None:
            getter.cancel()
        await asyncio.gather(work, return_exceptions=True)


async def _unwrapped(work: asyncio.Task[None]) -> None:
    """Raise what `work` raised, by itself where it is one exception in a group."""
    try:
        await work
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from group
