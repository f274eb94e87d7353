"""What every store of policies does, in one process and over a real Redis: the same contract."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from foresight_services.core.errors import DomainError, LimitReached, NotFound, Precondition, Reason
from foresight_services.core.policies import MAX_POLICIES
from foresight_services.core.policy_store import KEPT_VERSIONS, History, MemoryPolicyStore
from foresight_services.core.published import PolicySource, PublishedPolicy, SourceKind
from foresight_services.core.task import PolicyRef
from tests.fakes.redis_server import RedisServer
from tests.fakes.registry import adapter, endpoint, ref
from tests.fakes.waiting import eventually
from tests.policies.replicas import Replica, Seen, fresh_prefix, redis_store, started


@pytest.fixture(params=["memory", "redis"])
async def replicas(
    request: pytest.FixtureRequest, shared_redis: RedisServer
) -> AsyncIterator[tuple[Replica, Replica]]:
    """Two replicas over one store, which never fails."""
    async with AsyncExitStack() as stack:
        if request.param == "memory":
            memory = MemoryPolicyStore()
            yield Replica(memory), Replica(memory, 1_000_000)
            return
        prefix, seen = fresh_prefix(), Seen()
        one = await started(stack, redis_store(shared_redis.url, prefix, seen))
        other = await started(stack, redis_store(shared_redis.url, prefix, seen))
        yield Replica(one), Replica(other, 1_000_000)
        assert not seen.faults and not seen.bypassed_calls and not seen.copied


Pair = tuple[Replica, Replica]


async def test_what_one_publishes_the_other_answers(replicas: Pair) -> None:
    here, there = replicas
    assert await there.registry.newest() == ()
    with pytest.raises(NotFound):
        await there.registry.get(ref(0))
    one = await here.registry.publish(ref(1), adapter("/a/1"))
    assert await there.registry.get(ref(0)) == one
    two = await there.registry.publish(ref(2), endpoint("http://host/v1"))
    other = await there.registry.publish(ref(7, "other"), adapter("/b"))
    for replica in replicas:
        assert await replica.registry.newest() == (other, two)
        assert await replica.registry.get(ref(1)) == one
        async with replica.registry.using(ref(0)) as use:
            assert (use.ref, use.published) == (ref(2), two)
        with pytest.raises(Precondition) as stale:
            await replica.registry.publish(ref(1), adapter("/a/1"))
        assert stale.value.metadata == {"policy": "policy", "newest": "2"}
    assert await here.registry.publish(ref(2), endpoint("http://host/v1")) == two


async def test_of_two_that_publish_at_once_one_wins(replicas: Pair) -> None:
    for version in range(1, 41):
        published = await asyncio.gather(
            *(
                replica.registry.publish(ref(version), adapter(f"/{number}/{version}"))
                for number, replica in enumerate(replicas)
            ),
            return_exceptions=True,
        )
        (winner,) = (won for won in published if isinstance(won, PublishedPolicy))
        (loser,) = (lost for lost in published if isinstance(lost, BaseException))
        assert isinstance(loser, Precondition) and loser.reason is Reason.STALE_POLICY
        for replica in replicas:
            assert await replica.registry.get(ref(0)) == winner


async def test_of_two_that_publish_the_same_both_get_one_version(replicas: Pair) -> None:
    for version in range(1, 41):
        published = await asyncio.gather(
            *(r.registry.publish(ref(version), adapter(f"/{version}")) for r in replicas)
        )
        assert published[0] == published[1] == await replicas[0].registry.get(ref(0))


@pytest.mark.parametrize("seed", range(3))
async def test_versions_only_move_forward_for_everybody(replicas: Pair, seed: int) -> None:
    rng = random.Random(seed)
    accepted: list[int] = []
    done = asyncio.Event()

    async def publish(replica: Replica, version: int) -> None:
        for _ in range(rng.randrange(20)):
            await asyncio.sleep(0)
        try:
            policy = await replica.registry.publish(ref(version), adapter(f"/a/{version}"))
        except Precondition as refused:
            assert int(refused.metadata["newest"]) >= version
        else:
            accepted.append(policy.ref.version)
            # What was acknowledged is not forgotten by anybody.
            for asked in replicas:
                assert (await asked.registry.get(ref(0))).ref.version >= version

    async def watch(replica: Replica) -> None:
        newest = 0
        while not done.is_set():
            history = await replica.store.read("policy")
            version = 0 if history.newest is None else history.newest.ref.version
            assert version >= newest
            newest = version
            await asyncio.sleep(0)

    watching = [asyncio.create_task(watch(replica)) for replica in replicas]
    versions = [rng.randrange(1, 30) for _ in range(40)]
    await asyncio.gather(*(publish(rng.choice(replicas), version) for version in versions))
    done.set()
    await asyncio.gather(*watching)
    for replica in replicas:
        history = await replica.store.read("policy")
        assert {policy.ref.version for policy in history.versions} == set(accepted)
        assert history.newest is not None and history.newest.ref.version == max(versions)


async def test_only_the_newest_versions_are_kept(replicas: Pair) -> None:
    here, there = replicas
    for version in range(1, KEPT_VERSIONS + 3):
        await replicas[version % 2].registry.publish(ref(version), adapter(f"/a/{version}"))
    assert (await there.registry.get(ref(3))).ref.version == 3
    for replica in (here, there):
        with pytest.raises(NotFound, match="not kept"):
            await replica.registry.get(ref(2))


async def test_names_are_bounded_for_all_together(replicas: Pair) -> None:
    places = asyncio.Semaphore(8)

    async def publish(number: int) -> None:
        async with places:
            await replicas[number % 2].registry.publish(ref(1, f"p{number}"), adapter("/a"))

    await asyncio.gather(*(publish(number) for number in range(MAX_POLICIES)))
    for replica in replicas:
        with pytest.raises(LimitReached):
            await replica.registry.publish(ref(1, "one-more"), adapter("/a"))
        assert len(await replica.store.names()) == MAX_POLICIES
    await replicas[1].registry.publish(ref(2, "p0"), adapter("/b"))


@pytest.mark.parametrize("name", ["", "a b", "a\0b", "*", "é", "p" * 65, "x" * 100_000])
async def test_a_name_that_cannot_be_published_is_not_known(replicas: Pair, name: str) -> None:
    assert await replicas[0].store.read(name) == History()
    async with replicas[0].registry.using(PolicyRef(name)) as use:
        assert (use.ref.name, use.published) == (name, None)


async def test_computations_everywhere_end_when_they_are_cancelled(replicas: Pair) -> None:
    here, there = replicas
    async with AsyncExitStack() as stack:
        configured = await there.compute(stack, ref(0))
        await here.registry.publish(ref(1), adapter("/a/1"))
        first = [await replica.compute(stack, ref(0)) for replica in replicas]
        other = await there.compute(stack, ref(0, "other"))
        await here.registry.publish(ref(2), adapter("/a/2"))
        assert configured == first[0] == first[1] == []
        await here.registry.publish(ref(3), adapter("/a/3"), cancel_in_flight=True)
        await eventually(lambda: all((configured, *first)))
        for (told,) in (configured, *first):
            assert isinstance(told, Precondition) and told.reason is Reason.STALE_POLICY
            assert told.metadata == {"policy": "policy", "newest": "3"}
        # Begun after that, by name, an older version goes on; until somebody cancels again.
        second = [await replica.compute(stack, ref(2)) for replica in replicas]
        third = [await replica.compute(stack, ref(0)) for replica in replicas]
        await there.registry.publish(ref(4), adapter("/a/4"))
        assert (await here.registry.get(ref(0))).ref == ref(4)
        assert not any((*second, *third))
        await there.registry.publish(ref(4), adapter("/a/4"), cancel_in_flight=True)
        await eventually(lambda: all((*second, *third)))
        assert [len(told) for told in (configured, *first, *second, *third)] == [1] * 7
        assert other == []


@pytest.mark.parametrize("seed", range(3))
async def test_no_computation_on_an_older_version_misses_its_end(replicas: Pair, seed: int) -> None:
    rng = random.Random(seed)
    for version in range(1, 20, 2):
        await replicas[0].registry.publish(ref(version), adapter(f"/a/{version}"))
        async with AsyncExitStack() as stack:
            held: list[tuple[int, list[DomainError]]] = []

            async def compute(stack: AsyncExitStack, held: list[tuple[int, list]]) -> None:
                for _ in range(rng.randrange(60)):
                    await asyncio.sleep(0)
                using = rng.choice(replicas).registry.using(ref(0))
                use = await stack.enter_async_context(using)
                told: list[DomainError] = []
                use.when_withdrawn(told.append)
                held.append((use.ref.version, told))

            beginning = [asyncio.create_task(compute(stack, held)) for _ in range(20)]
            for _ in range(rng.randrange(30)):
                await asyncio.sleep(0)
            await rng.choice(replicas).registry.publish(
                ref(version + 1), adapter(f"/a/{version + 1}"), cancel_in_flight=True
            )
            await asyncio.gather(*beginning)
            older = [told for played, told in held if played == version]
            newer = [told for played, told in held if played == version + 1]
            await eventually(lambda older=older: all(older))  # type: ignore[misc]
            assert len(older) + len(newer) == 20
            assert not any(newer)


@pytest.mark.parametrize("kind", [SourceKind.ENDPOINT, SourceKind.TRL_SERVER])
async def test_computations_everywhere_end_when_their_server_is_taken(
    replicas: Pair, kind: SourceKind
) -> None:
    here, there = replicas
    async with AsyncExitStack() as stack:
        await here.registry.publish(ref(1), PolicySource(kind, "http://Host:80/v1/"))
        await there.registry.publish(ref(2), PolicySource(kind, "http://elsewhere/v1"))
        ones = [await replica.compute(stack, ref(1)) for replica in replicas]
        twos = [await replica.compute(stack, ref(2)) for replica in replicas]
        await here.registry.publish(ref(3), PolicySource(kind, "http://host/v1"))
        await eventually(lambda: all(ones))
        assert not any(twos)
        for replica in replicas:
            with pytest.raises(Precondition) as gone:
                await replica.compute(stack, ref(1))
            assert gone.value.reason is Reason.STALE_POLICY


async def test_a_store_replaces_what_it_was_shown_and_nothing_else(replicas: Pair) -> None:
    here, there = (replica.store for replica in replicas)
    heard: list[tuple[str, History]] = []
    there.listen(lambda name, history: heard.append((name, history)))
    one = History().extended(PublishedPolicy(ref(1), adapter("/a/1"), 1))
    two = one.extended(PublishedPolicy(ref(2), adapter("/a/2"), 2)).cancelled(3)
    assert await here.replace("policy", History(), one)
    assert not await here.replace("policy", History(), two)
    assert not await there.replace("policy", two, one)
    assert await there.read("policy") == one
    assert await there.replace("policy", one, two)
    assert await here.read("policy") == await there.read("policy") == two
    # To put what is there is to have it confirmed, and changes nothing.
    assert await here.replace("policy", two, two)
    assert await there.names() == ("policy",)
    assert heard == [("policy", one), ("policy", two)]
