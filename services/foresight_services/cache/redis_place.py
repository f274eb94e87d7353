"""Where a Redis is, as a URL tells it.

    redis://host:port/db              one server; rediss:// with TLS
    unix:///path/to.sock?db=0         one server on this machine
    redis+sentinel://host:port,host:port/service/db      rediss+sentinel://
    redis+cluster://host:port,host:port                  rediss+cluster://

A URL never carries a name or a password: those have settings of their own, so that a URL can be
shown and logged.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import parse_qsl, urlsplit

DEFAULT_PORT: Final = 6379
DEFAULT_SENTINEL_PORT: Final = 26379

RedisKind = Literal["standalone", "sentinel", "cluster"]
"""How the servers are arranged."""

_KINDS: Final[dict[str, tuple[RedisKind, bool]]] = {
    "redis": ("standalone", False),
    "rediss": ("standalone", True),
    "unix": ("standalone", False),
    "redis+sentinel": ("sentinel", False),
    "rediss+sentinel": ("sentinel", True),
    "redis+cluster": ("cluster", False),
    "rediss+cluster": ("cluster", True),
}
_NODE: Final = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\s:/@\[\]]+)(:(?P<port>[0-9]{1,5}))?")


@dataclass(frozen=True, slots=True)
class RedisPlace:
    """Where to connect to."""

    kind: RedisKind
    """How the servers are arranged."""
    nodes: tuple[tuple[str, int], ...]
    """Host and port of the server, of the Sentinels, or of some of the cluster's servers; empty for
    a unix socket."""
    tls: bool = False
    """Whether all connections use TLS."""
    db: int = 0
    """Number of the database; 0 in a cluster."""
    service: str = ""
    """The Sentinels' name of the master."""
    socket_path: str = ""
    """Path of a unix socket, in place of host and port."""


def parse_place(url: str) -> RedisPlace:
    """Read `url`; ValueError, which never quotes it, says what is wrong."""
    parts = urlsplit(url)
    if parts.scheme not in _KINDS:
        raise ValueError(f"must begin with one of {', '.join(f'{kind}://' for kind in _KINDS)}")
    if "@" in parts.netloc:
        raise ValueError("must not hold a name or a password: set username and password_env")
    if parts.fragment or (parts.query and parts.scheme != "unix"):
        raise ValueError("must end after the path: there are settings for everything else")
    kind, tls = _KINDS[parts.scheme]
    if parts.scheme == "unix":
        return _unix_place(parts.netloc, parts.path, parts.query)
    nodes = _nodes(parts.netloc, DEFAULT_SENTINEL_PORT if kind == "sentinel" else DEFAULT_PORT)
    path = [part for part in parts.path.split("/") if part]
    if kind == "sentinel":
        if not 1 <= len(path) <= 2:
            raise ValueError("must name the master: redis+sentinel://host:port/service/db")
        return RedisPlace(kind, nodes, tls, _db(path[1:]), path[0])
    if kind == "cluster":
        if path not in ([], ["0"]):
            raise ValueError("must not name a database: a cluster has one")
        return RedisPlace(kind, nodes, tls)
    if len(nodes) > 1:
        raise ValueError("must name one server, or be redis+sentinel:// or redis+cluster://")
    return RedisPlace(kind, nodes, tls, _db(path))


def _unix_place(netloc: str, path: str, query: str) -> RedisPlace:
    options = parse_qsl(query, strict_parsing=bool(query))
    if netloc or not path or any(name != "db" for name, _ in options) or len(options) > 1:
        raise ValueError("must look like unix:///path/to.sock?db=0")
    return RedisPlace("standalone", (), db=_db([db for _, db in options]), socket_path=path)


def _nodes(netloc: str, default_port: int) -> tuple[tuple[str, int], ...]:
    nodes = []
    for text in netloc.split(","):
        match = _NODE.fullmatch(text)
        port = int(match["port"] or default_port) if match else 0
        if match is None or not 0 < port < 65536:
            raise ValueError("must name its servers as host:port, separated by commas")
        nodes.append((match["host"].strip("[]"), port))
    return tuple(nodes)


def _db(path: list[str]) -> int:
    if len(path) > 1 or (path and not re.fullmatch("[0-9]{1,4}", path[0])):
        raise ValueError("must end with the number of a database, or nothing")
    return int(path[0]) if path else 0
