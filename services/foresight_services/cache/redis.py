"""Values in Redis 6.2 or newer, shared by all replicas.

    PREFIX:NAMESPACE:{DIGEST}         a value in its envelope
    PREFIX:NAMESPACE:{DIGEST}:lease   its lease: the owner's name
    PREFIX:settled                    channel: names of keys that were stored or released

Both keys of a digest lie in one slot of a cluster; scripts touch one key. Every call is one round
trip: a pipeline. Bound and eviction are the server's own (`maxmemory`, docs/redis.md).
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from foresight_services.cache.envelope import MAX_VALUE_BYTES, Envelope, NotAValue
from foresight_services.cache.guard import OUTAGES, Guard, OutageSettings, StoreFailed
from foresight_services.cache.redis_faults import LOST_NODE, fault_of
from foresight_services.cache.redis_link import Command, RedisLink
from foresight_services.cache.redis_news import RedisNews
from foresight_services.cache.redis_scripts import ACQUIRE, RELEASE, RENEW
from foresight_services.cache.waiting import Waiting
from foresight_services.core.cache import (
    BypassReason,
    CacheFault,
    CacheKey,
    CacheObserver,
    CacheOperation,
    Lifetime,
    count_lookup,
    count_stored,
)
from foresight_services.core.ports import Clock

LeaseWork = Callable[[], Awaitable[frozenset[CacheKey]]]


@dataclass(frozen=True, slots=True)
class RedisSettings:
    """How a Redis is used."""

    key_prefix: str = "foresight"
    """What all keys and the channel begin with."""
    timeout_seconds: float = 0.2
    """Limit of one call: waiting for a connection, connecting, sending and reading."""
    at_once: int = 16
    """Calls at once; more wait in line, within their time."""
    poll_seconds: float = 2.0
    """How soon a waiter notices what no message told; a fraction of a lease."""
    outage: OutageSettings = OutageSettings()
    """When the server is left alone."""


class RedisCache:
    """Implements the port `CacheStore` on Redis, for callers of one event loop."""

    def __init__(
        self,
        link: RedisLink,
        *,
        settings: RedisSettings,
        lifetime: Lifetime,
        envelope: Envelope,
        clock: Clock,
        rng: random.Random,
        observer: CacheObserver,
    ) -> None:
        """Use the server behind `link`.

        Args:
            link: connections, as many as `settings` has calls at once.
            settings: names and limits.
            lifetime: how long values live.
            envelope: packs values.
            clock: measures outages; the server measures lifetimes and leases.
            rng: draws lifetimes.
            observer: told of everything that happens.
        """
        self._link = link
        self._prefix = settings.key_prefix
        self._channel = f"{settings.key_prefix}:settled".encode()
        self._poll_seconds = settings.poll_seconds
        self._lifetime = lifetime
        self._envelope = envelope
        self._rng = rng
        self._observer = observer
        self._guard = Guard(
            timeout_seconds=settings.timeout_seconds,
            settings=settings.outage,
            clock=clock,
            observer=observer,
            fault_of=fault_of,
            at_once=settings.at_once,
        )
        self._waiting = Waiting(self._look, poll_seconds=settings.poll_seconds)
        self._news = RedisNews(link, self._channel, self._waiting, observer)

    async def get_many(self, keys: Sequence[CacheKey]) -> Sequence[bytes | None]:
        """Implement `Cache.get_many`."""
        nothing: list[bytes | None] = [None] * len(keys)
        if keys:
            work = partial(self._get, keys)
            values = await self._guard.call(CacheOperation.GET, len(keys), work, nothing)
        else:
            values = nothing
        count_lookup(self._observer, keys, values)
        return values

    async def put_many(self, entries: Mapping[CacheKey, bytes]) -> None:
        """Implement `Cache.put_many`."""
        fitting = {key: v for key, v in entries.items() if len(v) <= MAX_VALUE_BYTES}
        if len(fitting) < len(entries):
            left_out = len(entries) - len(fitting)
            self._observer.bypassed(BypassReason.TOO_LARGE, CacheOperation.PUT, left_out)
        if not fitting:
            return
        work = partial(self._put, fitting)
        nothing: dict[CacheKey, int] = {}
        stored = await self._guard.call(CacheOperation.PUT, len(fitting), work, nothing)
        count_stored(self._observer, stored)
        self._waiting.hint(stored)

    async def acquire_many(
        self, keys: Collection[CacheKey], owner: str, ttl_seconds: float
    ) -> frozenset[CacheKey]:
        """Implement `Leases.acquire_many`."""
        work = partial(self._acquire, tuple(keys), owner, ttl_seconds)
        return await self._lease(CacheOperation.ACQUIRE, keys, work)

    async def renew_many(
        self, keys: Collection[CacheKey], owner: str, ttl_seconds: float
    ) -> frozenset[CacheKey]:
        """Implement `Leases.renew_many`."""
        work = partial(self._renew, tuple(keys), owner, ttl_seconds)
        return await self._lease(CacheOperation.RENEW, keys, work)

    async def release_many(self, keys: Collection[CacheKey], owner: str) -> None:
        """Implement `Leases.release_many`."""
        await self._lease(CacheOperation.RELEASE, keys, partial(self._release, tuple(keys), owner))
        self._waiting.hint(keys)

    async def wait_any(
        self, keys: Collection[CacheKey], timeout_seconds: float
    ) -> frozenset[CacheKey]:
        """Implement `Leases.wait_any`."""
        self._news.start()
        return await self._waiting.wait_any(keys, timeout_seconds)

    async def close(self) -> None:
        """Implement `CacheStore.close`."""
        await self._news.close()
        await self._waiting.close()
        if await self._guard.close():
            await self._link.close()

    def _name(self, key: CacheKey) -> bytes:
        return f"{self._prefix}:{key.namespace}:{{{key.digest.hex()}}}".encode("ascii")

    def _said(self, keys: Collection[CacheKey]) -> Command:
        return ("PUBLISH", self._channel, RedisNews.message(keys))

    async def _lease(
        self, operation: CacheOperation, keys: Collection[CacheKey], work: LeaseWork
    ) -> frozenset[CacheKey]:
        if not keys:
            return frozenset()
        return await self._guard.call(operation, len(keys), work, frozenset(keys))

    async def _get(self, keys: Sequence[CacheKey]) -> list[bytes | None]:
        replies = await self._link.read([self._name(key) for key in keys])
        values, faults = list[bytes | None](), set[CacheFault]()
        for key, reply in zip(keys, replies, strict=True):
            value = None
            if isinstance(reply, bytes):
                try:
                    value = self._envelope.unpack(key, reply)
                except NotAValue:
                    faults.add(CacheFault.GARBAGE)
            elif reply is not None:
                faults.add(_fault_in(reply))
            values.append(value)
        await self._told(CacheOperation.GET, replies, faults)
        return values

    async def _put(self, entries: Mapping[CacheKey, bytes]) -> dict[CacheKey, int]:
        commands, sizes = list[Command](), dict[CacheKey, int]()
        for key, value in entries.items():
            packed = self._envelope.pack(key, value)
            sizes[key] = len(packed)
            seconds = self._lifetime.draw(self._rng)
            commands.append(("SET", self._name(key), packed, "PX", _milliseconds(seconds)))
        replies = await self._run(CacheOperation.PUT, commands, self._said(entries))
        return {
            key: sizes[key]
            for key, reply in zip(entries, replies[:-1], strict=True)
            if reply in (True, b"OK")
        }

    async def _acquire(
        self, keys: Sequence[CacheKey], owner: str, seconds: float
    ) -> frozenset[CacheKey]:
        commands = list[Command]()
        for key in keys:
            name = self._name(key)
            commands.append(("EVAL", ACQUIRE, 1, name + b":lease", owner, _milliseconds(seconds)))
            # After the lease: an owner stores before it releases, so what is not there by now was
            # not stored by anyone before us.
            commands.append(("EXISTS", name))
        replies = await self._run(CacheOperation.ACQUIRE, commands)
        won, stored = set[CacheKey](), list[CacheKey]()
        for key, lease, exists in zip(keys, replies[::2], replies[1::2], strict=True):
            if exists == 1:
                if lease == 1:
                    stored.append(key)
            elif lease == 1 or isinstance(lease, Exception):
                won.add(key)
        if stored:
            await self._release(stored, owner)
        return frozenset(won)

    async def _renew(
        self, keys: Sequence[CacheKey], owner: str, seconds: float
    ) -> frozenset[CacheKey]:
        script: Command = ("EVAL", RENEW, 1)
        rest = (owner, _milliseconds(seconds))
        commands = [(*script, self._name(key) + b":lease", *rest) for key in keys]
        replies = await self._run(CacheOperation.RENEW, commands)
        pairs = zip(keys, replies, strict=True)
        return frozenset(key for key, r in pairs if r == 1 or isinstance(r, Exception))

    async def _release(self, keys: Sequence[CacheKey], owner: str) -> frozenset[CacheKey]:
        commands: list[Command] = [
            ("EVAL", RELEASE, 1, self._name(key) + b":lease", owner) for key in keys
        ]
        await self._run(CacheOperation.RELEASE, commands, self._said(keys))
        return frozenset()

    async def _look(self, keys: Sequence[CacheKey]) -> Mapping[CacheKey, float]:
        """Ask about keys; of those that cannot be asked about, the next acquire tells."""
        held = await self._guard.call(
            CacheOperation.WATCH, len(keys), partial(self._ask, keys), None
        )
        if held is not None:
            return held
        return {} if self._guard.outage.lasts else dict.fromkeys(keys, self._poll_seconds)

    async def _ask(self, keys: Sequence[CacheKey]) -> dict[CacheKey, float]:
        commands = list[Command]()
        for key in keys:
            name = self._name(key)
            commands += (("EXISTS", name), ("PTTL", name + b":lease"))
        replies = await self._run(CacheOperation.WATCH, commands)
        held = dict[CacheKey, float]()
        for key, exists, left in zip(keys, replies[::2], replies[1::2], strict=True):
            # Below 0 there is no lease, or one that never ends, which may be won.
            if exists == 0 and isinstance(left, int) and left >= 0:
                held[key] = left / 1000
        return held

    async def _run(
        self, operation: CacheOperation, commands: Sequence[Command], say: Command | None = None
    ) -> list[object]:
        replies = await self._link.run(commands, say)
        faults = {_fault_in(reply) for reply in replies if isinstance(reply, Exception)}
        await self._told(operation, replies, faults)
        return replies

    async def _told(
        self, operation: CacheOperation, replies: Sequence[object], faults: set[CacheFault]
    ) -> None:
        """Count what failed; a call of which nothing succeeded has failed itself."""
        if not faults:
            return
        if faults & LOST_NODE:
            await self._link.lost()
        if len(faults) == 1 and all(isinstance(reply, Exception) for reply in replies):
            (fault,) = faults
            if fault in OUTAGES:
                raise StoreFailed(fault)
        self._guard.note(operation, faults)


def _fault_in(reply: object) -> CacheFault:
    """Name what is wrong with a reply that is no value."""
    if not isinstance(reply, Exception):
        return CacheFault.GARBAGE
    return fault_of(reply) or CacheFault.UNEXPECTED


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
