"""EvaluatorService's messages between the wire and the domain, both ways."""

from __future__ import annotations

from foresight.v1 import evaluator_service_pb2 as pb
from foresight_services.core.future import (
    ConversationScores,
    EvaluationItem,
    EvaluationSetup,
    FutureId,
)
from foresight_services.core.usage import NO_WORK
from foresight_services.rpc import codec
from foresight_services.rpc.spec_codec import decode_spec, encode_spec


def decode_setup(setup: pb.EvaluationSetup) -> EvaluationSetup:
    """Return the setup; it is checked by the core."""
    return EvaluationSetup(
        task=codec.decode_task(setup.task),
        prefix=codec.decode_messages(setup.prefix),
        candidates=tuple(setup.candidates),
        metrics=tuple(decode_spec(spec) for spec in setup.metrics),
        horizon_messages=setup.horizon_messages,
        max_message_tokens=setup.max_message_tokens,
        budget=codec.decode_budget(setup.budget),
    )


def encode_setup(setup: EvaluationSetup) -> pb.EvaluationSetup:
    """Return the setup for the wire."""
    return pb.EvaluationSetup(
        task=codec.encode_task(setup.task),
        prefix=codec.encode_messages(setup.prefix),
        candidates=setup.candidates,
        metrics=[encode_spec(spec) for spec in setup.metrics],
        horizon_messages=setup.horizon_messages,
        max_message_tokens=setup.max_message_tokens,
        budget=codec.encode_budget(setup.budget),
    )


def decode_item(item: pb.ConversationItem) -> EvaluationItem:
    """Return the conversation to score."""
    return EvaluationItem(
        FutureId(item.candidate_index, item.sample_index),
        item.goal,
        codec.decode_messages(item.messages),
        tuple(item.metrics) or None,
    )


def encode_item(item: EvaluationItem) -> pb.ConversationItem:
    """Return the conversation to score for the wire."""
    encoded = pb.ConversationItem(
        candidate_index=item.id.candidate, sample_index=item.id.sample, goal=item.goal
    )
    codec.write_messages(item.messages, encoded.messages)
    if item.metrics:
        encoded.metrics.extend(item.metrics)
    return encoded


def decode_scores(scores: pb.ConversationScores) -> ConversationScores:
    """Return the scores of one conversation."""
    return ConversationScores(
        FutureId(scores.candidate_index, scores.sample_index),
        tuple(map(codec.decode_score, scores.scores)),
        codec.decode_usage(scores.usage),
        tuple(map(codec.decode_artifact, scores.artifacts)),
    )


def encode_scores(scores: ConversationScores) -> pb.ConversationScores:
    """Return the scores of one conversation for the wire."""
    encoded = pb.ConversationScores(
        candidate_index=scores.id.candidate, sample_index=scores.id.sample
    )
    for score in scores.scores:
        codec.write_score(score, encoded.scores.add())
    if scores.usage is not NO_WORK:
        codec.write_usage(scores.usage, encoded.usage)
    encoded.artifacts.extend(map(codec.encode_artifact, scores.artifacts))
    return encoded
