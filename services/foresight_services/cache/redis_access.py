"""Where a Redis is, how to be let in, and what every connection has in common.

Nothing is retried here and nothing waits between attempts: a call has milliseconds. Replies have no
time limit of their own, because the whole call has one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from foresight_services.cache.redis_place import RedisPlace


@dataclass(frozen=True, slots=True)
class RedisTls:
    """What TLS needs beside the system's certificates."""

    ca_path: str = ""
    """PEM file with the authorities of servers; empty for the system's."""
    certificate_path: str = ""
    """PEM file with a client certificate; empty for none."""
    key_path: str = ""
    """PEM file with its key."""


@dataclass(frozen=True, slots=True)
class RedisAccess:
    """Where a Redis is and how to be let in."""

    place: RedisPlace
    """The servers."""
    username: str = ""
    """ACL user; empty for the default one."""
    password: str = field(default="", repr=False)
    """Password of the user; empty for none."""
    sentinel_username: str = ""
    """ACL user of the Sentinels."""
    sentinel_password: str = field(default="", repr=False)
    """Password at the Sentinels."""
    tls: RedisTls = RedisTls()
    """For places with TLS."""
    connect_timeout_seconds: float = 0.1
    """Time that connecting to one server may take, and an answer of a Sentinel."""
    connections: int = 16
    """Calls at once; each has a connection, in a cluster one to each server it needs."""


def connection_options(access: RedisAccess, username: str, password: str) -> dict[str, Any]:
    """Return redis-py's arguments of every connection."""
    options: dict[str, Any] = {
        "username": username or None,
        "password": password or None,
        "socket_timeout": None,
        "socket_connect_timeout": access.connect_timeout_seconds,
        "socket_keepalive": True,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
        "driver_info": None,
    }
    if access.place.tls:
        tls = access.tls
        options |= {
            "ssl": True,
            "ssl_ca_certs": tls.ca_path or None,
            "ssl_certfile": tls.certificate_path or None,
            "ssl_keyfile": tls.key_path or None,
            "ssl_check_hostname": True,
        }
    return options
