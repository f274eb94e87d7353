"""Evaluator and simulator called in ways that the contract does not allow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import grpc.aio
import pytest
import pytest_asyncio

from foresight.v1 import evaluator_service_pb2 as pb
from foresight.v1 import evaluator_service_pb2_grpc as pb_grpc
from foresight.v1 import simulator_service_pb2 as simulator_pb
from foresight.v1 import simulator_service_pb2_grpc as simulator_grpc
from tests.fakes.requests import message, metric
from tests.fakes.servers import foresight, loopback, refused

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def channel() -> AsyncIterator[grpc.aio.Channel]:
    """A connection to all services."""
    async with foresight(loopback()) as live:
        yield live.channel


def setup(**fields: Any) -> pb.EvaluateRequest:
    given = {
        "task": {"world": "twenty_questions"},
        "prefix": [message("user", "hello")],
        "candidates": ["Is it alive?", "Is it a dog?"],
        "metrics": [metric("success"), metric("messages")],
        "horizon_messages": 4,
        "max_message_tokens": 100,
        **fields,
    }
    return pb.EvaluateRequest(setup=pb.EvaluationSetup(**given))


def conversation(candidate: int = 0, sample: int = 0, **fields: Any) -> pb.EvaluateRequest:
    given = {"goal": "dog", **fields}
    return pb.EvaluateRequest(
        conversation=pb.ConversationItem(candidate_index=candidate, sample_index=sample, **given)
    )


async def evaluate(channel: grpc.aio.Channel, *requests: pb.EvaluateRequest) -> Any:
    """Send `requests`, which must be refused, and return what was told."""
    call: Any = pb_grpc.EvaluatorServiceStub(channel).Evaluate()
    with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
        # It may have been refused before everything is sent.
        for request in requests:
            await call.write(request)
        await call.done_writing()
    return await refused(call)


@pytest.mark.parametrize(
    ("requests", "field", "part"),
    [
        ([conversation()], "setup", "it must be the first request"),
        ([pb.EvaluateRequest()], "setup", "it must be the first request"),
        (
            [setup(), setup()],
            "conversation",
            "every request after the setup must be a conversation",
        ),
        ([setup(), pb.EvaluateRequest()], "conversation", "must be a conversation"),
        ([setup(), conversation(2)], "conversation.candidate_index", "is 2; must be 0 to 1"),
        ([setup(), conversation(-1)], "conversation.candidate_index", "is -1; must be 0 to 1"),
        (
            [setup(), conversation(messages=[message("user", "x"), message("asistant", "y")])],
            "conversation.messages[1].role",
            "did you mean 'assistant'?",
        ),
        ([setup(prefix=[])], "prefix", "must end with the user message"),
        ([setup(prefix=[message("assistant", "x")])], "prefix[0].role", "must end with a 'user'"),
        ([setup(candidates=[])], "candidates", "at least one"),
        ([setup(candidates=["x" * 2_000_000])], "candidates[0]", "at most 1048576"),
        ([setup(metrics=[])], "metrics", "name at least one metric"),
        ([setup(metrics=[metric("sucess")])], "metrics[0].name", "did you mean 'success'?"),
        ([setup(horizon_messages=65)], "horizon_messages", "must be 0 to 64"),
        ([setup(max_message_tokens=0)], "max_message_tokens", "must be 1 to 131072"),
    ],
)
async def test_an_evaluation_is_refused_by_field(
    requests: list[pb.EvaluateRequest], field: str, part: str, channel: grpc.aio.Channel
) -> None:
    refusal = await evaluate(channel, *requests)
    assert (refusal.code, refusal.reason) == ("INVALID_ARGUMENT", "INVALID_REQUEST")
    assert list(refusal.fields) == [field]
    assert part in refusal.fields[field]
    assert refusal.metadata == {"field": field}


async def test_an_evaluation_without_any_request_is_refused(channel: grpc.aio.Channel) -> None:
    call: Any = pb_grpc.EvaluatorServiceStub(channel).Evaluate()
    await call.done_writing()
    assert list((await refused(call)).fields) == ["setup"]


async def test_scores_that_were_sent_before_the_misuse_arrive(channel: grpc.aio.Channel) -> None:
    call: Any = pb_grpc.EvaluatorServiceStub(channel).Evaluate()
    await call.write(setup())
    assert (await call.read()).WhichOneof("response") == "ready"
    await call.write(conversation(1, 5))
    scores = (await call.read()).scores
    assert (scores.candidate_index, scores.sample_index) == (1, 5)
    assert [score.value for score in scores.scores] == [1.0, 1.0]
    await call.write(setup())
    await call.done_writing()
    assert list((await refused(call)).fields) == ["conversation"]


async def test_an_evaluation_without_conversations_ends(channel: grpc.aio.Channel) -> None:
    call: Any = pb_grpc.EvaluatorServiceStub(channel).Evaluate()
    await call.write(setup())
    await call.done_writing()
    ready = (await call.read()).ready
    assert [info.name for info in ready.metrics] == ["success", "messages"]
    assert await call.read() is grpc.aio.EOF


def futures(*specs: tuple[int, int]) -> list[simulator_pb.FutureSpec]:
    return [simulator_pb.FutureSpec(candidate_index=c, sample_index=s) for c, s in specs]


@pytest.mark.parametrize(
    ("fields", "problems"),
    [
        ({"futures": []}, {"futures": "ask for at least one future"}),
        (
            {"futures": futures((0, 0), (2, 0), (-1, 0))},
            {
                "futures[1].candidate_index": "is 2; must be 0 to 1",
                "futures[2].candidate_index": "is -1; must be 0 to 1",
            },
        ),
        (
            {"futures": futures((0, 1024), (1, -1))},
            {
                "futures[0].sample_index": "is 1024; must be 0 to 1023",
                "futures[1].sample_index": "is -1; must be 0 to 1023",
            },
        ),
        ({"futures": futures((1, 3), (0, 3), (1, 3))}, {"futures": "names a future twice"}),
        ({"prefix": []}, {"prefix": "must end with the user message"}),
        (
            {"prefix": [message("robot", "hi"), message("assistant", "")]},
            {
                "prefix[0].role": "unknown 'robot'",
                "prefix[1].content": "a message needs text",
                "prefix[1].role": "must end with a 'user' message",
            },
        ),
        ({"candidates": ["ok", ""]}, {"candidates[1]": "a response needs text"}),
        ({"horizon_messages": -1}, {"horizon_messages": "must be 0 to 64"}),
        ({"max_message_tokens": 0}, {"max_message_tokens": "must be 1 to 131072"}),
        ({"task": {"world": "grocery"}}, {"task.world": "did you mean 'groceries'?"}),
        ({"task": {}}, {"task.world": "is empty"}),
        (
            {"task": {"world": "twenty_questions", "goal": "dogg"}},
            {"task.goal": "the nearest is 'dog'"},
        ),
    ],
)
async def test_a_simulation_is_refused_by_field(
    fields: dict[str, Any], problems: dict[str, str], channel: grpc.aio.Channel
) -> None:
    given = {
        "task": {"world": "twenty_questions"},
        "prefix": [message("user", "hello")],
        "candidates": ["Is it alive?", "Is it a dog?"],
        "futures": futures((0, 0)),
        "horizon_messages": 2,
        "max_message_tokens": 100,
        **fields,
    }
    request = simulator_pb.SimulateFuturesRequest(**given)
    refusal = await refused(simulator_grpc.SimulatorServiceStub(channel).SimulateFutures(request))
    assert (refusal.code, refusal.reason) == ("INVALID_ARGUMENT", "INVALID_REQUEST")
    assert list(refusal.fields) == list(problems)
    for name, part in problems.items():
        assert part in refusal.fields[name]


async def test_a_method_that_does_not_exist_is_not_implemented(
    channel: grpc.aio.Channel,
) -> None:
    send: Any = channel.unary_unary("/foresight.v1.RewardService/Nonsense")
    assert (await refused(send(b""))).code == "UNIMPLEMENTED"
