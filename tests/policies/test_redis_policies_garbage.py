"""What Redis holds or sends that nobody published is never taken for a policy."""

from __future__ import annotations

import random
import struct
from contextlib import AsyncExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foresight.v1 import policy_service_pb2 as pb
from foresight_services.cache.envelope import Envelope, NotAValue
from foresight_services.cache.redis_policies_value import OtherLayout, key_of
from foresight_services.core.errors import Upstream
from foresight_services.core.policy_store import KEPT_VERSIONS, History
from foresight_services.core.published import (
    MAX_VERSION,
    PolicySource,
    PublishedPolicy,
    SourceKind,
)
from foresight_services.rpc.policy_codec import encode_published
from tests.fakes.fault_proxy import fault_proxy
from tests.fakes.redis_server import RedisServer
from tests.fakes.registry import adapter, endpoint, ref
from tests.policies.replicas import (
    Replica,
    Seen,
    fresh_prefix,
    history_codec,
    quiet,
    redis_store,
    started,
)

HEAD = struct.Struct(">BQQ")
ONE = PublishedPolicy(ref(1), adapter("/a/1"), 1)
HISTORY = History().extended(ONE).extended(PublishedPolicy(ref(2), endpoint("http://h/v1"), 2))


def packed(*policies: PublishedPolicy, layout: int = 1, name: str = "policy") -> bytes:
    """Return bytes with every checksum right."""
    listed = pb.ListPoliciesResponse(policies=[encode_published(policy) for policy in policies])
    value = HEAD.pack(layout, 0, 0) + listed.SerializeToString()
    return Envelope(compress_above_bytes=512).pack(key_of(name), value)


def policy(version: int, **changes: object) -> PublishedPolicy:
    fields = {"ref": ref(version), "source": adapter(f"/a/{version}"), "published_at_ns": 1}
    return PublishedPolicy(**{**fields, **changes})  # type: ignore[arg-type]


GARBAGE = {
    "nothing": b"\0",
    "text": b"hello",
    "cut": history_codec().pack("policy", HISTORY)[:-1],
    "of another name": history_codec().pack("other", HISTORY),
    "changed": history_codec().pack("policy", HISTORY)[:-2] + b"zz",
    "half a head": Envelope(compress_above_bytes=512).pack(key_of("policy"), b"\1\0"),
    "no message": Envelope(compress_above_bytes=512).pack(
        key_of("policy"), HEAD.pack(1, 0, 0) + b"\xff\xff"
    ),
    "versions that go back": packed(policy(2), policy(1)),
    "a version twice": packed(policy(2), policy(2)),
    "another policy": packed(policy(2, ref=ref(2, "other"))),
    "version 0": packed(policy(0)),
    "no source": packed(policy(1, source=endpoint(""))),
    "a path that climbs": packed(policy(1, source=adapter("/a/../b"))),
    "a time before all": packed(policy(1, published_at_ns=-1)),
    "a time after all": packed(policy(1, published_at_ns=2**63)),
    "a file": packed(policy(1, source=endpoint("file:///etc/passwd"))),
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
async def test_garbage_is_no_policy_and_gives_way(
    shared_redis: RedisServer, garbage: bytes
) -> None:
    prefix = fresh_prefix()
    async with AsyncExitStack() as stack:
        knows, seen = Replica(quiet(stack, redis_store(shared_redis.url, prefix))), Seen()
        await knows.registry.publish(ref(1), adapter("/a/1"))
        shared_redis.ask("HSET", f"{prefix}:policies", "policy", garbage)
        fresh = Replica(await started(stack, redis_store(shared_redis.url, prefix, seen)))
        assert await fresh.registry.newest() == ()
        assert seen.faults == {"garbage": 1}
        # Who knows what was there puts it back.
        assert (await knows.registry.get(ref(0))).ref == ref(1)
        assert (await fresh.registry.get(ref(0))).ref == ref(1)
        shared_redis.ask("HSET", f"{prefix}:policies", "policy", garbage)
        await fresh.registry.publish(ref(2), adapter("/a/2"))
        assert (await knows.registry.get(ref(0))).ref == ref(2)


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
async def test_garbage_does_not_hold_up_a_first_publication(
    shared_redis: RedisServer, garbage: bytes
) -> None:
    prefix = fresh_prefix()
    shared_redis.ask("HSET", f"{prefix}:policies", "policy", garbage, b"\xff no name", b"x")
    async with AsyncExitStack() as stack:
        here = Replica(await started(stack, redis_store(shared_redis.url, prefix)))
        one = await here.registry.publish(ref(1), adapter("/a/1"))
        other = Replica(await started(stack, redis_store(shared_redis.url, prefix)))
        assert await other.registry.newest() == (one,)


async def test_what_another_version_of_foresight_wrote_is_left_alone(
    shared_redis: RedisServer,
) -> None:
    prefix = fresh_prefix()
    theirs = packed(policy(7), layout=2)
    async with AsyncExitStack() as stack:
        here = Replica(await started(stack, redis_store(shared_redis.url, prefix)))
        await here.registry.publish(ref(1), adapter("/a/1"))
        shared_redis.ask("HSET", f"{prefix}:policies", "policy", theirs)
        assert (await here.registry.get(ref(0))).ref == ref(1)
        with pytest.raises(Upstream, match="another version of Foresight") as refused:
            await here.registry.publish(ref(8), adapter("/a/8"))
        assert refused.value.metadata["fault"] == "layout"
        assert shared_redis.ask("HGET", f"{prefix}:policies", "policy") == theirs


async def test_a_key_of_another_type_is_told(shared_redis: RedisServer) -> None:
    prefix, seen = fresh_prefix(), Seen()
    shared_redis.ask("SET", f"{prefix}:policies", "theirs")
    async with AsyncExitStack() as stack:
        here = Replica(await started(stack, redis_store(shared_redis.url, prefix, seen)))
        async with here.registry.using(ref(0)) as use:
            assert use.published is None
        with pytest.raises(Upstream) as refused:
            await here.registry.publish(ref(1), adapter("/a/1"))
        assert refused.value.metadata["fault"] == "garbage"
        assert seen.copied and set(seen.faults) == {"garbage"}
        shared_redis.ask("DEL", f"{prefix}:policies")
        await here.registry.publish(ref(1), adapter("/a/1"))


@pytest.mark.parametrize("seed", range(4))
async def test_garbled_answers_are_never_policies(shared_redis: RedisServer, seed: int) -> None:
    rng, prefix, garbled = random.Random(seed), fresh_prefix(), 0

    def garble(data: bytes) -> bytes:
        nonlocal garbled
        garbled += 1
        place = rng.randrange(len(data))
        match rng.randrange(3):
            case 0:
                return data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place:]
            case 1:
                return data[:place]
            case _:
                return rng.randbytes(len(data))

    async with AsyncExitStack() as stack, fault_proxy(shared_redis.port) as proxy:
        sure = Replica(await started(stack, redis_store(shared_redis.url, prefix)))
        names = [f"p{number}" for number in range(5)]
        for name in names:
            await sure.registry.publish(ref(3, name), adapter(f"/{name}"))
        url = f"redis://127.0.0.1:{proxy.port}"
        store = await started(stack, redis_store(url, prefix, timeout_seconds=0.1))
        known = {name: await store.read(name) for name in names}
        proxy.change = garble
        for _ in range(40):
            name = rng.choice(names)
            assert await store.read(name) == known[name]
            await store.names()
        assert garbled > 10
        assert {name: await sure.store.read(name) for name in names} == known
        proxy.change = None
        proxy.drop()


