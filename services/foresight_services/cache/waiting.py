"""Callers who wait until keys are settled: stored, or held by nobody.

One task of each store looks at the keys that anybody waits for, in batches, one batch at a time:
at once when a wait begins or a hint comes, and else when the lease would end or the poll is due.
Hints only save time: none needs to come, and a false one costs a look.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from itertools import islice
from typing import Final

from foresight_services.core.cache import CacheKey

KEYS_AT_ONCE: Final = 500
"""Keys of one look, so that no look holds up the event loop for long."""
AFTER_END_SECONDS: Final = 0.001
"""How long after the end of a lease it is looked at; stores count in milliseconds."""

Look = Callable[[Sequence[CacheKey]], Awaitable[Mapping[CacheKey, float]]]
"""Asks the store about keys: the seconds for which they are still held. Others are settled."""


class Waiting:
    """The waits of one store."""

    def __init__(self, look: Look, *, poll_seconds: float) -> None:
        """Ask by `look` about every key at least every `poll_seconds`."""
        self._look = look
        self._poll = poll_seconds
        self._waits: dict[CacheKey, set[asyncio.Future[frozenset[CacheKey]]]] = {}
        self._fresh: dict[CacheKey, None] = {}
        self._later: list[tuple[float, CacheKey]] = []
        self._next: dict[CacheKey, float] = {}
        """When a key is looked at again; entries of `_later` with another time are void."""
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def keys(self) -> int:
        """How many keys are waited for."""
        return len(self._waits)

    async def wait_any(
        self, keys: Collection[CacheKey], timeout_seconds: float
    ) -> frozenset[CacheKey]:
        """Implement `Leases.wait_any`."""
        if self._closed:
            return frozenset(keys)
        if not keys:
            return frozenset()
        settled: asyncio.Future[frozenset[CacheKey]] = asyncio.get_running_loop().create_future()
        for key in keys:
            self._waits.setdefault(key, set()).add(settled)
        self.hint(keys)
        if self._task is None:
            self._task = asyncio.create_task(self._watch())
            self._task.add_done_callback(self._ended)
        try:
            async with asyncio.timeout(timeout_seconds):
                return await settled
        except TimeoutError:
            return frozenset()
        finally:
            self._leave(keys, settled)

    def hint(self, keys: Collection[CacheKey] | None = None) -> None:
        """Look at `keys`, or all, as soon as possible; those that nobody waits for cost nothing."""
        for key in tuple(self._waits) if keys is None else keys:
            if key in self._waits:
                self._fresh[key] = None
        if self._fresh:
            self._wake.set()

    async def close(self) -> None:
        """End all waits, as if their keys were settled."""
        self._closed = True
        self._settle(tuple(self._waits))
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    def _leave(
        self, keys: Collection[CacheKey], settled: asyncio.Future[frozenset[CacheKey]]
    ) -> None:
        for key in keys:
            others = self._waits[key]
            others.discard(settled)
            if not others:
                del self._waits[key]
                self._next.pop(key, None)
                self._fresh.pop(key, None)
        if not self._waits:
            self._wake.set()

    async def _watch(self) -> None:
        """Look at keys until nobody waits."""
        loop = asyncio.get_running_loop()
        while self._waits:
            due = self._due(loop.time())
            if due:
                held = await self._look(due)
                now = loop.time()
                for key, seconds in held.items():
                    self._schedule(key, now + min(seconds + AFTER_END_SECONDS, self._poll))
                self._settle([key for key in due if key not in held])
                # Those who were told go first; they often wait for nothing more.
                await asyncio.sleep(0)
                continue
            self._wake.clear()
            end = self._later[0][0] if self._later else None
            try:
                async with asyncio.timeout_at(end):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def _due(self, now: float) -> list[CacheKey]:
        """Take the next keys to look at."""
        due = list(islice(self._fresh, KEYS_AT_ONCE))
        for key in due:
            del self._fresh[key]
        while self._later and self._later[0][0] <= now and len(due) < KEYS_AT_ONCE:
            when, key = heapq.heappop(self._later)
            if self._next.get(key) == when and key not in self._fresh:
                del self._next[key]
                due.append(key)
        return due

    def _schedule(self, key: CacheKey, when: float) -> None:
        if key in self._waits:
            self._next[key] = when
            heapq.heappush(self._later, (when, key))

    def _settle(self, keys: Collection[CacheKey]) -> None:
        told: dict[asyncio.Future[frozenset[CacheKey]], set[CacheKey]] = {}
        for key in keys:
            for settled in self._waits.get(key, ()):
                told.setdefault(settled, set()).add(key)
        for settled, which in told.items():
            if not settled.done():
                settled.set_result(frozenset(which))

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Tell those who still wait where the task failed; begin anew where some came since."""
        self._task = None
        self._later.clear()
        self._next.clear()
        error = None if task.cancelled() else task.exception()
        for settled in {s for waits in self._waits.values() for s in waits}:
            if error is not None and not settled.done():
                settled.set_exception(error)
        if self._waits and not self._closed and error is None:
            self._task = asyncio.create_task(self._watch())
            self._task.add_done_callback(self._ended)
