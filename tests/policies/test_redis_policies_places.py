"""Every kind of Redis that the cache can use keeps the policies too, and who configures it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from foresight_services.bootstrap.policies import redis_policies, shared_policies
from foresight_services.cache.redis_access import RedisTls
from foresight_services.cache.redis_policies import RedisPolicyStore
from foresight_services.config.cache import CacheConfig
from foresight_services.core.cache import UnobservedCache
from foresight_services.core.errors import Precondition, Upstream
from foresight_services.core.policies import PolicyRegistry
from foresight_services.core.policy_store import MemoryPolicyStore
from tests.cache.certificates import make_certificate
from tests.fakes.fault_proxy import fault_proxy
from tests.fakes.redis_server import RedisServer, redis_cluster, redis_sentinels
from tests.fakes.registry import adapter, ref
from tests.fakes.virtual_time import LoopClock
from tests.fakes.waiting import eventually
from tests.policies.replicas import (
    SOON,
    Replica,
    Seen,
    fresh_prefix,
    redis_store,
    started,
    until_published,
    until_seen,
)


@asynccontextmanager
async def place(
    kind: str, folder: Path, server: RedisServer
) -> AsyncIterator[tuple[str, RedisTls]]:
    """Yield where a Redis of this kind is."""
    async with AsyncExitStack() as stack:
        match kind:
            case "standalone":
                yield server.url, RedisTls()
            case "unix":
                yield f"unix://{server.socket_path}?db=3", RedisTls()
            case "tls":
                shown = make_certificate(folder, "server")
                proxy = fault_proxy(server.port, shown.server())
                port = (await stack.enter_async_context(proxy)).port
                yield f"rediss://127.0.0.1:{port}", RedisTls(ca_path=str(shown.file))
            case "sentinel":
                _, sentinels = stack.enter_context(redis_sentinels(folder))
                nodes = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in sentinels)
                yield f"redis+sentinel://{nodes}/main/0", RedisTls()
            case _:
                servers = stack.enter_context(redis_cluster(folder))
                yield f"redis+cluster://127.0.0.1:{servers[0].port}", RedisTls()


async def attentive(stack: AsyncExitStack, url: str) -> Replica:
    """Start a replica that soon notices what no message tells it."""
    store = redis_store(url, "fs", poll_seconds=SOON, timeout_seconds=2.0)
    return Replica(await started(stack, store))


@pytest.mark.parametrize("kind", ["standalone", "unix", "tls", "sentinel", "cluster"])
async def test_replicas_share_policies(
    kind: str, tmp_path: Path, shared_redis: RedisServer
) -> None:
    prefix, seen = fresh_prefix(), Seen()
    async with place(kind, tmp_path, shared_redis) as (url, tls), AsyncExitStack() as stack:
        here, there = [
            Replica(await started(stack, redis_store(url, prefix, seen, tls=tls))) for _ in range(2)
        ]
        for name in ("a", "b", "c", "d"):
            await here.registry.publish(ref(1, name), adapter(f"/{name}"))
        running = await there.compute(stack, ref(0, "c"))
        await here.registry.publish(ref(2, "c"), adapter("/c/2"), cancel_in_flight=True)
        await eventually(lambda: len(running) == 1)
        newest = [policy.ref for policy in await there.registry.newest()]
        assert newest == [ref(1, "a"), ref(1, "b"), ref(2, "c"), ref(1, "d")]
        assert not seen.faults and not seen.copied


async def test_versions_go_on_when_sentinels_name_another_master(tmp_path: Path) -> None:
    with redis_sentinels(tmp_path) as ((master, _), sentinels):
        nodes = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in sentinels)
        url = f"redis+sentinel://{nodes}/main/0"
        async with AsyncExitStack() as stack:
            here, there = [await attentive(stack, url) for _ in range(2)]
            await until_published(here, 1)
            await until_published(there, 2)
            await until_seen(here, 2)
            # Whether the next one has heard of version 2 or not.
            master.kill()
            assert (await here.registry.get(ref(0))).ref == ref(2)
            await until_published(there, 3)
            assert [
                policy.ref.version for policy in (await there.store.read("policy")).versions
            ] == [1, 2, 3]


async def test_a_cluster_whose_master_dies_goes_on_with_copies(tmp_path: Path) -> None:
    with redis_cluster(tmp_path, masters=3, replicas=3) as servers:
        url = f"redis+cluster://127.0.0.1:{servers[1].port}"
        async with AsyncExitStack() as stack:
            here, there = [await attentive(stack, url) for _ in range(2)]
            await until_published(here, 1)
            assert (await there.registry.get(ref(0))).ref == ref(1)
            slot = servers[0].ask("CLUSTER", "KEYSLOT", "fs:policies")
            assert isinstance(slot, int)
            servers[slot * 3 // 16384].kill()
            for replica in (here, there):
                assert (await replica.registry.get(ref(0))).ref == ref(1)
            await until_published(here, 2)
            await until_seen(there, 2)


async def test_an_acl_user_needs_a_few_commands_more_than_a_caches(own_redis: RedisServer) -> None:
    own_redis.ask(
        *("ACL", "SETUSER", "foresight", "on", ">s3cret", "~fs:*", "resetchannels", "&fs:*"),
        *("-@all", "+eval", "+publish", "+subscribe", "+unsubscribe", "+select", "+ping"),
        *("+hget", "+hset", "+hkeys", "+hmget"),
    )
    async with AsyncExitStack() as stack:
        seen = Seen()
        store = redis_store(own_redis.url, "fs", seen, username="foresight", password="s3cret")
        here = Replica(await started(stack, store))
        await here.registry.publish(ref(1), adapter("/a/1"))
        assert [policy.ref for policy in await here.registry.newest()] == [ref(1)]
        assert not seen.faults
        own_redis.ask("ACL", "SETUSER", "foresight", "-eval")
        assert (await here.registry.get(ref(0))).ref == ref(1)
        with pytest.raises(Upstream) as refused:
            await here.registry.publish(ref(2), adapter("/a/2"))
        assert refused.value.metadata["fault"] == "refused"


def store_of(registry: PolicyRegistry) -> object:
    return registry._store


async def test_the_configuration_says_who_shares(tmp_path: Path, shared_redis: RedisServer) -> None:
    clock, observer = LoopClock(), UnobservedCache()
    for own in (CacheConfig(), CacheConfig(path=str(tmp_path))):
        async with shared_policies(own, clock=clock, observer=observer) as registry:
            assert isinstance(store_of(registry), MemoryPolicyStore)
    shared = CacheConfig(url=shared_redis.url, key_prefix=fresh_prefix())
    async with (
        shared_policies(shared, clock=clock, observer=observer) as here,
        shared_policies(shared, clock=clock, observer=observer) as there,
    ):
        assert isinstance(store_of(here), RedisPolicyStore)
        one = await here.publish(ref(1), adapter("/a/1"))
        assert one.published_at_ns > 1_700_000_000 * 10**9
        assert await there.get(ref(0)) == one


async def test_a_redis_that_is_back_is_asked_within_the_polls_time() -> None:
    config = CacheConfig(url="redis://localhost", poll_ms=300, outage_longest_pause_seconds=60.0)
    store = redis_policies(config, {}, clock=LoopClock(), observer=UnobservedCache())
    settings = store._guard.outage._settings
    assert (settings.pause_seconds, settings.longest_pause_seconds) == (0.3, 0.3)
    await store.close()


async def test_a_password_that_is_not_set_is_told() -> None:
    config = CacheConfig(url="redis://localhost", password_env="FORESIGHT_TEST_UNSET")
    with pytest.raises(Precondition, match="FORESIGHT_TEST_UNSET"):
        redis_policies(config, {}, clock=LoopClock(), observer=UnobservedCache())