policies = st.lists(
    st.builds(
        lambda version, kind, at: PublishedPolicy(
            ref(version),
            PolicySource(kind, "/a" if kind is SourceKind.LORA_ADAPTER_PATH else "http://h/v1"),
            at,
        ),
        st.integers(1, 20) | st.integers(1, MAX_VERSION),
        st.sampled_from(SourceKind),
        st.integers(0, 2**63 - 1),
    ),
    max_size=KEPT_VERSIONS,
    unique_by=lambda policy: policy.ref.version,
)
histories = st.builds(
    lambda versions, below, at: History(
        tuple(sorted(versions, key=lambda policy: policy.ref.version)), below, at
    ),
    policies,
    st.integers(0, MAX_VERSION),
    st.integers(0, 2**63 - 1),
)


@given(histories)
def test_a_history_is_read_as_it_was_written(history: History) -> None:
    codec = history_codec()
    stored = codec.pack("policy", history)
    assert codec.unpack("policy", stored) == history
    with pytest.raises(NotAValue):
        codec.unpack("other", stored)


def test_a_layout_that_is_not_known_is_told_from_garbage() -> None:
    with pytest.raises(OtherLayout):
        history_codec().unpack("policy", packed(ONE, layout=2))


def test_of_a_history_that_is_longer_the_newest_are_read() -> None:
    long = packed(*(policy(version) for version in range(1, KEPT_VERSIONS + 11)))
    versions = [known.ref.version for known in history_codec().unpack("policy", long).versions]
    assert versions == list(range(11, KEPT_VERSIONS + 11))


@given(histories, histories, histories)
def test_the_join_of_histories_depends_on_no_order(a: History, b: History, c: History) -> None:
    assert a.joined(b) == b.joined(a)
    assert a.joined(b).joined(c) == a.joined(b.joined(c))
    assert a.joined(b).joined(b) == a.joined(b)
    assert a.joined(a) == a.joined(History()) == a
    versions = {policy.ref.version for policy in (*a.versions, *b.versions)}
    joined = [policy.ref.version for policy in a.joined(b).versions]
    assert joined == sorted(versions)[-KEPT_VERSIONS:]
