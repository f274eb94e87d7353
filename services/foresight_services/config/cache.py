"""The section of the configuration that describes the cache."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from foresight_services.cache.redis_place import parse_place
from foresight_services.config.section import Section

Milliseconds = Annotated[int, Field(ge=1, le=60_000)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]

MEMORY_BYTES = 256 * 2**20
"""Default bound of a cache in memory."""
DISK_BYTES = 4 * 2**30
"""Default bound of a cache on disk."""


def _redis_url(url: str) -> str:
    if url:
        try:
            parse_place(url)
        except ValueError as error:
            raise PydanticCustomError("redis_url", "{problem}", {"problem": str(error)}) from None
    return url


class CacheTlsConfig(Section):
    """Files of TLS towards Redis, for URLs that begin with `rediss`."""

    ca_path: str = ""
    """PEM file with the authorities that servers are checked against. Default: the system's."""
    certificate_path: str = ""
    """PEM file with the certificate that is shown to servers. Default: none."""
    key_path: str = ""
    """PEM file with its private key."""

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if bool(self.certificate_path) != bool(self.key_path):
            raise PydanticCustomError(
                "tls_pair", "must have both certificate_path and key_path, or neither"
            )
        return self


class CacheConfig(Section):
    """Where futures, scores and rewards are remembered. Default: in this process."""

    model_config = ConfigDict(hide_input_in_errors=True)

    url: Annotated[str, AfterValidator(_redis_url)] = ""
    """Redis, such as `redis://host:6379/0`, `rediss://…`, `unix:///path`,
    `redis+sentinel://host:port,host:port/service/db` or `redis+cluster://host:port,host:port`;
    without a name or a password."""
    path: str = ""
    """Folder on this machine, kept between runs; its processes may share it."""
    max_bytes: Annotated[int, Field(ge=2**20)] | None = None
    """Bound in memory (default: 256 MiB) or on disk (default: 4 GiB). Redis has its own."""
    ttl_seconds: Annotated[float, Field(ge=1, le=10 * 365 * 86400)] = 7 * 86400.0
    """Longest lifetime of a value."""
    ttl_jitter: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of the lifetime that is taken off at random."""
    lease_seconds: Annotated[float, Field(ge=1, le=3600)] = 10.0
    """Time after which the work of a replica that died is taken over by another."""
    key_prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")] = "foresight"
    """What all keys in Redis begin with."""
    compress_above_bytes: Annotated[int, Field(ge=0)] = 512
    """Values longer than this are compressed, on disk and in Redis."""
    username: str = ""
    """ACL user of Redis. Default: the default user."""
    password_env: str = ""
    """Environment variable that holds the password. Default: no password."""
    sentinel_username: str = ""
    """ACL user of the Sentinels. Default: the default user."""
    sentinel_password_env: str = ""
    """Environment variable that holds the Sentinels' password. Default: no password."""
    tls: CacheTlsConfig = CacheTlsConfig()
    """Files for TLS."""
    timeout_ms: Milliseconds = 200
    """Limit of one call to Redis, connecting included; later it is a miss."""
    connect_timeout_ms: Milliseconds = 100
    """Limit of connecting to one server."""
    pool_size: Annotated[int, Field(ge=1, le=1024)] = 16
    """Calls to Redis at once; more wait in line within `timeout_ms`."""
    poll_ms: Annotated[int, Field(ge=50, le=60_000)] = 2000
    """How soon a waiting replica notices what no message of Redis told it."""
    outage_failures: Count = 5
    """Failed calls in a row after which Redis is left alone for a while."""
    outage_pause_seconds: Positive = 0.5
    """First pause; it doubles with every attempt that fails."""
    outage_longest_pause_seconds: Positive = 15.0
    """Longest pause."""

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if self.url and self.path:
            raise PydanticCustomError("one_place", "must have a url or a path, not both")
        if self.url and self.max_bytes is not None:
            raise PydanticCustomError(
                "redis_bound", "max_bytes does not bound Redis: set maxmemory on the server"
            )
        return self
