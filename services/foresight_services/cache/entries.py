"""Futures, messages and scores as bytes of the contract, so that any version can read them.

What is read may have been written by anybody. Bytes that are no complete value of their kind, one
with an end that this version does not know or a number that is none included, are no value.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from google.protobuf.message import DecodeError, Message

from foresight.v1 import evaluator_service_pb2, simulator_service_pb2
from foresight_services.core.cached_evaluator import KeptScore
from foresight_services.core.errors import Failure
from foresight_services.core.future import ConversationScores, Future, FutureId, MetricScore
from foresight_services.core.message_request import SampledMessage
from foresight_services.evaluator.codec import decode_scores, encode_scores
from foresight_services.simulator.codec import decode_future, encode_future
from foresight_services.simulator.message_codec import decode_sample, encode_sample

COMPLETE: Final = frozenset(
    {
        simulator_service_pb2.TERMINATION_HORIZON,
        simulator_service_pb2.TERMINATION_USER_ENDED,
    }
)
"""How a future ended that may be stored."""

ROLES: Final = frozenset({"user", "assistant"})
"""Who speaks in a future."""

_UNREADABLE: Final = (DecodeError, ValueError, OverflowError)


class FutureCodec:
    """Futures as `SimulateFuturesResponse`; implements the port `EntryCodec`."""

    def encode(self, value: Future) -> bytes | None:
        """Return the future as it is stored; its place in a request is not part of it.

        None where a message has half a surrogate pair, which is no text that can be sent.
        """
        response = value.form
        if not isinstance(response, simulator_service_pb2.SimulateFuturesResponse):
            try:
                response = encode_future(value)
            except UnicodeEncodeError:
                return None
        response.ClearField("spec")
        return response.SerializeToString(deterministic=True)

    def decode(self, stored: bytes) -> Future | None:
        """Return the future; None where the bytes are none that was simulated to its end."""
        response = simulator_service_pb2.SimulateFuturesResponse()
        if not _parsed(response, stored) or response.WhichOneof("outcome") != "future":
            return None
        if response.future.termination not in COMPLETE or not response.fingerprint:
            return None
        if any(message.role not in ROLES for message in response.future.messages):
            return None
        try:
            return decode_future(response)
        except _UNREADABLE:
            return None


class MessageCodec:
    """Sampled messages as `SampleMessagesResponse`; implements the port `EntryCodec`."""

    def encode(self, value: SampledMessage) -> bytes | None:
        """Return the message as it is stored; its index is not part of it.

        None where it has half a surrogate pair, which is no text that can be sent.
        """
        try:
            response = encode_sample(value)
        except UnicodeEncodeError:
            return None
        response.ClearField("sample_index")
        return response.SerializeToString(deterministic=True)

    def decode(self, stored: bytes) -> SampledMessage | None:
        """Return the message; None where the bytes are none."""
        response = simulator_service_pb2.SampleMessagesResponse()
        if not _parsed(response, stored) or response.WhichOneof("outcome") != "message":
            return None
        if response.message.role not in ROLES or not response.fingerprint:
            return None
        try:
            return decode_sample(response)
        except _UNREADABLE:
            return None


class ScoreCodec:
    """Scores as `ConversationScores` with one score; implements the port `EntryCodec`."""

    def encode(self, value: KeptScore) -> bytes | None:
        """Return the score as it is stored.

        None where a judge's words have half a surrogate pair, which is no text that can be sent.
        """
        scores = ConversationScores(FutureId(0, 0), (value.score,), value.usage, value.artifacts)
        try:
            return encode_scores(scores).SerializeToString(deterministic=True)
        except UnicodeEncodeError:
            return None

    def decode(self, stored: bytes) -> KeptScore | None:
        """Return the score; None where the bytes are none that succeeded."""
        message = evaluator_service_pb2.ConversationScores()
        if not _parsed(message, stored) or len(message.scores) != 1:
            return None
        try:
            scores = decode_scores(message)
        except _UNREADABLE:
            return None
        (score,) = scores.scores
        if isinstance(score.outcome, Failure) or not all(map(math.isfinite, _numbers(score))):
            return None
        return KeptScore(score, scores.artifacts, scores.usage)


def _parsed(message: Message, stored: bytes) -> bool:
    try:
        message.ParseFromString(stored)
    except _UNREADABLE:
        return False
    return True


def _numbers(score: MetricScore) -> Iterator[float]:
    """Yield every number that a reward or its account may rest on."""
    if not isinstance(score.outcome, Failure):
        yield score.outcome
    if score.spread is not None:
        yield score.spread
    yield from score.parts.values()
    yield from (verdict.score for verdict in score.verdicts)
