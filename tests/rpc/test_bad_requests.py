"""The table of bad requests: each is refused by field, with what would be right.

Every case is sent to the reward service alone and on a stream, both with all services in one
process and with three services apart, and must get the same answer.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import grpc.aio
import pytest
import pytest_asyncio

from foresight.v1 import conversation_pb2, metric_pb2
from foresight.v1 import reward_service_pb2 as pb
from foresight.v1 import reward_service_pb2_grpc as pb_grpc
from tests.fakes.requests import GAME, game, message, metric, simulation
from tests.fakes.servers import (
    channel_to,
    foresight,
    loopback,
    refusal_in,
    refused,
    three_services,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

MIB = 1 << 20
TEN_MB = "x" * 10_000_000


@dataclass(frozen=True)
class Case:
    """A request that is refused."""

    name: str
    """What is wrong with it."""
    request: pb.ComputeRewardsRequest
    """The request."""
    fields: dict[str, str] = field(default_factory=dict)
    """Every field that is named, and a part of what is said of it."""
    code: str = "INVALID_ARGUMENT"
    reason: str = "INVALID_REQUEST"
    metadata: dict[str, str] = field(default_factory=dict)
    """Where no field is named: what is told to programs."""


def task(**fields: Any) -> conversation_pb2.Task:
    return conversation_pb2.Task(**fields)


def objective(*metrics: Any, profile: str = "") -> pb.Objective:
    return pb.Objective(profile=profile, metrics=metrics)


SUCCESS = objective(metric("success"))

CASES = [
    # Candidates
    Case("no candidates", game(candidates=[]), {"candidates": "at least one assistant response"}),
    Case(
        "empty candidate", game(candidates=["ok", ""]), {"candidates[1]": "a response needs text"}
    ),
    Case("blank candidate", game(candidates=[" \n\t"]), {"candidates[0]": "a response needs text"}),
    Case(
        "257 candidates",
        game(candidates=["ok"] * 257),
        {"candidates": "has 257 entries; at most 256"},
    ),
    Case(
        "candidate of 10 MB",
        game(candidates=["ok", TEN_MB]),
        {"candidates[1]": "is 10000000 bytes long; at most 1048576"},
    ),
    Case(
        "candidate a byte too long, its characters not too many",
        game(candidates=["é" * (MIB // 2) + "x"]),
        {"candidates[0]": "is 1048577 bytes long; at most 1048576"},
    ),
    # Budget and account
    Case(
        "negative budget",
        game(budget=conversation_pb2.Budget(max_tokens=-1, max_dollars=-0.5)),
        {
            "budget.max_tokens": "is -1; must not be negative",
            "budget.max_dollars": "is -0.5; must be a finite number that is not negative",
        },
    ),
    Case(
        "budget that is no number",
        game(budget=conversation_pb2.Budget(max_dollars=math.nan)),
        {"budget.max_dollars": "is nan; must be a finite number"},
    ),
    Case(
        "endless budget",
        game(budget=conversation_pb2.Budget(max_dollars=math.inf)),
        {"budget.max_dollars": "is inf; must be a finite number"},
    ),
    Case("long job", game(job="x" * 129), {"job": "has 129 characters; at most 128"}),
    # Prefix
    Case("no prefix", game(prefix=[]), {"prefix": "must end with the user message to answer"}),
    Case(
        "prefix of 1025 messages",
        game(prefix=[message("user", GAME)] * 1025),
        {"prefix": "has 1025 messages; at most 1024"},
    ),
    Case(
        "unknown role",
        game(prefix=[message("asistant", "hello"), message("user", GAME)]),
        {"prefix[0].role": "did you mean 'assistant'? (known: assistant, system, user)"},
    ),
    Case(
        "role in capitals",
        game(prefix=[message("User", GAME)]),
        {"prefix[0].role": "did you mean 'user'?"},
    ),
    Case(
        "no role",
        game(prefix=[message("", GAME)]),
        {"prefix[0].role": "unknown '' (known: assistant, system, user)"},
    ),
    Case(
        "prefix that ends with the assistant",
        game(prefix=[message("user", GAME), message("assistant", "ok")]),
        {"prefix[1].role": "is 'assistant'; the prefix must end with a 'user' message"},
    ),
    Case(
        "prefix that ends with the system",
        game(prefix=[message("user", GAME), message("system", "be brief")]),
        {"prefix[1].role": "is 'system'; the prefix must end with a 'user' message"},
    ),
    Case(
        "message without text",
        game(prefix=[message("system", ""), message("user", GAME)]),
        {"prefix[0].content": "a message needs text"},
    ),
    Case(
        "message of 10 MB",
        game(prefix=[message("user", TEN_MB)]),
        {"prefix[0].content": "is 10000000 bytes long; at most 1048576"},
    ),
    # Task
    Case(
        "neither preset nor goal nor world",
        game(task=task(), objective=SUCCESS),
        {"task.goal": "say what the user wants, or name a preset or a world"},
    ),
    Case(
        "goal without a world",
        game(task=task(goal="dog"), objective=SUCCESS),
        {"task.world": "the user model is builtin (known: twenty_questions, groceries)"},
    ),
    Case(
        "unknown preset",
        game(task=task(preset="twenty_qestions")),
        {"task.preset": "did you mean 'twenty_questions'? (known: ambiguous_qa, "},
    ),
    Case(
        "preset of 10 MB",
        game(task=task(preset=TEN_MB)),
        {"task.preset": "(known: ambiguous_qa, code_generation, "},
    ),
    Case(
        "unknown world",
        game(task=task(world="grocery"), objective=SUCCESS),
        {"task.world": "did you mean 'groceries'? (known: groceries, twenty_questions)"},
    ),
    Case(
        "goal that is none in its world",
        game(task=task(preset="twenty_questions", goal="dogg")),
        {"task.goal": "'dogg' is not a known thing; the nearest is 'dog'"},
    ),
    Case(
        "goal that is none in another world",
        game(task=task(preset="groceries", goal="diet: steak")),
        {"task.goal": "diet is one of"},
    ),
    Case(
        "goal of 10 MB",
        game(task=task(preset="twenty_questions", goal=TEN_MB)),
        {"task.goal": "at most 1048576"},
    ),
    Case(
        "description, guidance and reference of 10 MB",
        game(
            task=task(
                preset="twenty_questions", description=TEN_MB, guidance=TEN_MB, reference=TEN_MB
            )
        ),
        {
            "task.description": "at most 1048576",
            "task.guidance": "at most 1048576",
            "task.reference": "at most 1048576",
        },
    ),
    Case(
        "65 metadata entries",
        game(
            task=task(preset="twenty_questions", metadata={f"key {i}": "fact" for i in range(65)})
        ),
        {"task.metadata": "has 65 entries; at most 64"},
    ),
    Case(
        "metadata value of 10 MB",
        game(task=task(preset="twenty_questions", metadata={"tests": TEN_MB})),
        {"task.metadata['tests']": "at most 1048576"},
    ),
    Case(
        "metadata key of 10 MB",
        game(task=task(preset="twenty_questions", metadata={TEN_MB: "fact"})),
        {f"task.metadata['{'x' * 64}']": "at most 1048576"},
    ),
    # Objective
    Case(
        "no metrics",
        game(task=task(world="twenty_questions")),
        {"objective.metrics": "name at least one metric"},
    ),
    Case(
        "33 metrics",
        game(objective=objective(*(metric(f"metric {i}") for i in range(33)))),
        {"objective.metrics": "has 33 entries; at most 32"},
    ),
    Case(
        "unknown profile",
        game(objective=objective(profile="realese")),
        {"objective.profile": "did you mean 'release'? (known: custom, paper, "},
    ),
    Case(
        "unknown metric",
        game(objective=objective(metric("success"), metric("tokens_amount"))),
        {"objective.metrics[1].name": ("did you mean 'token_amount'? (known: ")},
    ),
    Case(
        "unknown metric that is like none",
        game(objective=objective(metric("xylophone"))),
        {"objective.metrics[0].name": "unknown 'xylophone' (known: "},
    ),
    Case(
        "metric of 10 MB",
        game(objective=objective(metric(TEN_MB))),
        {"objective.metrics[0].name": "(known: "},
    ),
    Case(
        "metric without a name",
        game(objective=objective(metric(""))),
        {"objective.metrics[0].name": "is empty; name the metric"},
    ),
    Case(
        "metric named twice",
        game(objective=objective(metric("success"), metric("messages"), metric("success", 2))),
        {"objective.metrics[2].name": "'success' is already metric 0; give each its own label"},
    ),
    Case(
        "weight that is no number",
        game(objective=objective(metric("success", math.nan))),
        {"objective.metrics[0].weight": "is nan; must be a finite number"},
    ),
    Case(
        "infinite weights",
        game(objective=objective(metric("success", math.inf), metric("messages", -math.inf))),
        {
            "objective.metrics[0].weight": "is inf; must be a finite number",
            "objective.metrics[1].weight": "is -inf; must be a finite number",
        },
    ),
    Case(
        "weight beyond what can be added up",
        game(objective=objective(metric("success", 1e200))),
        {"objective.metrics[0].weight": "must be a finite number, -1e+09 to 1e+09"},
    ),
    Case(
        "unknown parameter",
        game(objective=objective(metric("token_amount", parameters={"scop": "all"}))),
        {"objective.metrics[0].parameters.scop": ("did you mean 'scope'? (known: ")},
    ),
    Case(
        "parameter of a metric that has none",
        game(objective=objective(metric("messages", parameters={"scope": "all"}))),
        {"objective.metrics[0].parameters.scope": "takes no parameters"},
    ),
    Case(
        "parameter with a value that it does not take",
        game(objective=objective(metric("token_amount", parameters={"scope": "asistant"}))),
        {
            "objective.metrics[0].parameters.scope": (
                "did you mean 'assistant'? (known: all, assistant, future)"
            )
        },
    ),
    Case(
        "parameter of another type",
        game(objective=objective(metric("token_amount", parameters={"scope": True}))),
        {"objective.metrics[0].parameters.scope": "must be one of ('assistant', 'future', 'all')"},
    ),
    Case(
        "parameter that is not a number",
        game(objective=objective(metric("success", parameters={"votes": math.nan}))),
        {"objective.metrics[0].parameters.votes": "must be a whole number"},
    ),
    Case(
        "parameter beyond its limits",
        game(objective=objective(metric("success", parameters={"votes": 17}))),
        {"objective.metrics[0].parameters.votes": "is 17; must be at least 1 and at most 16"},
    ),
    Case(
        "parameters that are lists, objects and null",
        game(
            objective=objective(
                metric(
                    "token_amount", parameters={"scope": ["all", {"a": None}], "tokenizer": None}
                )
            )
        ),
        {
            "objective.metrics[0].parameters.scope": "must be one of",
            "objective.metrics[0].parameters.tokenizer": "must be a text",
        },
    ),
    Case(
        "tokenizer that is not known",
        game(objective=objective(metric("token_amount", parameters={"tokenizer": "words2"}))),
        {"objective.metrics[0].parameters.tokenizer": "did you mean 'words'?"},
    ),
    Case(
        "metric that needs a reference",
        game(objective=objective(metric("bleu"))),
        {"task.reference": "is empty; the metric 'bleu' needs it"},
    ),
    Case(
        "question that rules cannot judge",
        game(objective=objective(metric("interactivity"))),
        {"objective.metrics[0].name": "needs a judge that is a language model"},
    ),
    Case(
        "tests that are missing",
        game(objective=objective(metric("pass_rate"))),
        {"task.metadata.test": "is missing"},
    ),
    Case(
        "label given twice",
        game(objective=objective(metric("success", label="messages"), metric("messages"))),
        {"objective.metrics[1].name": "'messages' is already metric 0; give each its own label"},
    ),
    Case(
        "limits outside the profile custom",
        game(
            objective=objective(
                metric("success", normalise=True),
                metric("messages", clamp=metric_pb2.Clamp(max=1.0)),
            )
        ),
        {"objective.metrics[0].normalise": "custom", "objective.metrics[1].clamp": "custom"},
    ),
    Case(
        "limits the wrong way round",
        game(
            objective=objective(
                metric("success", clamp=metric_pb2.Clamp(min=1.0, max=0.0)), profile="custom"
            )
        ),
        {"objective.metrics[0].clamp.min": "max"},
    ),
    Case(
        "penalty that rewards",
        game(objective=objective(metric("token_amount", 0.5), profile="paper")),
        {"objective.metrics[0].weight": ""},
    ),
    Case(
        "normalised without a range",
        game(objective=objective(metric("token_amount", normalise=True), profile="custom")),
        {"objective.metrics[0].normalise": "range"},
    ),
    Case(
        "artifact of a metric that needs none",
        game(objective=objective(metric("success", artifact="answer"))),
        {"objective.metrics[0].artifact": "'success' scores the conversation itself"},
    ),
    Case(
        "artifact of 10 MB",
        game(objective=objective(metric("success", artifact=TEN_MB))),
        {"objective.metrics[0].artifact": "at most 1048576"},
    ),
    # Simulation
    Case(
        "negative horizon",
        game(simulation=simulation(horizon_messages=-1)),
        {"simulation.horizon_messages": "is -1; must be 0 to 64"},
    ),
    Case(
        "horizon too long",
        game(simulation=simulation(horizon_messages=65)),
        {"simulation.horizon_messages": "is 65; must be 0 to 64"},
    ),
    Case(
        "no samples",
        game(simulation=simulation(most=0)),
        {"simulation.samples.max": "is 0; must be 1 to 1024"},
    ),
    Case(
        "negative samples",
        game(simulation=simulation(least=-1, most=-2)),
        {
            "simulation.samples.max": "is -2; must be 1 to 1024",
            "simulation.samples.min": "is -1; must be 1 to 1024",
        },
    ),
    Case(
        "too many samples",
        game(simulation=simulation(most=1025)),
        {"simulation.samples.max": "is 1025; must be 1 to 1024"},
    ),
    Case(
        "too many needed",
        game(simulation=simulation(least=2**31 - 1)),
        {"simulation.samples.min": "is 2147483647; must be 1 to 1024"},
    ),
    Case(
        "more needed than asked for",
        game(simulation=simulation(least=5, most=4)),
        {"simulation.samples.min": "is 5, more than `max`, 4; must be at most that"},
    ),
    Case(
        "messages of no tokens",
        game(simulation=simulation(max_message_tokens=0)),
        {"simulation.max_message_tokens": "is 0; must be 1 to 131072"},
    ),
    Case(
        "messages of too many tokens",
        game(simulation=simulation(max_message_tokens=131_073)),
        {"simulation.max_message_tokens": "is 131073; must be 1 to 131072"},
    ),
    # Policy
    Case(
        "unknown policy",
        game(simulation=simulation(policy="assker")),
        code="NOT_FOUND",
        reason="UNKNOWN_POLICY",
        metadata={
            "policy": "assker",
            "known": (
                "asker, assumer, focused, guesser, informed, interrogator, judge, policy, user"
            ),
        },
    ),
    Case(
        "policy of 10 MB",
        game(simulation=simulation(policy=TEN_MB)),
        code="NOT_FOUND",
        reason="UNKNOWN_POLICY",
        metadata={
            "policy": "x" * 64,
            "known": (
                "asker, assumer, focused, guesser, informed, interrogator, judge, policy, user"
            ),
        },
    ),
    Case(
        "unknown version",
        game(simulation=pb.Simulation(policy=conversation_pb2.PolicyRef(version=3))),
        code="NOT_FOUND",
        reason="UNKNOWN_POLICY",
        metadata={"policy": "policy", "version": "3"},
    ),
    Case(
        "policy that cannot play the world",
        game(simulation=simulation(policy="focused")),
        code="NOT_FOUND",
        reason="UNKNOWN_POLICY",
        metadata={"policy": "focused", "known": "guesser, asker, informed"},
    ),
    # The rest
    Case(
        "prefix that contradicts itself",
        game(
            prefix=[
                message("user", GAME),
                *(
                    message(role, text)
                    for answer in ("Yes.", "No.")
                    for role, text in (("assistant", "Is it alive?"), ("user", answer))
                ),
            ]
        ),
        code="FAILED_PRECONDITION",
        reason="CONTRADICTORY_PREFIX",
        metadata={"world": "twenty_questions"},
    ),
    Case(
        "name of 129 characters",
        game(request_id="x" * 129),
        {"request_id": "has 129 characters; at most 128"},
    ),
    Case(
        "much at once",
        pb.ComputeRewardsRequest(
            prefix=[message("robot", ""), message("assistant", "hi")],
            candidates=["", "ok", " "],
            objective=objective(metric("success", math.inf), metric("success"), profile="papr"),
            simulation=simulation(horizon_messages=99, least=9, most=2, max_message_tokens=-5),
        ),
        {
            "task.goal": "say what the user wants",
            "prefix[0].role": "unknown 'robot'",
            "prefix[0].content": "a message needs text",
            "prefix[1].role": "must end with a 'user' message",
            "candidates[0]": "a response needs text",
            "candidates[2]": "a response needs text",
            "objective.profile": "unknown 'papr'; did you mean 'paper'?",
            "objective.metrics[0].weight": "must be a finite number",
            "objective.metrics[1].name": "is already metric 0",
            "simulation.horizon_messages": "must be 0 to 64",
            "simulation.max_message_tokens": "must be 1 to 131072",
            "simulation.samples.min": "must be at most that",
        },
    ),
    Case(
        "nothing at all",
        pb.ComputeRewardsRequest(),
        {
            "task.goal": "say what the user wants",
            "prefix": "must end with the user message",
            "candidates": "at least one assistant response",
            "objective.metrics": "name at least one metric",
        },
    ),
]

IDS = [case.name for case in CASES]


@pytest_asyncio.fixture(
    params=["one process", "three services"], scope="module", loop_scope="module"
)
async def channel(request: pytest.FixtureRequest) -> AsyncIterator[grpc.aio.Channel]:
    """A connection to the reward service."""
    if request.param == "one process":
        async with foresight(loopback()) as live:
            yield live.channel
    else:
        async with three_services(loopback()) as three, channel_to(three.reward.address) as channel:
            yield channel


def check(case: Case, refusal: Any) -> None:
    assert (refusal.code, refusal.reason) == (case.code, case.reason)
    assert list(refusal.fields) == list(case.fields)
    for name, part in case.fields.items():
        assert part in refusal.fields[name]
    first = next(iter(case.fields), None)
    assert refusal.metadata == (case.metadata if first is None else {"field": first})
    assert len(refusal.message) < 1000
    if first is not None:
        assert refusal.message.startswith(f"{first}: ")


@pytest.mark.parametrize("case", CASES, ids=IDS)
async def test_a_bad_request_is_refused(case: Case, channel: grpc.aio.Channel) -> None:
    stub = pb_grpc.RewardServiceStub(channel)
    check(case, await refused(stub.ComputeRewards(case.request)))


async def test_on_a_stream_each_is_refused_alone_and_the_stream_goes_on(
    channel: grpc.aio.Channel,
) -> None:
    call: Any = pb_grpc.RewardServiceStub(channel).StreamRewards()
    for case in CASES:
        group = pb.ComputeRewardsRequest()
        group.CopyFrom(case.request)
        group.request_id = case.request.request_id or case.name
        await call.write(pb.StreamRewardsRequest(group=group))
        answer = await call.read()
        assert answer.request_id == group.request_id
        assert answer.WhichOneof("event") == "done"
        check(case, refusal_in(answer.done.error))
    good = game(request_id="good", simulation=simulation(most=1))
    await call.write(pb.StreamRewardsRequest(group=good))
    assert (await call.read()).candidate.n_ok == 1
    await call.done_writing()
    assert (await call.read()).done.HasField("summary")
    assert await call.read() is grpc.aio.EOF


async def test_more_complaints_than_an_answer_can_carry_are_cut_and_still_an_answer(
    channel: grpc.aio.Channel,
) -> None:
    # Each name is quoted at ten times its length; gRPC drops answers with too much metadata.
    unprintable = [metric(chr(0xE0001 + index) * 64) for index in range(32)]
    stub = pb_grpc.RewardServiceStub(channel)
    for _ in range(20):
        refusal = await refused(stub.ComputeRewards(game(objective=objective(*unprintable))))
        assert refusal.code == "INVALID_ARGUMENT"
        assert 1 <= len(refusal.fields) < 32
        assert refusal.metadata == {"field": "objective.metrics[0].name"}


async def test_what_is_at_its_limit_is_served(channel: grpc.aio.Channel) -> None:
    request = game(
        task=task(
            preset="twenty_questions",
            reference="x" * MIB,
            metadata={f"key {i}": "fact" for i in range(64)},
        ),
        prefix=[*(message("system", "s") for _ in range(1022)), message("user", GAME)],
        candidates=["x" * MIB, *(["ok"] * 255)],
        objective=objective(metric("success", 1e9), metric("messages", -1e9)),
        simulation=simulation(
            horizon_messages=0, least=1, most=1, max_message_tokens=131_072, seed=2**64 - 1
        ),
        request_id="x" * 128,
    )
    response = await pb_grpc.RewardServiceStub(channel).ComputeRewards(request)
    assert response.request_id == "x" * 128
    assert [result.reward.value for result in response.results] == [-1e9] * 256
