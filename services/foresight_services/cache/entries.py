"""Futures and scores as bytes: messages of the contract, so that any version can read them."""

from __future__ import annotations

from google.protobuf.message import DecodeError

from foresight.v1 import evaluator_service_pb2, simulator_service_pb2
from foresight_services.core.cached_evaluator import KeptScore
from foresight_services.core.errors import Failure
from foresight_services.core.future import ConversationScores, Future, FutureId
from foresight_services.evaluator.codec import decode_scores, encode_scores
from foresight_services.simulator.codec import decode_future, encode_future


class FutureCodec:
    """Futures as `SimulateFuturesResponse`; implements the port `EntryCodec`."""

    def encode(self, value: Future) -> bytes:
        """Return the future as it is stored; its place in a request is not part of it."""
        response = encode_future(value)
        response.ClearField("spec")
        return response.SerializeToString(deterministic=True)

    def decode(self, stored: bytes) -> Future | None:
        """Return the future; None where the bytes are none that was simulated to its end."""
        response = simulator_service_pb2.SimulateFuturesResponse()
        try:
            response.ParseFromString(stored)
        except DecodeError:
            return None
        if response.WhichOneof("outcome") != "future" or not response.future.termination:
            return None
        return decode_future(response)


class ScoreCodec:
    """Scores as `ConversationScores` with one score; implements the port `EntryCodec`."""

    def encode(self, value: KeptScore) -> bytes:
        """Return the score as it is stored."""
        scores = ConversationScores(FutureId(0, 0), (value.score,), value.usage, value.artifacts)
        return encode_scores(scores).SerializeToString(deterministic=True)

    def decode(self, stored: bytes) -> KeptScore | None:
        """Return the score; None where the bytes are none that succeeded."""
        message = evaluator_service_pb2.ConversationScores()
        try:
            message.ParseFromString(stored)
        except DecodeError:
            return None
        if len(message.scores) != 1:
            return None
        scores = decode_scores(message)
        (score,) = scores.scores
        if isinstance(score.outcome, Failure):
            return None
        return KeptScore(score, scores.artifacts, scores.usage)
