"""What a store tells its observer, and keys and stores for tests."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from dataclasses import dataclass, field

from foresight_services.cache.envelope import Envelope
from foresight_services.cache.guard import OutageSettings
from foresight_services.cache.redis import RedisCache, RedisSettings
from foresight_services.cache.redis_access import RedisAccess, RedisTls
from foresight_services.cache.redis_cluster import connect
from foresight_services.cache.redis_place import parse_place
from foresight_services.core.cache import CacheKey, CacheObserver, Lifetime
from tests.fakes.virtual_time import LoopClock

LIFETIME = Lifetime(1000.0)
NO_TLS = RedisTls()


@dataclass
class Recorder:
    """Implements the port `CacheObserver` and adds up what it is told."""

    hits: int = 0
    misses: int = 0
    size: int = 0
    entries: int = 0
    bypasses: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)

    def looked_up(self, namespace, *, hits, misses, size):
        self.hits += hits
        self.misses += misses

    def stored(self, namespace, *, entries, size):
        self.entries += entries
        self.size += size

    def bypassed(self, reason, operation, keys):
        self.bypasses[reason.value] += keys

    def failed(self, fault, operation):
        self.faults[fault.value] += 1

    def took(self, operation, seconds):
        assert seconds >= 0
        self.calls[operation.value] += 1


def key(number: int, namespace: str = "future") -> CacheKey:
    """Return the key of this number."""
    return CacheKey(namespace, hashlib.sha256(str(number).encode()).digest())


def keys(*numbers: int) -> list[CacheKey]:
    """Return the keys of these numbers."""
    return [key(number) for number in numbers]


def redis_cache(
    url: str,
    observer: CacheObserver,
    *,
    prefix: str = "",
    settings: dict | None = None,
    outage: dict | None = None,
    lifetime: Lifetime = LIFETIME,
    tls: RedisTls = NO_TLS,
    connect_timeout_seconds: float = 10.0,
    **access: str,
) -> RedisCache:
    """Return a store with names of its own, in which no patience ends but a test's."""
    given = {"at_once": 8, "timeout_seconds": 30.0, **(settings or {})}
    return RedisCache(
        connect(
            RedisAccess(
                place=parse_place(url),
                tls=tls,
                connections=given["at_once"],
                connect_timeout_seconds=connect_timeout_seconds,
                **access,
            )
        ),
        settings=RedisSettings(
            key_prefix=prefix or f"test-{random.SystemRandom().getrandbits(64):x}",
            outage=OutageSettings(**(outage or {})),
            **given,
        ),
        lifetime=lifetime,
        envelope=Envelope(compress_above_bytes=512),
        clock=LoopClock(),
        rng=random.Random(0),
        observer=observer,
    )
