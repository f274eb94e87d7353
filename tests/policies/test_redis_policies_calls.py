"""How Redis is asked: round trips, time limits, lost answers, callers that go away."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from foresight_services.cache.guard import OutageSettings
from foresight_services.cache.redis_policies import NAMES_AT_ONCE
from foresight_services.core.cache import CacheFault
from foresight_services.core.errors import DomainError, Reason, Upstream
from foresight_services.core.policy_store import History
from foresight_services.core.published import PublishedPolicy
from tests.fakes.fault_proxy import fault_proxy
from tests.fakes.redis_server import RedisServer
from tests.fakes.registry import adapter, ref
from tests.fakes.waiting import eventually
from tests.policies.replicas import (
    NEVER,
    PREFIX,
    Replica,
    Seen,
    fresh_prefix,
    newest,
    quiet,
    redis_store,
    started,
    stored,
    until_published,
)


async def test_a_hung_redis_costs_its_time_limit_and_is_then_left_alone(
    own_redis: RedisServer,
) -> None:
    async with AsyncExitStack() as stack:
        seen, outage = Seen(), OutageSettings(2, 3600.0, 3600.0)
        store = redis_store(own_redis.url, PREFIX, seen, timeout_seconds=0.2, outage=outage)
        here = Replica(quiet(stack, store))
        await until_published(here, 1)
        own_redis.hang()
        try:
            assert await newest(here) == 1
            assert seen.faults == {CacheFault.TIMEOUT: 1}
            with pytest.raises(Upstream) as refused:
                await store.replace("policy", store._copies["policy"].history, History())
            assert refused.value.metadata["fault"] == "timeout"
            asked = seen.faults.total()
            for _ in range(20):
                assert await newest(here) == 1
            with pytest.raises(Upstream) as refused:
                await here.registry.publish(ref(2), adapter("/a/2"))
            assert refused.value.metadata["fault"] == "outage"
            assert seen.faults.total() == asked
        finally:
            own_redis.go_on()


async def test_a_publication_whose_answer_is_lost_can_be_repeated(own_redis: RedisServer) -> None:
    async with AsyncExitStack() as stack, fault_proxy(own_redis.port) as proxy:
        url = f"redis://127.0.0.1:{proxy.port}"
        store = redis_store(url, PREFIX, timeout_seconds=0.5)
        here = Replica(await started(stack, store))
        other = Replica(await started(stack, redis_store(own_redis.url, PREFIX)), 1_000)
        await until_published(here, 1)
        running = await other.compute(stack, ref(1))
        known = await store.read("policy")
        two = PublishedPolicy(ref(2), adapter("/a/2"), 2)
        proxy.stall()
        with pytest.raises(Upstream) as refused:
            await store.replace("policy", known, known.extended(two).cancelled(2))
        assert refused.value.metadata["fault"] == "timeout"
        # It came to Redis, but nobody told the publisher.
        await eventually(lambda: stored(own_redis).newest == two)
        await eventually(lambda: bool(running))
        proxy.go_on()
        assert await until_published(here, 2) == two
        assert await other.registry.get(ref(0)) == two


async def test_a_read_is_one_round_trip_and_so_is_a_publication_beside_it(
    own_redis: RedisServer,
) -> None:
    async with AsyncExitStack() as stack, fault_proxy(own_redis.port) as proxy:
        store = redis_store(f"redis://127.0.0.1:{proxy.port}", PREFIX)
        here = Replica(await started(stack, store))
        await here.registry.publish(ref(1), adapter("/a/1"))
        # Messages come by the same proxy; after this one, nothing is said.
        await newest(here)
        await eventually(lambda: store._said == set() and not store._wake.is_set())
        before = proxy.turns
        for _ in range(10):
            await newest(here)
        assert proxy.turns - before == 10


async def test_computations_that_begin_at_once_ask_together(own_redis: RedisServer) -> None:
    async with AsyncExitStack() as stack, fault_proxy(own_redis.port) as proxy:
        seen = Seen()
        store = quiet(stack, redis_store(f"redis://127.0.0.1:{proxy.port}", PREFIX, seen))
        here = Replica(store)
        await here.registry.publish(ref(1), adapter("/a/1"))
        turns, shared = proxy.turns, seen.shared
        assert await asyncio.gather(*(newest(here) for _ in range(1000))) == [1] * 1000
        assert proxy.turns - turns == 1
        assert seen.shared - shared == 1000


async def test_a_read_is_never_answered_by_a_question_from_before_it(
    own_redis: RedisServer,
) -> None:
    async with AsyncExitStack() as stack, fault_proxy(own_redis.port) as proxy:
        store = quiet(stack, redis_store(f"redis://127.0.0.1:{proxy.port}", PREFIX))
        slow, other = Replica(store), Replica(quiet(stack, redis_store(own_redis.url, PREFIX)))
        await other.registry.publish(ref(1), adapter("/a/1"))
        assert await newest(slow) == 1
        turns = proxy.turns
        proxy.stall()
        asked = [asyncio.create_task(store.read("policy"))]
        # Redis has said its answer; it is on its way.
        await eventually(lambda: proxy.turns == turns + 1)
        await other.registry.publish(ref(2), adapter("/a/2"))
        asked += [asyncio.create_task(store.read("policy")) for _ in range(50)]
        asked[1].cancel()
        proxy.go_on()
        histories = await asyncio.gather(*asked, return_exceptions=True)
        assert isinstance(histories[1], asyncio.CancelledError)
        for history in histories[2:]:
            assert isinstance(history, History)
            assert history.newest is not None and history.newest.ref == ref(2)


async def test_many_names_are_asked_about_in_parts(own_redis: RedisServer) -> None:
    async with AsyncExitStack() as stack:
        store = quiet(stack, redis_store(own_redis.url, PREFIX))
        here = Replica(store)
        names = [f"p{number}" for number in range(3 * NAMES_AT_ONCE + 5)]
        for name in names:
            await here.registry.publish(ref(1, name), adapter(f"/{name}"))
        other = Replica(quiet(stack, redis_store(own_redis.url, PREFIX)))
        found = await asyncio.gather(*(other.registry.get(ref(0, name)) for name in names))
        assert [policy.ref.name for policy in found] == names


async def test_a_closed_store_answers_and_publishes_nothing(own_redis: RedisServer) -> None:
    async with AsyncExitStack() as stack:
        store = await started(stack, redis_store(own_redis.url, fresh_prefix()))
        here = Replica(store)
        await here.registry.publish(ref(1), adapter("/a/1"))
        await store.close()
        assert await newest(here) == 1
        with pytest.raises(DomainError) as refused:
            await here.registry.publish(ref(2), adapter("/a/2"))
        assert refused.value.reason is Reason.SERVICE_UNAVAILABLE


async def test_a_cancelled_publisher_leaves_store_and_copy_alike(own_redis: RedisServer) -> None:
    async with AsyncExitStack() as stack:
        store = await started(stack, redis_store(own_redis.url, PREFIX, poll_seconds=NEVER))
        here = Replica(store)
        for version in range(1, 31):
            publishing = asyncio.create_task(
                here.registry.publish(ref(version), adapter(f"/a/{version}"))
            )
            for _ in range(version):
                await asyncio.sleep(0)
            publishing.cancel()
            await asyncio.wait((publishing,))
        assert await store.read("policy") == stored(own_redis)
        await here.registry.publish(ref(31), adapter("/a/31"))
