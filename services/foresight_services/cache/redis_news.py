"""Messages that save waiters time: who stores or releases keys says so to all replicas.

One subscription for all waiters of a replica, kept up from the first wait on. A message may be lost
or wrong: it makes the store look at the keys, it settles none.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Collection
from typing import Final, Protocol

from foresight_services.cache.redis_faults import fault_of
from foresight_services.cache.redis_link import RedisLink
from foresight_services.core.cache import CacheFault, CacheKey, CacheObserver, CacheOperation

SUBSCRIBE_SECONDS: Final = 5.0
"""Limit of connecting and subscribing."""
PAUSE_SECONDS: Final = 0.1
"""Time before the first attempt to subscribe again; it doubles."""
LONGEST_PAUSE_SECONDS: Final = 5.0
"""Longest time between attempts."""

# Bounded and anchored: whoever may write to the channel must not cost time.
_NAME: Final = re.compile(rb"(?<![a-z0-9_])([a-z0-9_]{1,64}):([0-9a-f]{64})")


class Hinted(Protocol):
    """Looks again at what a message names."""

    def hint(self, keys: Collection[CacheKey] | None = None) -> None:
        """Look at `keys`, or all, as soon as possible."""
        ...


class RedisNews:
    """Listens to one channel for the waiters of one store."""

    def __init__(
        self, link: RedisLink, channel: bytes, waiting: Hinted, observer: CacheObserver
    ) -> None:
        """Pass on what is said on `channel` to `waiting`, once started."""
        self._link = link
        self._channel = channel
        self._waiting = waiting
        self._observer = observer
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self.listening = asyncio.Event()
        """Set while subscribed."""

    @staticmethod
    def message(keys: Collection[CacheKey]) -> bytes:
        """Return what is said when `keys` were settled."""
        return " ".join(f"{key.namespace}:{key.digest.hex()}" for key in keys).encode("ascii")

    def start(self) -> None:
        """Listen from now on, if not already."""
        if self._task is None and not self._closed:
            self._task = asyncio.create_task(self._listen())

    async def close(self) -> None:
        """Stop listening."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    async def _listen(self) -> None:
        pause = PAUSE_SECONDS
        while True:
            try:
                await self._hear()
            except Exception as error:
                fault = fault_of(error) or CacheFault.UNEXPECTED
                self._observer.failed(fault, CacheOperation.WATCH)
            finally:
                heard = self.listening.is_set()
                self.listening.clear()
            pause = PAUSE_SECONDS if heard else min(pause * 2, LONGEST_PAUSE_SECONDS)
            await asyncio.sleep(pause)

    async def _hear(self) -> None:
        """Subscribe and pass messages on until the connection ends."""
        async with asyncio.timeout(SUBSCRIBE_SECONDS):
            pubsub = await self._link.subscribe(self._channel)
        try:
            self.listening.set()
            # What was said before is lost.
            self._waiting.hint()
            async for message in pubsub.listen():
                if isinstance(message, dict) and isinstance(message.get("data"), bytes):
                    names = _NAME.findall(message["data"])
                    self._waiting.hint(
                        [
                            CacheKey(space.decode(), bytes.fromhex(digest.decode()))
                            for space, digest in names
                        ]
                    )
        finally:
            await pubsub.aclose()  # type: ignore[no-untyped-call]
