"""Redis in trouble: nothing that was acknowledged is forgotten, and no computation fails of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from foresight_services.cache.redis_policies import RedisPolicyStore
from foresight_services.core.errors import Precondition, Reason, Upstream
from foresight_services.core.published import PublishedPolicy
from tests.fakes.redis_server import RedisServer, redis_server, until
from tests.fakes.registry import adapter, endpoint, ref
from tests.fakes.waiting import eventually
from tests.policies.replicas import (
    KEY,
    PREFIX,
    SOON,
    Replica,
    Seen,
    history_codec,
    newest,
    redis_store,
    started,
    stored,
    until_published,
)


@dataclass
class Pair:
    """Two replicas over one server that a test may mistreat."""

    server: RedisServer
    """The server."""
    here: Replica
    """It looks at nothing without being asked."""
    there: Replica
    """It looks again soon."""
    seen: Seen
    """What `here` told."""


@pytest.fixture
async def pair(own_redis: RedisServer) -> AsyncIterator[Pair]:
    """Two replicas that know version 1."""
    async with AsyncExitStack() as stack:
        seen = Seen()
        one = await started(stack, redis_store(own_redis.url, PREFIX, seen, timeout_seconds=2.0))
        other = await started(
            stack, redis_store(own_redis.url, PREFIX, poll_seconds=SOON, timeout_seconds=2.0)
        )
        running = Pair(own_redis, Replica(one), Replica(other, 1_000), seen)
        await running.here.registry.publish(ref(1), adapter("/a/1"))
        await running.there.registry.get(ref(1))
        yield running


async def test_while_redis_is_gone_copies_answer_and_nothing_is_published(pair: Pair) -> None:
    pair.server.kill()
    before = pair.seen.copied
    for _ in range(5):
        assert await newest(pair.here) == 1
    assert pair.seen.copied == before + 5
    for version in (1, 2):
        with pytest.raises(Upstream) as refused:
            await pair.here.registry.publish(ref(version), adapter(f"/a/{version}"))
        assert refused.value.reason is Reason.SERVICE_UNAVAILABLE
        assert refused.value.metadata == {"service": "redis", "fault": "connection"}
        assert "connection" in refused.value.message
    with pytest.raises(Precondition):
        await pair.here.registry.publish(ref(1), adapter("/elsewhere"))
    pair.server.start()
    assert await newest(pair.here) == 1
    two = await until_published(pair.here, 2)
    async with asyncio.timeout(60):
        while await newest(pair.there) != 2:  # noqa: ASYNC110 - its connection may be new
            await asyncio.sleep(0.01)
    assert await pair.there.registry.get(ref(2)) == two


@pytest.mark.parametrize(
    "lose",
    [
        lambda server: server.ask("FLUSHALL"),
        lambda server: server.ask("DEL", KEY),
        lambda server: (server.kill(), server.start()),
    ],
    ids=["flushed", "evicted", "restarted"],
)
async def test_what_redis_lost_is_put_back_by_who_knows_it(
    pair: Pair, lose: Callable[[RedisServer], object]
) -> None:
    await pair.here.registry.publish(ref(2), endpoint("http://host/v1"), cancel_in_flight=True)
    before = stored(pair.server)
    assert len(before.versions) == 2 and before.cancelled_below == 2
    # Knows, asks nothing, and so finds nothing to put back: the other looks every moment.
    lose(pair.server)
    await eventually(lambda: stored(pair.server) == before)
    async with AsyncExitStack() as stack:
        fresh = Replica(await started(stack, redis_store(pair.server.url, PREFIX)))
        assert await newest(fresh) == 2
        with pytest.raises(Precondition):
            await fresh.registry.publish(ref(2), adapter("/other"))


async def test_who_asks_puts_back_what_redis_lost(own_redis: RedisServer) -> None:
    async with AsyncExitStack() as stack:
        here = Replica(await started(stack, redis_store(own_redis.url, PREFIX)))
        await here.registry.publish(ref(5), adapter("/a/5"))
        own_redis.ask("FLUSHALL")
        assert await newest(here) == 5
        assert stored(own_redis).newest == await here.registry.get(ref(5))
        # Nor does a version go back where a replica is asked that has never heard of it.
        own_redis.ask("FLUSHALL")
        stranger = Replica(await started(stack, redis_store(own_redis.url, PREFIX)), 1_000)
        await stranger.registry.publish(ref(3), adapter("/a/3"))
        assert await newest(here) == 5
        assert await newest(stranger) == 5
        assert [policy.ref.version for policy in stored(own_redis).versions] == [3, 5]


async def test_every_replica_knows_all_names_without_being_asked(pair: Pair) -> None:
    await pair.here.registry.publish(ref(4, "other"), adapter("/b/4"))
    store = pair.there.store
    assert isinstance(store, RedisPolicyStore)
    await eventually(lambda: set(store._copies) == {"policy", "other"})
    pair.server.kill()
    assert (await pair.there.registry.get(ref(0, "other"))).ref.version == 4
    assert len(await pair.there.registry.newest()) == 2


async def test_a_full_redis_refuses_publications_and_answers(pair: Pair) -> None:
    pair.server.ask("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(Upstream) as refused:
        await pair.here.registry.publish(ref(2), adapter("/a/2"))
    assert refused.value.metadata["fault"] == "full"
    assert await newest(pair.there) == await newest(pair.here) == 1
    pair.server.ask("CONFIG", "SET", "maxmemory", "0")
    await pair.here.registry.publish(ref(2), adapter("/a/2"))


async def test_a_message_that_is_lost_costs_a_poll(pair: Pair) -> None:
    async with AsyncExitStack() as stack:
        here, there = [await replica.compute(stack, ref(1)) for replica in (pair.here, pair.there)]
        history = await pair.here.store.read("policy")
        two = PublishedPolicy(ref(2), adapter("/a/2"), 2)
        packed = history_codec().pack("policy", history.extended(two).cancelled(2))
        # As by a replica whose messages do not come through.
        pair.server.ask("HSET", KEY, "policy", packed)
        await eventually(lambda: bool(there))
        assert here == []
        # Who asks learns it for all.
        assert await newest(pair.here) == 2
        assert len(here) == 1


async def test_messages_of_anybody_do_no_harm(pair: Pair) -> None:
    for said in (b"", b"policy:", b"\xff\xfe", b"policy:" + b"0" * 64, b"x" * 100_000):
        pair.server.ask("PUBLISH", KEY + ":changed", said)
    await pair.here.registry.publish(ref(2), adapter("/a/2"))
    assert await newest(pair.there) == 2
    assert not pair.seen.faults


async def test_a_replica_that_follows_another_is_read_and_not_written(
    tmp_path: Path, own_redis: RedisServer
) -> None:
    with redis_server(tmp_path, "--replicaof", "127.0.0.1", str(own_redis.port)) as follower:
        until(lambda: bool(_link_is_up(follower)))
        async with AsyncExitStack() as stack:
            here = Replica(await started(stack, redis_store(follower.url, PREFIX)))
            with pytest.raises(Upstream) as refused:
                await here.registry.publish(ref(1), adapter("/a/1"))
            assert refused.value.metadata["fault"] == "failover"
            follower.ask("REPLICAOF", "NO", "ONE")
            await until_published(here, 1)


def _link_is_up(server: RedisServer) -> bool:
    told = server.ask("INFO", "replication")
    return isinstance(told, dict) and told.get("master_link_status") == "up"
