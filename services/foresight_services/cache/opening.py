"""From the configuration's section to a store."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from foresight_services.cache.guard import OutageSettings
from foresight_services.cache.memory import MemoryCache
from foresight_services.cache.redis_place import parse_place
from foresight_services.config.cache import DISK_BYTES, MEMORY_BYTES, CacheConfig
from foresight_services.core.cache import CacheObserver, CacheStore, Lifetime
from foresight_services.core.errors import Precondition, Reason
from foresight_services.core.ports import Clock

if TYPE_CHECKING:
    from foresight_services.cache.redis_access import RedisAccess


async def open_cache(
    config: CacheConfig,
    *,
    environment: Mapping[str, str],
    clock: Clock,
    rng: random.Random,
    observer: CacheObserver,
) -> CacheStore:
    """Return the store that `config` asks for; it belongs to the running loop. Close it.

    A Redis that cannot be reached is no error: it is used when it is there.

    Raises:
        Precondition: a password is not set, a package is missing, or a folder cannot be used.
    """
    lifetime = Lifetime(config.ttl_seconds, config.ttl_jitter)
    if config.path:
        from foresight_services.cache.disk import open_disk_cache

        return await open_disk_cache(
            Path(config.path),
            max_bytes=config.max_bytes or DISK_BYTES,
            lifetime=lifetime,
            compress_above_bytes=config.compress_above_bytes,
            clock=clock,
            rng=rng,
            observer=observer,
        )
    if config.url:
        return _redis_cache(config, environment, lifetime, clock, rng, observer)
    return MemoryCache(
        max_bytes=config.max_bytes or MEMORY_BYTES,
        lifetime=lifetime,
        clock=clock,
        rng=rng,
        observer=observer,
    )


def _redis_cache(
    config: CacheConfig,
    environment: Mapping[str, str],
    lifetime: Lifetime,
    clock: Clock,
    rng: random.Random,
    observer: CacheObserver,
) -> CacheStore:
    try:
        from foresight_services.cache.envelope import Envelope
        from foresight_services.cache.redis import RedisCache, RedisSettings
        from foresight_services.cache.redis_cluster import connect
    except ModuleNotFoundError as error:
        raise redis_missing(error) from error
    settings = RedisSettings(
        key_prefix=config.key_prefix,
        timeout_seconds=config.timeout_ms / 1000,
        at_once=config.pool_size,
        poll_seconds=config.poll_ms / 1000,
        outage=redis_outage(config),
    )
    return RedisCache(
        connect(redis_access(config, environment)),
        settings=settings,
        lifetime=lifetime,
        envelope=Envelope(compress_above_bytes=config.compress_above_bytes),
        clock=clock,
        rng=rng,
        observer=observer,
    )


def redis_missing(error: ModuleNotFoundError) -> Precondition:
    """Return what to say where a package is missing that `cache.url` needs."""
    return Precondition(
        Reason.INVALID_REQUEST,
        f"cache.url needs the package {error.name}: pip install 'foresight[redis]'",
    )


def redis_outage(config: CacheConfig, *, most_seconds: float = math.inf) -> OutageSettings:
    """Return when Redis is left alone and for how long, which is at most `most_seconds`."""
    return OutageSettings(
        failures=config.outage_failures,
        pause_seconds=min(config.outage_pause_seconds, most_seconds),
        longest_pause_seconds=min(config.outage_longest_pause_seconds, most_seconds),
    )


def redis_access(config: CacheConfig, environment: Mapping[str, str]) -> RedisAccess:
    """Return where `config` says Redis is, with the passwords of `environment`."""
    from foresight_services.cache.redis_access import RedisAccess, RedisTls

    return RedisAccess(
        place=parse_place(config.url),
        username=config.username,
        password=_secret("password_env", config.password_env, environment),
        sentinel_username=config.sentinel_username,
        sentinel_password=_secret(
            "sentinel_password_env", config.sentinel_password_env, environment
        ),
        tls=RedisTls(
            ca_path=config.tls.ca_path,
            certificate_path=config.tls.certificate_path,
            key_path=config.tls.key_path,
        ),
        connect_timeout_seconds=config.connect_timeout_ms / 1000,
        connections=config.pool_size,
    )


def _secret(setting: str, name: str, environment: Mapping[str, str]) -> str:
    if name and not environment.get(name):
        problem = f"cache.{setting} names {name}, which is not set"
        raise Precondition(Reason.INVALID_REQUEST, problem)
    return environment[name] if name else ""
