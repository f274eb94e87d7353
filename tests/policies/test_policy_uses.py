"""What a computation holds of a policy: one version to its end, unless that is taken away."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foresight_services.core.errors import DomainError, NotFound, Precondition, Reason
from foresight_services.core.policies import PolicyRegistry
from foresight_services.core.published import PolicySource, SourceKind
from foresight_services.core.task import PolicyRef
from tests.fakes.registry import SlowStore, adapter, make_registry, ref


@dataclass
class Watch:
    """What a computation was told."""

    told: list[DomainError]


async def use(stack: AsyncExitStack, registry: PolicyRegistry, asked: PolicyRef) -> Watch:
    policy = await stack.enter_async_context(registry.using(asked))
    watch = Watch([])
    policy.when_withdrawn(watch.told.append)
    return watch


async def test_a_computation_takes_the_newest_or_the_version_it_names() -> None:
    registry = make_registry()
    async with registry.using(ref(0)) as policy:
        assert (policy.ref, policy.published) == (ref(0), None)
    await registry.publish(ref(1), adapter("/a/1"))
    await registry.publish(ref(2), adapter("/a/2"))
    async with registry.using(ref(0)) as policy:
        await registry.publish(ref(3), adapter("/a/3"))
        assert policy.ref == ref(2)
        assert policy.published == await registry.get(ref(2))
    async with registry.using(ref(1)) as policy:
        assert policy.published == await registry.get(ref(1))
    with pytest.raises(NotFound):
        async with registry.using(ref(4)):
            pytest.fail("held a version that is not there")


async def test_a_swap_leaves_computations_alone_unless_it_cancels_them() -> None:
    registry = make_registry()
    async with AsyncExitStack() as stack:
        configured = await use(stack, registry, ref(0))
        await registry.publish(ref(1), adapter("/a/1"))
        one = await use(stack, registry, ref(0))
        other = await use(stack, registry, PolicyRef("other"))
        await registry.publish(ref(2), adapter("/a/2"))
        assert configured.told == one.told == []
        await registry.publish(ref(3), adapter("/a/3"), cancel_in_flight=True)
        three = await use(stack, registry, ref(0))
        for watch in (configured, one):
            (told,) = watch.told
            assert isinstance(told, Precondition)
            assert told.reason is Reason.STALE_POLICY
            assert told.metadata == {"policy": "policy", "newest": "3"}
        assert other.told == three.told == []
        # Told once is enough; and the version that is published again is not older than itself.
        await registry.publish(ref(3), adapter("/a/3"), cancel_in_flight=True)
        assert len(one.told) == 1
        assert three.told == []


async def test_who_asks_late_is_told_at_once() -> None:
    registry = make_registry()
    await registry.publish(ref(1), adapter("/a/1"))
    async with registry.using(ref(1)) as policy:
        await registry.publish(ref(2), adapter("/a/2"), cancel_in_flight=True)
        told: list[DomainError] = []
        policy.when_withdrawn(told.append)
        assert told == [policy.withdrawal]


@pytest.mark.parametrize("kind", [SourceKind.ENDPOINT, SourceKind.TRL_SERVER])
async def test_a_server_at_the_same_address_takes_the_older_versions_place(
    kind: SourceKind,
) -> None:
    registry = make_registry()
    async with AsyncExitStack() as stack:
        await registry.publish(ref(1), PolicySource(kind, "http://Host:80/v1/"))
        await registry.publish(ref(2), PolicySource(kind, "http://elsewhere/v1"))
        one, two = await use(stack, registry, ref(1)), await use(stack, registry, ref(2))
        await registry.publish(ref(3), PolicySource(kind, "http://host/v1"))
        # Whatever would answer now at that address, it is not version 1.
        assert [told.reason for told in one.told] == [Reason.STALE_POLICY]
        assert two.told == []
        with pytest.raises(Precondition) as refused:
            await use(stack, registry, ref(1))
        assert refused.value.reason is Reason.STALE_POLICY
        await use(stack, registry, ref(2))
        assert (await registry.get(ref(1))).ref == ref(1)


@settings(max_examples=150, deadline=None)
@given(
    begins=st.lists(st.integers(0, 12), min_size=1, max_size=8),
    pauses=st.lists(st.integers(0, 4), min_size=1, max_size=9),
)
def test_no_computation_on_an_older_version_misses_its_end(
    begins: list[int], pauses: list[int]
) -> None:
    async def play() -> None:
        registry = make_registry(SlowStore(pauses))
        await registry.publish(ref(1), adapter("/a/1"))
        published = asyncio.Event()
        held: list[tuple[int, bool]] = []

        async def compute(turns: int) -> None:
            for _ in range(turns):
                await asyncio.sleep(0)
            async with registry.using(ref(0)) as policy:
                told: list[DomainError] = []
                policy.when_withdrawn(told.append)
                await published.wait()
                held.append((policy.ref.version, bool(told)))

        async def swap() -> None:
            for _ in range(5):
                await asyncio.sleep(0)
            await registry.publish(ref(2), adapter("/a/2"), cancel_in_flight=True)
            published.set()

        await asyncio.gather(swap(), *(compute(turns) for turns in begins))
        assert set(held) <= {(1, True), (2, False)}

    asyncio.run(play())
