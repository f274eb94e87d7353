"""Stored futures and scores: what comes back is what was stored, and nothing else is a value."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from google.protobuf.message import Message as Proto

from foresight.v1 import evaluator_service_pb2, simulator_service_pb2
from foresight_services.cache.entries import FutureCodec, MessageCodec, ScoreCodec
from foresight_services.core.cached_evaluator import KeptScore
from foresight_services.core.conversation import Message
from foresight_services.core.errors import Failure, Reason, Upstream
from foresight_services.core.future import (
    Extracted,
    Future,
    FutureId,
    MetricScore,
    SimulatedFuture,
    Termination,
    Verdict,
    Wanted,
)
from foresight_services.core.message_request import SampledMessage
from foresight_services.core.task import PolicyRef
from foresight_services.core.usage import ModelUsage, Usage
from foresight_services.simulator.codec import decode_future, encode_future

USAGE = Usage(2, {"user": ModelUsage(1, 10, 5, dollars=0.25)}, 1.5)
SIMULATED = SimulatedFuture(
    "goal",
    (Message("user", "hello"), Message("assistant", "there")),
    Termination.USER_ENDED,
    PolicyRef("policy", 3),
    "hasty",
)
FUTURE = Future(FutureId(0, 0), SIMULATED, USAGE, "fingerprint")
SCORE = KeptScore(
    MetricScore("worth", 0.5, 0.125, (Verdict(1.0, "reasons", "raw"),), {"part": 2.0}),
    (Extracted(Wanted("answer", "short"), "4"),),
    USAGE,
)
FUTURES, SCORES = FutureCodec(), ScoreCodec()


def stored(codec: Any, value: Any) -> bytes:
    encoded = codec.encode(value)
    assert encoded is not None
    return bytes(encoded)


def test_what_came_from_a_simulator_is_stored_as_it_came() -> None:
    sent = encode_future(replace(FUTURE, id=FutureId(3, 4)))
    read = decode_future(
        simulator_service_pb2.SimulateFuturesResponse.FromString(sent.SerializeToString())
    )
    assert read.form is not None
    assert stored(FUTURES, read) == stored(FUTURES, FUTURE)


def test_what_was_stored_comes_back() -> None:
    assert FUTURES.decode(stored(FUTURES, FUTURE)) == FUTURE
    assert FUTURES.decode(stored(FUTURES, replace(FUTURE, id=FutureId(3, 4)))) == FUTURE
    assert SCORES.decode(stored(SCORES, SCORE)) == SCORE


def changed(kind: type[Proto], content: bytes, change: Callable[[Any], object]) -> bytes:
    message = kind()
    message.ParseFromString(content)
    change(message)
    return message.SerializeToString()


def set_(path: str, value: Any) -> Callable[[Any], None]:
    def change(message: Any) -> None:
        *steps, last = path.split(".")
        for step in steps:
            message = message[int(step)] if step.isdigit() else getattr(message, step)
        setattr(message, last, value)

    return change


FAILURE = Upstream(Reason.MODEL_FAILED, "down").failure

NO_FUTURES: dict[str, bytes] = {
    name: changed(
        simulator_service_pb2.SimulateFuturesResponse, stored(FUTURES, FUTURE), set_(path, value)
    )
    for name, (path, value) in {
        "an end of a later version": ("future.termination", 77),
        "no end": ("future.termination", 0),
        "no context, which is never stored": ("future.termination", 3),
        "no fingerprint": ("fingerprint", ""),
        "a speaker that there is not": ("future.messages.0.role", "system"),
        "more seconds than there are": ("usage.wall_time.seconds", 2**62),
    }.items()
} | {"a failure": stored(FUTURES, replace(FUTURE, outcome=FAILURE))}

WRONG_SCORES: dict[str, dict[str, Any]] = {
    "not a number": {"outcome": math.nan},
    "infinite": {"outcome": -math.inf},
    "spread": {"spread": math.inf},
    "part": {"parts": {"part": math.nan}},
    "verdict": {"verdicts": (Verdict(math.nan, "", ""),)},
    "a failure": {"outcome": FAILURE},
}

NO_SCORES: dict[str, bytes] = {
    name: stored(SCORES, replace(SCORE, score=replace(SCORE.score, **fields)))
    for name, fields in WRONG_SCORES.items()
} | {
    "two scores": changed(
        evaluator_service_pb2.ConversationScores,
        stored(SCORES, SCORE),
        lambda message: message.scores.add(value=1.0),
    ),
    "more seconds than there are": changed(
        evaluator_service_pb2.ConversationScores,
        stored(SCORES, SCORE),
        set_("usage.wall_time.seconds", 2**62),
    ),
}


@pytest.mark.parametrize("content", NO_FUTURES.values(), ids=NO_FUTURES)
def test_what_no_future_can_be_is_none(content: bytes) -> None:
    assert FUTURES.decode(content) is None


@pytest.mark.parametrize("content", NO_SCORES.values(), ids=NO_SCORES)
def test_what_no_score_can_be_is_none(content: bytes) -> None:
    assert SCORES.decode(content) is None


def test_a_message_of_another_type_is_none() -> None:
    assert FUTURES.decode(stored(SCORES, SCORE)) is None
    assert SCORES.decode(stored(FUTURES, FUTURE)) is None


@pytest.mark.parametrize(
    ("codec", "content"),
    [(FUTURES, stored(FUTURES, FUTURE)), (SCORES, stored(SCORES, SCORE))],
    ids=["future", "score"],
)
def test_any_bytes_can_be_looked_at(codec: Any, content: bytes) -> None:
    rng = random.Random(0)
    for _ in range(20_000):
        garbled = bytearray(content)
        for _ in range(rng.randrange(1, 4)):
            garbled[rng.randrange(len(garbled))] = rng.randrange(256)
        found = codec.decode(bytes(garbled[: rng.randrange(len(garbled) + 1)]))
        if isinstance(found, Future):
            assert not isinstance(found.outcome, Failure)
            assert found.outcome.termination in (Termination.HORIZON, Termination.USER_ENDED)
        elif found is not None:
            assert math.isfinite(found.score.outcome)


def test_half_a_surrogate_pair_is_not_stored() -> None:
    said = replace(SIMULATED, messages=(Message("user", "\ud800"),))
    assert FUTURES.encode(replace(FUTURE, outcome=said)) is None
    judged = replace(SCORE.score, verdicts=(Verdict(1.0, "\udfff", ""),))
    assert SCORES.encode(replace(SCORE, score=judged)) is None


SAMPLE = SampledMessage(
    3,
    "Which flowers grow there? 🙂",
    Usage(1, {"policy": ModelUsage(1, 9, 4)}, 0.5),
    policy=PolicyRef("policy", 7),
    fingerprint="f",
)
MESSAGES = MessageCodec()


def test_a_message_is_stored_without_its_index() -> None:
    assert MESSAGES.decode(stored(MESSAGES, SAMPLE)) == replace(SAMPLE, index=0)
    said = replace(SAMPLE, policy=None, goal="a poem", persona="busy")
    assert MESSAGES.decode(stored(MESSAGES, said)) == replace(said, index=0)


def test_what_is_no_message_is_none() -> None:
    assert MESSAGES.encode(replace(SAMPLE, outcome="\ud800")) is None
    failure = Upstream(Reason.MODEL_FAILED, "down").failure
    for wrong in (replace(SAMPLE, outcome=failure), replace(SAMPLE, fingerprint="")):
        assert MESSAGES.decode(stored(MESSAGES, wrong)) is None
    assert MESSAGES.decode(b"\xff\x00garbage") is None
    response = simulator_service_pb2.SampleMessagesResponse.FromString(stored(MESSAGES, SAMPLE))
    response.message.role = "narrator"
    assert MESSAGES.decode(response.SerializeToString()) is None
