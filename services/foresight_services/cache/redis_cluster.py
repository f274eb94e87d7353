"""Connections to a Redis Cluster."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.client import PubSub
from redis.asyncio.cluster import ClusterNode
from redis.exceptions import SlotNotCoveredError

from foresight_services.cache.redis_access import RedisAccess, connection_options
from foresight_services.cache.redis_link import Command, RedisLink, ServerLink, subscribed

LEARN_SECONDS: Final = 5.0
"""Limit of asking a cluster who serves what; calls that wait for it give up earlier."""
LEARN_AGAIN_SECONDS: Final = 0.5
"""Shortest time between two attempts."""


def connect(access: RedisAccess) -> RedisLink:
    """Return a link; it connects when it is used."""
    if access.place.kind == "cluster":
        return ClusterLink(access)
    return ServerLink(access)


@dataclass(slots=True)
class _Cluster:
    """A client with what it learned of who serves what."""

    redis: RedisCluster
    """The client."""
    users: int = 0
    """Calls that use it now."""
    retired: bool = False
    """Whether its last user closes it."""

    async def leave(self) -> None:
        """End one use."""
        self.users -= 1
        await self.close_if_done()

    async def close_if_done(self) -> None:
        """Close it where nobody uses it any more."""
        if self.retired and self.users == 0:
            await self.redis.aclose()


class ClusterLink:
    """The servers of a cluster; commands go to those that serve their keys, at once.

    redis-py follows slots that move. It does not ask again who serves what when a pipeline meets a
    server that is gone, so then another client is made, beside the calls, and takes over once it
    knows.
    """

    def __init__(self, access: RedisAccess) -> None:
        """Prepare connections."""
        self._access = access
        self._options = connection_options(access, access.username, access.password)
        self._current: _Cluster | None = None
        self._learning: asyncio.Task[None] | None = None
        self._not_before = 0.0

    async def read(self, names: Sequence[bytes]) -> list[object]:
        """Implement `RedisLink.read`."""
        return await self.run([("GET", name) for name in names])

    async def run(self, commands: Sequence[Command], say: Command | None = None) -> list[object]:
        """Implement `RedisLink.run`; a server that is gone takes only its own keys along."""
        cluster = await self._known()
        cluster.users += 1
        try:
            places: dict[str, list[int]] = {}
            for place, command in enumerate(commands):
                places.setdefault(_node_of(cluster.redis, command), []).append(place)
            groups = list(places.values())
            says: list[Command | None] = [say, *[None] * (len(groups) - 1)]
            parts = await asyncio.gather(
                *(
                    _run_on_node(cluster.redis, [commands[place] for place in group], said)
                    for group, said in zip(groups, says, strict=True)
                )
            )
        finally:
            await cluster.leave()
        replies: list[object] = [None] * len(commands)
        for group, part in zip(groups, parts, strict=True):
            for place, reply in zip(group, part, strict=False):
                replies[place] = reply
        return replies if say is None else [*replies, parts[0][-1]]

    async def subscribe(self, channel: bytes) -> PubSub:
        """Implement `RedisLink.subscribe`: to any server, with a connection of its own."""
        cluster = await self._known()
        node = random.choice(cluster.redis.get_primaries())
        redis = Redis(host=node.host, port=int(node.port), **self._options)
        pubsub = OwnedPubSub(redis.connection_pool, ignore_subscribe_messages=True)
        return await subscribed(pubsub, channel)

    async def lost(self) -> None:
        """Implement `RedisLink.lost`: ask again who serves what, beside the calls."""
        if self._learning is None and asyncio.get_running_loop().time() >= self._not_before:
            self._learn()

    async def close(self) -> None:
        """Implement `RedisLink.close`."""
        if self._learning is not None:
            self._learning.cancel()
            await asyncio.wait((self._learning,))
        if self._current is not None:
            self._current.retired = True
            await self._current.close_if_done()

    async def _known(self) -> _Cluster:
        """Return the client, once there is one."""
        if self._current is None:
            learning = self._learning or self._learn()
            await asyncio.wait((learning,))
            learning.result()
        if self._current is None:
            raise ConnectionError("the cluster is not known")
        return self._current

    def _learn(self) -> asyncio.Task[None]:
        self._not_before = asyncio.get_running_loop().time() + LEARN_AGAIN_SECONDS
        self._learning = asyncio.create_task(self._replace())
        self._learning.add_done_callback(self._learned)
        return self._learning

    def _learned(self, task: asyncio.Task[None]) -> None:
        self._learning = None
        if not task.cancelled():
            # Who needed it has it from the task; the others go on with what they know.
            task.exception()

    async def _replace(self) -> None:
        old = self._current
        nodes = set(self._access.place.nodes)
        if old is not None:
            nodes |= {(node.host, int(node.port)) for node in old.redis.get_nodes()}
        new = RedisCluster(
            startup_nodes=[ClusterNode(host, port) for host, port in nodes],
            require_full_coverage=False,
            reinitialize_steps=0,
            max_connections=self._access.connections + 1,
            **self._options,
        )
        async with asyncio.timeout(LEARN_SECONDS):
            await new.initialize()
        self._current = _Cluster(new)
        if old is not None:
            old.retired = True
            await old.close_if_done()


def _key_of(command: Command) -> str:
    key = command[3 if command[0] == "EVAL" else 1]
    assert isinstance(key, bytes)
    return key.decode("ascii")


def _node_of(redis: RedisCluster, command: Command) -> str:
    """Return the name of the server of a command's key; empty where no server has it."""
    try:
        node = redis.get_node_from_key(_key_of(command))
    except SlotNotCoveredError:
        return ""
    return "" if node is None else str(node.name)


async def _run_on_node(
    redis: RedisCluster, commands: Sequence[Command], say: Command | None
) -> list[object]:
    """Return the replies of one server; its exception for each command where it is gone."""
    pipeline = redis.pipeline()
    for command in commands:
        pipeline.execute_command(*command)
    if say is not None:
        # Each server passes messages on to all the others, so one that is asked anyway does.
        node = redis.get_node_from_key(_key_of(commands[0]))
        pipeline.execute_command(*say, target_nodes=node)
    try:
        replies: list[object] = await pipeline.execute(raise_on_error=False)
    except Exception as error:
        return [error] * (len(commands) + (say is not None))
    return replies


class OwnedPubSub(PubSub):
    """A subscription with a connection of its own, which it closes."""

    async def aclose(self) -> None:
        """Close the subscription and its connection."""
        await super().aclose()  # type: ignore[no-untyped-call]
        await self.connection_pool.disconnect()
