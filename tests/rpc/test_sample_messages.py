"""SampleMessages on real servers: what is sent, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from foresight.v1 import conversation_pb2, policy_service_pb2
from foresight.v1 import simulator_service_pb2 as pb
from foresight.v1 import simulator_service_pb2_grpc as pb_grpc
from foresight_services.worlds.groceries.sentences import OPENING
from foresight_services.worlds.twenty_questions import opening_message
from tests.fakes.requests import GAME, message
from tests.fakes.servers import Live, channel_to, foresight, loopback, refused, three_services

OPENINGS = {"twenty_questions": opening_message(), "groceries": OPENING}


def asking(kind: pb.MessageKind.ValueType, **fields: Any) -> pb.SampleMessagesRequest:
    given = {
        "task": conversation_pb2.Task(world="twenty_questions"),
        "kind": kind,
        "policy": conversation_pb2.PolicyRef(name="policy"),
        **fields,
    }
    return pb.SampleMessagesRequest(**given)


async def sampled(channel: Any, request: pb.SampleMessagesRequest) -> list[Any]:
    """Return all samples, by index."""
    call = pb_grpc.SimulatorServiceStub(channel).SampleMessages(request)
    return sorted([one async for one in call], key=lambda one: one.sample_index)


@pytest.mark.parametrize("world", OPENINGS)
async def test_a_world_opens(world: str) -> None:
    task = conversation_pb2.Task(world=world)
    async with foresight(loopback()) as live:
        request = asking(pb.MESSAGE_KIND_OPENING_USER, task=task, count=8, seed=3)
        found = await sampled(live.channel, request)
    assert [one.sample_index for one in found] == list(range(8))
    assert {one.message.content for one in found} == {OPENINGS[world]}
    assert {one.message.role for one in found} == {"user"}
    assert len({one.goal for one in found}) > 1
    assert all(one.fingerprint and not one.HasField("policy") for one in found)
    assert found[0].usage.models[0].role == "user"
    assert found[0].usage.messages == 1


async def test_a_policy_answers_the_same_on_one_process_and_three() -> None:
    request = asking(
        pb.MESSAGE_KIND_POLICY,
        prefix=[message("user", GAME)],
        policy=conversation_pb2.PolicyRef(name="guesser"),
        count=6,
        seed=1,
    )
    async with foresight(loopback()) as live:
        together = await sampled(live.channel, request)
        request.count = 3
        fewer = await sampled(live.channel, request)
    request.count = 6
    async with three_services(loopback()) as three, channel_to(three.simulator.address) as channel:
        apart = await sampled(channel, request)
    said = [one.message.content for one in together]
    assert {one.message.role for one in together} == {"assistant"}
    assert {one.policy.name for one in together} == {"guesser"}
    assert [one.message.content for one in apart] == said
    assert [one.message.content for one in fewer] == said[:3]
    assert len(set(said)) > 1


async def test_the_next_user_message_answers_the_assistant() -> None:
    task = conversation_pb2.Task(world="twenty_questions", goal="dog")
    prefix = [message("user", GAME), message("assistant", "Is it alive?")]
    async with foresight(loopback()) as live:
        request = asking(pb.MESSAGE_KIND_NEXT_USER, task=task, prefix=prefix)
        (found,) = await sampled(live.channel, request)
    assert (found.message.role, found.message.content, found.goal) == ("user", "Yes.", "dog")


async def _refusal(live: Live, request: pb.SampleMessagesRequest) -> Any:
    stub = pb_grpc.SimulatorServiceStub(live.channel)
    return await refused(stub.SampleMessages(request))


async def test_what_cannot_be_sampled_is_refused_with_the_reason() -> None:
    async with foresight(loopback()) as live:
        nothing = await _refusal(live, pb.SampleMessagesRequest())
        assert (nothing.code, nothing.reason) == ("INVALID_ARGUMENT", "INVALID_REQUEST")
        assert set(nothing.fields) == {"kind", "task.goal"}
        kind = pb.MESSAGE_KIND_OPENING_USER
        world = await _refusal(live, asking(kind, task=conversation_pb2.Task(world="chess")))
        assert set(world.fields) == {"task.world"}
        goal = conversation_pb2.Task(world="groceries", goal="a violin")
        assert set((await _refusal(live, asking(kind, task=goal))).fields) == {"task.goal"}
        # Rules play worlds alone.
        bare = conversation_pb2.Task(goal="a poem")
        assert set((await _refusal(live, asking(kind, task=bare))).fields) == {"task.world"}
        many = asking(kind, count=300, sample_indices=[1])
        assert set((await _refusal(live, many)).fields) == {"count", "sample_indices"}
        policy = asking(
            pb.MESSAGE_KIND_POLICY,
            prefix=[message("user", GAME)],
            policy=conversation_pb2.PolicyRef(name="nobody"),
        )
        assert (await _refusal(live, policy)).reason == "UNKNOWN_POLICY"
        policy.published.CopyFrom(
            policy_service_pb2.Policy(
                ref=conversation_pb2.PolicyRef(name="other", version=1),
                endpoint="http://127.0.0.1:9",
            )
        )
        assert set((await _refusal(live, policy)).fields) == {"published.ref"}
