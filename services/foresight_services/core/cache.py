"""Ports of what is remembered between requests, and of who works on what.

    Cache       bytes by key: futures, scores, rewards
    Leases      which replica makes the value of a key that nobody has yet

A cache is never needed: reads that fail are misses, writes that fail are dropped, and leases of a
store that cannot be asked are won by everybody. None of the methods raises for a store that is
slow, full, wrong or gone; a `CacheObserver` is told.

How one value is made once, by any number of replicas:

    found = get_many(keys)
    won = acquire_many(missing, owner, ttl)        a stored key is never won
    make what was won, renew_many until done, put_many, release_many
    wait_any(the others) -> get_many, and acquire_many for those still missing

An owner that dies loses its leases after their ttl, and a waiter wins them.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from enum import StrEnum
from typing import Final, NamedTuple, Protocol

DIGEST_BYTES: Final = 32
"""Length of a key's digest: SHA-256."""


class CacheKey(NamedTuple):
    """What a value is stored under."""

    namespace: str
    """Kind of value, such as `future`, `score` or `reward`; lower-case letters, digits, `_`."""
    digest: bytes
    """32 bytes over everything that determines the value."""


class CacheOperation(StrEnum):
    """What a store is asked to do."""

    GET = "get"
    PUT = "put"
    ACQUIRE = "acquire"
    RENEW = "renew"
    RELEASE = "release"
    WATCH = "watch"
    """Asking about keys that somebody waits for."""


class CacheFault(StrEnum):
    """What went wrong with a store."""

    TIMEOUT = "timeout"
    """It did not answer in time."""
    CONNECTION = "connection"
    """It cannot be reached, or hung up."""
    LOADING = "loading"
    """It is starting."""
    FAILOVER = "failover"
    """It is changing roles: read only, without a master, or with slots that nobody serves."""
    FULL = "full"
    """It has no room and evicts nothing."""
    REFUSED = "refused"
    """It does not accept the credentials, or does not allow the command."""
    GARBAGE = "garbage"
    """What it holds or sends is not what was stored."""
    REJECTED = "rejected"
    """It answered with any other error."""
    UNEXPECTED = "unexpected"
    """The adapter itself failed; the log has the place."""


class BypassReason(StrEnum):
    """Why a store was not asked."""

    OUTAGE = "outage"
    """It failed several times in a row and is left alone for a while."""
    TOO_LARGE = "too_large"
    """The value is larger than the store takes."""
    CLOSED = "closed"
    """It was closed."""


class CacheObserver(Protocol):
    """What the operator sees of a store. Never raises and never blocks."""

    def looked_up(self, namespace: str, *, hits: int, misses: int, size: int) -> None:
        """Count the keys of a lookup and the bytes of the values found; a failed one is misses."""
        ...

    def stored(self, namespace: str, *, entries: int, size: int) -> None:
        """Count values that the store took, and their bytes as stored."""
        ...

    def bypassed(self, reason: BypassReason, operation: CacheOperation, keys: int) -> None:
        """Count keys for which the store was not asked."""
        ...

    def failed(self, fault: CacheFault, operation: CacheOperation) -> None:
        """Count a failure; one call may have several, one for each kind."""
        ...

    def took(self, operation: CacheOperation, seconds: float) -> None:
        """Observe how long the store took, whether or not it succeeded."""
        ...


class UnobservedCache:
    """Implements the port `CacheObserver` and forgets everything."""

    def looked_up(self, namespace: str, *, hits: int, misses: int, size: int) -> None:
        """Forget it."""

    def stored(self, namespace: str, *, entries: int, size: int) -> None:
        """Forget it."""

    def bypassed(self, reason: BypassReason, operation: CacheOperation, keys: int) -> None:
        """Forget it."""

    def failed(self, fault: CacheFault, operation: CacheOperation) -> None:
        """Forget it."""

    def took(self, operation: CacheOperation, seconds: float) -> None:
        """Forget it."""


class Cache(Protocol):
    """Remembers values. Whole groups are asked for at once: one call is one round trip."""

    async def get_many(self, keys: Sequence[CacheKey]) -> Sequence[bytes | None]:
        """Return the values in the order of `keys`; None for what is not there or cannot be had."""
        ...

    async def put_many(self, entries: Mapping[CacheKey, bytes]) -> None:
        """Store values for the configured lifetime; they may be gone earlier, or at once."""
        ...


class Leases(Protocol):
    """Says who makes a value, so that it is made once. Of the same store as a `Cache`."""

    async def acquire_many(
        self, keys: Collection[CacheKey], owner: str, ttl_seconds: float
    ) -> AbstractSet[CacheKey]:
        """Return the keys that `owner` holds from now on, for `ttl_seconds` unless renewed.

        A key that is stored or held by another owner is not won. `owner` names one piece of work,
        not a replica: who asks again with the same name holds what it held, save what is stored.
        """
        ...

    async def renew_many(
        self, keys: Collection[CacheKey], owner: str, ttl_seconds: float
    ) -> AbstractSet[CacheKey]:
        """Hold leases for `ttl_seconds` from now; return those that `owner` still holds."""
        ...

    async def release_many(self, keys: Collection[CacheKey], owner: str) -> None:
        """End the leases that `owner` holds, and no other's."""
        ...

    async def wait_any(
        self, keys: Collection[CacheKey], timeout_seconds: float
    ) -> AbstractSet[CacheKey]:
        """Return as soon as some of `keys` are stored or held by nobody: which; empty in time-out.

        All of them where the store cannot be asked, so that no one waits for an outage to end.
        """
        ...


class CacheStore(Cache, Leases, Protocol):
    """A store with both."""

    async def close(self) -> None:
        """Let go of files and connections; later calls bypass the store."""
        ...


class Lifetime(NamedTuple):
    """How long values live."""

    ttl_seconds: float
    """Longest lifetime, above 0."""
    jitter: float = 0.0
    """Share of it, from 0 to below 1, by which lifetimes differ at random, so that what was stored
    together does not end together."""

    def draw(self, rng: random.Random) -> float:
        """Return the lifetime of one value in seconds: at most `ttl_seconds`."""
        return self.ttl_seconds * (1.0 - self.jitter * rng.random())


def count_lookup(
    observer: CacheObserver, keys: Sequence[CacheKey], values: Sequence[bytes | None]
) -> None:
    """Tell `observer` of a lookup, by namespace."""
    found: dict[str, list[int]] = {}
    for key, value in zip(keys, values, strict=True):
        counts = found.setdefault(key.namespace, [0, 0, 0])
        if value is None:
            counts[1] += 1
        else:
            counts[0] += 1
            counts[2] += len(value)
    for namespace, (hits, misses, size) in found.items():
        observer.looked_up(namespace, hits=hits, misses=misses, size=size)


def count_stored(observer: CacheObserver, sizes: Mapping[CacheKey, int]) -> None:
    """Tell `observer` of stored values, by namespace."""
    stored: dict[str, list[int]] = {}
    for key, size in sizes.items():
        counts = stored.setdefault(key.namespace, [0, 0])
        counts[0] += 1
        counts[1] += size
    for namespace, (entries, size) in stored.items():
        observer.stored(namespace, entries=entries, size=size)
