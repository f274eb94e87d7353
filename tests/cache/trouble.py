"""What tests of a Redis in trouble share."""

from __future__ import annotations

import asyncio

from tests.cache.recording import key, keys

LONG = 1000.0
NO_PAUSE = {"failures": 3, "pause_seconds": 0.0, "longest_pause_seconds": 0.0}


async def works(store, number: int) -> bool:
    """Return whether the store takes a value and gives it back."""
    await store.put_many({key(number): b"value"})
    return list(await store.get_many(keys(number))) == [b"value"]


async def until_it_works(store, number: int = 77) -> None:
    async with asyncio.timeout(60):
        while not await works(store, number):  # noqa: ASYNC110 - Redis signals nothing
            await asyncio.sleep(0.01)
