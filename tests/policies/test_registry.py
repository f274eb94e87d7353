"""Which versions there are: they only move forward, and what is published never changes."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foresight_services.core.errors import (
    InvalidInput,
    LimitReached,
    NotFound,
    Precondition,
    Reason,
)
from foresight_services.core.policies import MAX_POLICIES
from foresight_services.core.policy_store import KEPT_VERSIONS, MemoryPolicyStore
from foresight_services.core.published import PolicySource, PublishedPolicy, SourceKind
from foresight_services.core.task import PolicyRef
from tests.fakes.registry import SlowStore, adapter, endpoint, make_registry, ref


async def test_a_version_is_registered_with_the_time_of_the_service() -> None:
    registry = make_registry()
    first = await registry.publish(ref(3), adapter("/a/3"))
    assert first == PublishedPolicy(ref(3), adapter("/a/3"), 1)
    assert await registry.publish(ref(7), adapter("/a/7")) == PublishedPolicy(
        ref(7), adapter("/a/7"), 2
    )
    assert await registry.get(ref(3)) == first
    assert (await registry.get(ref(0))).ref == ref(7)


async def test_the_newest_version_can_be_published_again_as_it_was() -> None:
    registry = make_registry()
    first = await registry.publish(ref(1), adapter("/a/1"))
    assert await registry.publish(ref(1), adapter("/a/1")) == first
    await registry.publish(ref(2), adapter("/a/2"))
    with pytest.raises(Precondition):
        await registry.publish(ref(1), adapter("/a/1"))


@pytest.mark.parametrize("version", [1, 4, 5])
async def test_versions_only_move_forward(version: int) -> None:
    registry = make_registry()
    await registry.publish(ref(5), adapter("/a/5"))
    with pytest.raises(Precondition) as refused:
        await registry.publish(ref(version), adapter("/elsewhere"))
    assert refused.value.reason is Reason.STALE_POLICY
    assert refused.value.metadata == {"policy": "policy", "newest": "5"}
    assert await registry.newest() == (PublishedPolicy(ref(5), adapter("/a/5"), 1),)


async def test_policies_are_listed_by_name_with_their_newest_version() -> None:
    registry = make_registry()
    for name, version in (("zeta", 1), ("alpha", 1), ("alpha", 2)):
        await registry.publish(ref(version, name), adapter(f"/{name}/{version}"))
    assert [p.ref for p in await registry.newest()] == [ref(2, "alpha"), ref(1, "zeta")]


@pytest.mark.parametrize("path", ["/a/1", "/a/1/", "//a/./1"])
async def test_a_directory_belongs_to_one_version(path: str) -> None:
    registry = make_registry()
    await registry.publish(ref(1), adapter("/a/1"))
    with pytest.raises(InvalidInput) as refused:
        await registry.publish(ref(2), adapter(path))
    (violation,) = refused.value.violations
    assert violation.field == "policy.lora_adapter_path"
    assert "version 1" in violation.description
    await registry.publish(ref(1, "another"), adapter("/a/1"))


async def test_only_the_newest_versions_are_kept() -> None:
    registry = make_registry()
    for version in range(1, KEPT_VERSIONS + 3):
        await registry.publish(ref(2 * version), adapter(f"/a/{version}"))
    assert (await registry.get(ref(6))).ref.version == 6
    newest = str(2 * (KEPT_VERSIONS + 2))
    for version, problem in ((4, "not kept"), (7, "never published"), (9999, "not published yet")):
        with pytest.raises(NotFound, match=problem) as missing:
            await registry.get(ref(version))
        assert missing.value.reason is Reason.UNKNOWN_POLICY
        assert missing.value.metadata == {
            "policy": "policy",
            "version": str(version),
            "newest": newest,
        }


async def test_names_are_bounded() -> None:
    registry = make_registry()
    for index in range(MAX_POLICIES):
        await registry.publish(ref(1, f"p{index}"), adapter("/a"))
    with pytest.raises(LimitReached):
        await registry.publish(ref(1, "one-more"), adapter("/a"))
    await registry.publish(ref(2, "p0"), adapter("/b"))


WRONG = {
    "a name that is too long": (PolicyRef("p" * 65, 1), adapter("/a"), "policy.ref.name"),
    "a name with a slash": (PolicyRef("a/b", 1), adapter("/a"), "policy.ref.name"),
    "a name with an at": (PolicyRef("a@1", 1), adapter("/a"), "policy.ref.name"),
    "a name with a newline": (PolicyRef("a\n", 1), adapter("/a"), "policy.ref.name"),
    "a name that hides": (PolicyRef(".a", 1), adapter("/a"), "policy.ref.name"),
    "no version": (ref(0), adapter("/a"), "policy.ref.version"),
    "a version that is too great": (ref(2**63), adapter("/a"), "policy.ref.version"),
    "no source": (ref(1), None, "policy"),
    "no path": (ref(1), adapter(""), "policy.lora_adapter_path"),
    "a relative path": (ref(1), adapter("a/b"), "policy.lora_adapter_path"),
    "a path that climbs": (ref(1), adapter("/a/../b"), "policy.lora_adapter_path"),
    "a path with a NUL": (ref(1), adapter("/a\0"), "policy.lora_adapter_path"),
    "a long path": (ref(1), adapter("/" + "a" * 4096), "policy.lora_adapter_path"),
    "no URL": (ref(1), endpoint(""), "policy.endpoint"),
    "another scheme": (ref(1), endpoint("ftp://host/v1"), "policy.endpoint"),
    "a file": (ref(1), endpoint("file:///etc/passwd"), "policy.endpoint"),
    "no host": (ref(1), endpoint("http:///v1"), "policy.endpoint"),
    "no such port": (ref(1), endpoint("http://host:99999"), "policy.endpoint"),
    "a broken host": (ref(1), endpoint("http://[::1/v1"), "policy.endpoint"),
    "a space": (ref(1), endpoint("http://host/v 1"), "policy.endpoint"),
    "a password": (ref(1), endpoint("http://me:secret@host/v1"), "policy.endpoint"),
    "a query": (ref(1), endpoint("http://host/v1?a=b"), "policy.endpoint"),
    "a long URL": (ref(1), endpoint("http://host/" + "a" * 2048), "policy.endpoint"),
    "a server of TRL that is none": (
        ref(1),
        PolicySource(SourceKind.TRL_SERVER, "host:8000"),
        "policy.trl_server",
    ),
}


@pytest.mark.parametrize(("wrong", "source", "field"), WRONG.values(), ids=WRONG)
async def test_a_wrong_policy_is_refused_by_its_field(
    wrong: PolicyRef, source: PolicySource | None, field: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        await make_registry().publish(wrong, source)
    assert [v.field for v in refused.value.violations] == [field]
    assert "secret" not in refused.value.message


@settings(max_examples=150, deadline=None)
@given(
    versions=st.lists(st.tuples(st.integers(1, 6), st.booleans()), min_size=1, max_size=12),
    pauses=st.lists(st.integers(0, 4), min_size=1, max_size=9),
)
def test_versions_never_move_back_whatever_the_interleaving(
    versions: list[tuple[int, bool]], pauses: list[int]
) -> None:
    async def play() -> None:
        registry = make_registry(store := SlowStore(pauses))
        accepted: list[int] = []
        seen: list[int] = []

        async def publish(index: int, version: int, twin: bool) -> None:
            path = f"/a/{version}" if twin else f"/a/{version}/{index}"
            try:
                published = await registry.publish(ref(version), adapter(path))
            except Precondition as refused:
                assert refused.reason is Reason.STALE_POLICY
                assert int(refused.metadata["newest"]) >= version
                return
            assert published.ref == ref(version)
            assert published.source == adapter(path)
            accepted.append(version)

        async def watch() -> None:
            for _ in range(20):
                history = await MemoryPolicyStore.read(store, "policy")
                if history.newest is not None:
                    seen.append(history.newest.ref.version)
                await asyncio.sleep(0)

        await asyncio.gather(
            watch(), *(publish(i, version, twin) for i, (version, twin) in enumerate(versions))
        )
        assert seen == sorted(seen)
        history = await MemoryPolicyStore.read(store, "policy")
        kept = [policy.ref.version for policy in history.versions]
        assert kept == sorted(set(kept)) == sorted(set(accepted))
        assert kept[-1] == max(version for version, _ in versions)

    asyncio.run(play())
