"""The registry of published policies: of this process, or of all replicas that share a Redis."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from foresight_services.bootstrap.worker_rules import WorkersPolicyStore
from foresight_services.cache.guard import Guard
from foresight_services.cache.opening import redis_access, redis_missing, redis_outage
from foresight_services.config.cache import CacheConfig
from foresight_services.core.cache import CacheObserver
from foresight_services.core.policies import PolicyRegistry
from foresight_services.core.policy_store import MemoryPolicyStore
from foresight_services.core.ports import Clock

if TYPE_CHECKING:
    from foresight_services.cache.redis_policies import RedisPolicyStore

CONNECTIONS: Final = 4
"""Calls at once to the Redis of the policies: each is short."""


def build_policies(workers: int = 1) -> PolicyRegistry:
    """Return an empty registry of published policies, kept by this process if it is the only one.

    Args:
        workers: processes that serve the same.
    """
    store = MemoryPolicyStore() if workers == 1 else WorkersPolicyStore()
    return PolicyRegistry(store=store, now_ns=time.time_ns)


@asynccontextmanager
async def shared_policies(
    cache: CacheConfig, *, workers: int = 1, clock: Clock, observer: CacheObserver
) -> AsyncIterator[PolicyRegistry]:
    """Return the registry of all replicas that have the Redis of `cache`; else an own one.

    Args:
        cache: where that is.
        workers: processes that serve the same; without a Redis, more than one publish nothing.
        clock: measures its outages.
        observer: told of them.

    Raises:
        Precondition: a password is not set, or a package is missing.
    """
    if not cache.url:
        yield build_policies(workers)
        return
    store = redis_policies(cache, os.environ, clock=clock, observer=observer)
    registry = PolicyRegistry(store=store, now_ns=time.time_ns)
    store.start()
    try:
        yield registry
    finally:
        await store.close()


def redis_policies(
    cache: CacheConfig, environment: Mapping[str, str], *, clock: Clock, observer: CacheObserver
) -> RedisPolicyStore:
    """Return the store of the Redis that `cache` names; it belongs to the running loop.

    Raises:
        Precondition: a password is not set, or a package is missing.
    """
    try:
        from foresight_services.cache.envelope import Envelope
        from foresight_services.cache.redis_cluster import connect
        from foresight_services.cache.redis_faults import fault_of
        from foresight_services.cache.redis_policies import RedisPolicyStore
        from foresight_services.cache.redis_policies_value import HistoryCodec
    except ModuleNotFoundError as error:
        raise redis_missing(error) from error
    poll_seconds = cache.poll_ms / 1000
    guard = Guard(
        timeout_seconds=cache.timeout_ms / 1000,
        # A Redis that is back is asked within the poll's time, or another replica's publication
        # would go unnoticed for longer.
        settings=redis_outage(cache, most_seconds=poll_seconds),
        clock=clock,
        observer=observer,
        fault_of=fault_of,
        at_once=CONNECTIONS,
    )
    return RedisPolicyStore(
        connect(replace(redis_access(cache, environment), connections=CONNECTIONS)),
        key_prefix=cache.key_prefix,
        poll_seconds=poll_seconds,
        codec=HistoryCodec(Envelope(compress_above_bytes=cache.compress_above_bytes)),
        guard=guard,
        observer=observer,
    )
