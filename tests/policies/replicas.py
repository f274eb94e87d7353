"""Replicas that share policies: in this process, or by a real Redis."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from foresight_services.cache.envelope import Envelope
from foresight_services.cache.guard import Guard, OutageSettings
from foresight_services.cache.redis_access import RedisAccess, RedisTls
from foresight_services.cache.redis_cluster import connect
from foresight_services.cache.redis_faults import fault_of
from foresight_services.cache.redis_place import parse_place
from foresight_services.cache.redis_policies import RedisPolicyStore
from foresight_services.cache.redis_policies_value import HistoryCodec
from foresight_services.core.cache import BypassReason, CacheFault, CacheOperation
from foresight_services.core.errors import DomainError, Upstream
from foresight_services.core.policies import PolicyRegistry
from foresight_services.core.policy_store import History, PolicyStore
from foresight_services.core.published import PublishedPolicy
from foresight_services.core.task import PolicyRef
from tests.fakes.redis_server import RedisServer
from tests.fakes.registry import adapter, ref
from tests.fakes.virtual_time import LoopClock

PREFIX = "fs"
"""What keys begin with on servers that a test has for itself."""
KEY = f"{PREFIX}:policies"
"""The hash of the policies there."""
NEVER = 1000.0
"""Longer than any test: what comes sooner came by a message or a read."""
SOON = 0.05
"""A poll for those who wait for one."""
NO_PAUSE = OutageSettings(failures=3, pause_seconds=0.0, longest_pause_seconds=0.0)
"""For stores that shall notice at once that Redis is back."""
NO_TLS = RedisTls()


@dataclass
class Seen:
    """Implements the port `CacheObserver` and adds up what it is told."""

    shared: int = 0
    """Reads that Redis answered."""
    copied: int = 0
    """Reads that the copy answered."""
    faults: Counter[CacheFault] = field(default_factory=Counter)
    """Failures by kind."""
    bypassed_calls: Counter[BypassReason] = field(default_factory=Counter)
    """Calls that were not made, by reason."""

    def looked_up(self, namespace: str, *, hits: int, misses: int, size: int) -> None:
        """Add up reads."""
        assert namespace == "policy"
        self.shared += hits
        self.copied += misses

    def stored(self, namespace: str, *, entries: int, size: int) -> None:
        """Fail: nothing of it is a value of the cache."""
        raise AssertionError(namespace)

    def bypassed(self, reason: BypassReason, operation: CacheOperation, keys: int) -> None:
        """Count calls that were not made."""
        self.bypassed_calls[reason] += 1

    def failed(self, fault: CacheFault, operation: CacheOperation) -> None:
        """Count failures."""
        self.faults[fault] += 1

    def took(self, operation: CacheOperation, seconds: float) -> None:
        """Forget it."""


def fresh_prefix() -> str:
    """Return names of keys that no other test has."""
    return f"test-{random.SystemRandom().getrandbits(64):x}"


def history_codec() -> HistoryCodec:
    """Return what packs histories."""
    return HistoryCodec(Envelope(compress_above_bytes=512))


def redis_store(
    url: str,
    prefix: str,
    seen: Seen | None = None,
    *,
    poll_seconds: float = NEVER,
    timeout_seconds: float = 30.0,
    outage: OutageSettings = NO_PAUSE,
    tls: RedisTls = NO_TLS,
    username: str = "",
    password: str = "",
) -> RedisPolicyStore:
    """Return a store that has not started; by default no patience ends but a test's."""
    observer = seen or Seen()
    access = RedisAccess(
        place=parse_place(url),
        username=username,
        password=password,
        tls=tls,
        connections=4,
        connect_timeout_seconds=10.0,
    )
    guard = Guard(
        timeout_seconds=timeout_seconds,
        settings=outage,
        clock=LoopClock(),
        observer=observer,
        fault_of=fault_of,
        at_once=4,
    )
    return RedisPolicyStore(
        connect(access),
        key_prefix=prefix,
        poll_seconds=poll_seconds,
        codec=history_codec(),
        guard=guard,
        observer=observer,
    )


@dataclass
class Replica:
    """A reward service's registry, its clock a counter of its own."""

    store: PolicyStore
    """What it shares."""
    first_ns: int = 1
    """Its clock's first time."""

    def __post_init__(self) -> None:
        self._now_ns = self.first_ns - 1
        self.registry = PolicyRegistry(store=self.store, now_ns=self._tick)

    def _tick(self) -> int:
        self._now_ns += 1
        return self._now_ns

    async def compute(self, stack: AsyncExitStack, asked: PolicyRef) -> list[DomainError]:
        """Begin a computation; return what it is told."""
        use = await stack.enter_async_context(self.registry.using(asked))
        told: list[DomainError] = []
        use.when_withdrawn(told.append)
        return told


async def started(stack: AsyncExitStack, store: RedisPolicyStore) -> RedisPolicyStore:
    """Start `store`, to be closed by `stack`, and return it once it hears messages."""
    store.start()
    stack.push_async_callback(store.close)
    await store._news.listening.wait()
    return store


def quiet(stack: AsyncExitStack, store: RedisPolicyStore) -> RedisPolicyStore:
    """Return `store`, which does nothing unless asked, to be closed by `stack`."""
    stack.push_async_callback(store.close)
    return store


async def newest(replica: Replica) -> int:
    """Return the newest version of `policy`, as `replica` knows it."""
    return (await replica.registry.get(ref(0))).ref.version


async def until_published(replica: Replica, version: int) -> PublishedPolicy:
    """Publish as a trainer does that tries again."""
    async with asyncio.timeout(60):
        while True:
            try:
                return await replica.registry.publish(ref(version), adapter(f"/a/{version}"))
            except Upstream:
                await asyncio.sleep(0.01)


async def until_seen(replica: Replica, version: int) -> None:
    """Wait until `replica` knows the version as the newest one."""
    async with asyncio.timeout(60):
        while (await replica.registry.get(ref(0))).ref != ref(version):  # noqa: ASYNC110 - elsewhere
            await asyncio.sleep(0.01)


def stored(server: RedisServer, name: str = "policy") -> History:
    """Return what the server holds."""
    raw = server.ask("HGET", KEY, name)
    return history_codec().unpack(name, raw) if isinstance(raw, bytes) else History()
