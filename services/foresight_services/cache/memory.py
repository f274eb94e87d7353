"""Values in this process, bounded in bytes; the one used least recently goes first.

Nothing here waits for anything but another caller, so there is nothing to guard. A value is kept as
it was given: whoever may hold it may not change it, bytes being what they are.
"""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from foresight_services.cache.waiting import Waiting
from foresight_services.core.cache import (
    BypassReason,
    CacheKey,
    CacheObserver,
    CacheOperation,
    Lifetime,
    count_lookup,
    count_stored,
)
from foresight_services.core.ports import Clock

ENTRY_BYTES: Final = 400
"""What an entry takes beside its value: key, digest, tuple, places in the table (measured)."""
POLL_SECONDS: Final = 60.0
"""No other process can settle a key, so hints and ends of leases are enough."""


class MemoryCache:
    """Implements the port `CacheStore` in this process, for callers of one event loop."""

    def __init__(
        self,
        *,
        max_bytes: int,
        lifetime: Lifetime,
        clock: Clock,
        rng: random.Random,
        observer: CacheObserver,
    ) -> None:
        """Begin empty.

        Args:
            max_bytes: bound on the values and what each entry takes beside its value.
            lifetime: how long values live.
            clock: measures lifetimes and leases.
            rng: draws lifetimes.
            observer: told of hits, misses and values stored.
        """
        self._max_bytes = max_bytes
        self._lifetime = lifetime
        self._clock = clock
        self._rng = rng
        self._observer = observer
        self._entries: OrderedDict[CacheKey, tuple[bytes, float]] = OrderedDict()
        self._leases: dict[CacheKey, tuple[str, float]] = {}
        self._waiting = Waiting(self._look, poll_seconds=POLL_SECONDS)
        self._closed = False
        self.size = 0
        """Bytes taken now; read only."""

    async def get_many(self, keys: Sequence[CacheKey]) -> Sequence[bytes | None]:
        """Implement `Cache.get_many`."""
        if self._bypassed(CacheOperation.GET, len(keys)):
            return [None] * len(keys)
        now = self._clock.now()
        values = [self._get(key, now) for key in keys]
        count_lookup(self._observer, keys, values)
        return values

    async def put_many(self, entries: Mapping[CacheKey, bytes]) -> None:
        """Implement `Cache.put_many`; what is larger than the whole store is left out."""
        if self._bypassed(CacheOperation.PUT, len(entries)):
            return
        now, sizes = self._clock.now(), dict[CacheKey, int]()
        for key, value in entries.items():
            if len(value) + ENTRY_BYTES > self._max_bytes:
                self._observer.bypassed(BypassReason.TOO_LARGE, CacheOperation.PUT, 1)
                continue
            self._remove(key)
            self._entries[key] = (value, now + self._lifetime.draw(self._rng))
            self.size += len(value) + ENTRY_BYTES
            sizes[key] = len(value)
        while self.size > self._max_bytes:
            self._remove(next(iter(self._entries)))
        count_stored(self._observer, sizes)
        self._waiting.hint(sizes)

    async def acquire_many(
        self, keys: Collection[CacheKey], owner: str, ttl_seconds: float
    ) -> frozenset[CacheKey]:
        """Implement `Leases.acquire_many`."""
        if self._bypassed(CacheOperation.ACQUIRE, len(keys)):
            return frozenset(keys)
        now = self._clock.now()
        free = {key for key in keys if self._holder(key, now) in (None, owner)}
        stored = {key for key in free if self._stored(key, now)}
        for key in stored:
            self._leases.pop(key, None)
        won = free - stored
        self._leases.update((key, (owner, now + ttl_seconds)) for key in won)
        return frozenset(won)

    async def renew_many(
        self, keys: Collection[CacheKey], owner: str, ttl_seconds: float
    ) -> frozenset[CacheKey]:
        """Implement `Leases.renew_many`."""
        if self._bypassed(CacheOperation.RENEW, len(keys)):
            return frozenset(keys)
        now = self._clock.now()
        held = {key for key in keys if self._holder(key, now) == owner}
        self._leases.update((key, (owner, now + ttl_seconds)) for key in held)
        return frozenset(held)

    async def release_many(self, keys: Collection[CacheKey], owner: str) -> None:
        """Implement `Leases.release_many`."""
        if self._bypassed(CacheOperation.RELEASE, len(keys)):
            return
        now = self._clock.now()
        ended = [key for key in keys if self._holder(key, now) == owner]
        for key in ended:
            del self._leases[key]
        self._waiting.hint(ended)

    async def wait_any(
        self, keys: Collection[CacheKey], timeout_seconds: float
    ) -> frozenset[CacheKey]:
        """Implement `Leases.wait_any`."""
        return await self._waiting.wait_any(keys, timeout_seconds)

    async def close(self) -> None:
        """Implement `CacheStore.close`."""
        self._closed = True
        await self._waiting.close()
        self._entries.clear()
        self._leases.clear()
        self.size = 0

    def _bypassed(self, operation: CacheOperation, keys: int) -> bool:
        if self._closed:
            self._observer.bypassed(BypassReason.CLOSED, operation, keys)
        return self._closed

    def _stored(self, key: CacheKey, now: float) -> bool:
        entry = self._entries.get(key)
        return entry is not None and now < entry[1]

    def _get(self, key: CacheKey, now: float) -> bytes | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        if now >= entry[1]:
            self._remove(key)
            return None
        self._entries.move_to_end(key)
        return entry[0]

    def _remove(self, key: CacheKey) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.size -= len(entry[0]) + ENTRY_BYTES

    def _holder(self, key: CacheKey, now: float) -> str | None:
        lease = self._leases.get(key)
        if lease is None:
            return None
        if now >= lease[1]:
            del self._leases[key]
            return None
        return lease[0]

    async def _look(self, keys: Sequence[CacheKey]) -> Mapping[CacheKey, float]:
        now = self._clock.now()
        return {
            key: self._leases[key][1] - now
            for key in keys
            if not self._stored(key, now) and self._holder(key, now) is not None
        }
