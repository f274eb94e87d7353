"""PolicyService over gRPC, and what the simulator makes of a published policy on the wire."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from foresight import (
    Client,
    InvalidRequestError,
    PublishedPolicy,
    StalePolicyError,
    UnknownPolicyError,
)
from foresight.v1 import conversation_pb2 as shared
from foresight.v1 import policy_service_pb2 as pb
from foresight.v1 import policy_service_pb2_grpc as pb_grpc
from foresight_services.core.errors import InvalidInput, NotFound, Reason
from foresight_services.core.published import PolicySource, SourceKind
from foresight_services.core.published import PublishedPolicy as Published
from foresight_services.core.task import PolicyRef
from foresight_services.rpc.policy_codec import decode_published, encode_published
from tests.fakes.chat import ScriptedChat
from tests.fakes.live_policies import Live, live_policies
from tests.fakes.servers import foresight, loopback, refused, remote_simulator
from tests.fakes.simulation import make_simulation, simulation_request


@pytest.fixture
async def live() -> AsyncIterator[Live]:
    """The services."""
    async with live_policies() as live:
        yield live


def seconds(count: int) -> datetime:
    return datetime.fromtimestamp(count, UTC)


async def test_both_clients_publish_get_and_list(live: Live) -> None:
    client = live.client
    one = await client.publish_policy(version=1, endpoint="http://127.0.0.1:8000/v1")
    expected = PublishedPolicy(
        name="policy",
        version=1,
        endpoint="http://127.0.0.1:8000/v1",
        lora_adapter_path=None,
        trl_server=None,
        published_at=seconds(1),
    )
    assert one == expected
    assert pickle.loads(pickle.dumps(one)) == one

    def with_the_sync_client() -> tuple[PublishedPolicy, ...]:
        with Client(live.address) as sync:
            two = sync.publish_policy(version=2, lora_adapter_path="/adapters/2")
            three = sync.publish_policy(name="other", version=3, trl_server="http://trl:8000")
            assert sync.publish_policy(version=2, lora_adapter_path="/adapters/2") == two
            assert sync.get_policy() == two
            assert sync.get_policy(version=1) == one
            with pytest.raises(StalePolicyError):
                sync.publish_policy(version=1, endpoint="http://elsewhere")
            with pytest.raises(UnknownPolicyError):
                sync.get_policy(name="nobody")
            assert sync.list_policies() == (three, two)
            return two, three

    two, three = await asyncio.to_thread(with_the_sync_client)
    assert (two.lora_adapter_path, two.endpoint, two.published_at) == (
        "/adapters/2",
        None,
        seconds(2),
    )
    assert (three.name, three.trl_server) == ("other", "http://trl:8000")
    assert await client.get_policy(name="other", version=3) == three
    assert await client.list_policies() == (three, two)


async def test_a_version_that_is_not_newer_is_refused_with_the_newest(live: Live) -> None:
    await live.client.publish_policy(version=12, endpoint="http://127.0.0.1:8000/v1")
    with pytest.raises(StalePolicyError) as stale:
        await live.client.publish_policy(version=11, endpoint="http://127.0.0.1:8001/v1")
    assert (stale.value.code.name, stale.value.reason) == ("FAILED_PRECONDITION", "STALE_POLICY")
    assert stale.value.metadata == {"policy": "policy", "newest": "12"}


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"version": 1}, "policy"),
        ({"version": 1, "endpoint": "http://a", "trl_server": "http://b"}, "policy"),
        ({"version": -1, "endpoint": "http://a"}, "policy.ref.version"),
        ({"version": 2**63, "endpoint": "http://a"}, "policy.ref.version"),
        ({"version": True, "endpoint": "http://a"}, "policy.ref.version"),
        ({"version": "1", "endpoint": "http://a"}, "policy.ref.version"),
        ({"version": 1, "name": "", "endpoint": "http://a"}, "policy.ref.name"),
        ({"version": 1, "name": 7, "endpoint": "http://a"}, "policy.ref.name"),
        ({"version": 1, "endpoint": 7}, "policy.endpoint"),
        ({"version": 1, "endpoint": ""}, "policy.endpoint"),
        # These the service finds.
        ({"version": 0, "endpoint": "http://a"}, "policy.ref.version"),
        ({"version": 1, "endpoint": "a:80"}, "policy.endpoint"),
        ({"version": 1, "name": "a b", "endpoint": "http://a"}, "policy.ref.name"),
        ({"version": 1, "lora_adapter_path": "a"}, "policy.lora_adapter_path"),
        ({"version": 1, "trl_server": "http://user:secret@a"}, "policy.trl_server"),
    ],
)
async def test_a_wrong_argument_is_named(arguments: Any, field: str, live: Live) -> None:
    with pytest.raises(InvalidRequestError) as wrong:
        await live.client.publish_policy(**arguments)
    assert [violation.field for violation in wrong.value.violations] == [field]
    assert await live.client.list_policies() == ()


async def test_the_service_that_runs_everything_has_it() -> None:
    async with foresight(loopback()) as running:
        stub: Any = pb_grpc.PolicyServiceStub(running.channel)
        refusal = await refused(stub.PublishPolicy(pb.PublishPolicyRequest()))
        assert refusal.code == "INVALID_ARGUMENT"
        assert list(refusal.fields) == ["policy.ref.version", "policy"]
        ref = shared.PolicyRef(name="policy", version=1)
        policy = pb.Policy(ref=ref, lora_adapter_path="/a/1")
        # The caller's time does not count.
        policy.published_at.seconds = 1
        published = await stub.PublishPolicy(pb.PublishPolicyRequest(policy=policy))
        assert published.policy.published_at.seconds > 1_700_000_000
        listed = await stub.ListPolicies(pb.ListPoliciesRequest())
        assert list(listed.policies) == [published.policy]
        found = await stub.GetPolicy(pb.GetPolicyRequest())
        assert found.policy == published.policy
        refusal = await refused(
            stub.GetPolicy(pb.GetPolicyRequest(ref=shared.PolicyRef(version=9)))
        )
        assert (refusal.code, refusal.reason) == ("NOT_FOUND", "UNKNOWN_POLICY")


@pytest.mark.parametrize("kind", SourceKind)
def test_a_published_policy_travels_as_it_is(kind: SourceKind) -> None:
    policy = Published(
        PolicyRef("policy", 2**63 - 1), PolicySource(kind, "/a"), 1_700_000_000_123_456_789
    )
    assert decode_published(encode_published(policy)) == policy


async def test_a_simulator_checks_what_it_is_sent() -> None:
    simulation = make_simulation(user=ScriptedChat("u"), policy=ScriptedChat("a"))
    wrong = Published(PolicyRef("policy", 0), PolicySource(SourceKind.ENDPOINT, ""), 0)
    asked = simulation_request(policy=PolicyRef("policy", 3), published=wrong)
    async with remote_simulator(simulation) as simulator:
        with pytest.raises(InvalidInput) as invalid:
            await anext(simulator.simulate(asked))
    assert [violation.field for violation in invalid.value.violations] == [
        "published.ref.version",
        "published.endpoint",
        "published.ref",
    ]


async def test_a_simulator_without_published_policies_says_so() -> None:
    simulation = make_simulation(user=ScriptedChat("u"), policy=ScriptedChat("a"))
    ref = PolicyRef("policy", 3)
    published = Published(ref, PolicySource(SourceKind.ENDPOINT, "http://a"), 0)
    with pytest.raises(NotFound) as missing:
        await anext(simulation.simulate(simulation_request(policy=ref, published=published)))
    assert missing.value.reason is Reason.UNKNOWN_POLICY
