"""Shared nouns between the wire and the domain."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final, cast

from google.protobuf.internal.containers import RepeatedCompositeFieldContainer

from foresight.v1 import conversation_pb2 as pb
from foresight.v1 import metric_pb2, simulator_service_pb2
from foresight_services.core.budget import Budget
from foresight_services.core.conversation import Conversation, Message, Role
from foresight_services.core.errors import Failure
from foresight_services.core.future import (
    Direction,
    Extracted,
    MetricInfo,
    MetricScore,
    Termination,
    Verdict,
    Wanted,
)
from foresight_services.core.objective import Range
from foresight_services.core.task import PolicyRef, Task
from foresight_services.core.usage import ModelUsage, Usage
from foresight_services.rpc.status import decode_failure, encode_failure

_MICROS: Final = 1_000_000
_DEFAULT_POLICY: Final = PolicyRef().name
_NO_PARTS: Final[Mapping[str, float]] = MappingProxyType({})
_MOST_SECONDS: Final = 315_576_000_000
"""Of a `google.protobuf.Duration`, either way: 10,000 years."""


def decode_messages(messages: Iterable[pb.Message]) -> Conversation:
    """Return the conversation; roles are checked by the core."""
    return tuple([Message(cast(Role, message.role), message.content) for message in messages])


def encode_messages(conversation: Conversation) -> list[pb.Message]:
    """Return the conversation for the wire."""
    return [pb.Message(role=message.role, content=message.content) for message in conversation]


def write_messages(
    conversation: Conversation, into: RepeatedCompositeFieldContainer[pb.Message]
) -> None:
    """Add the conversation to a field of messages."""
    for message in conversation:
        into.add(role=message.role, content=message.content)


def decode_task(task: pb.Task) -> Task:
    """Return the task."""
    return Task(
        preset=task.preset,
        description=task.description,
        guidance=task.guidance,
        goal=task.goal,
        reference=task.reference,
        world=task.world,
        metadata=MappingProxyType(dict(task.metadata)),
    )


def encode_task(task: Task) -> pb.Task:
    """Return the task for the wire."""
    return pb.Task(
        preset=task.preset,
        description=task.description,
        guidance=task.guidance,
        goal=task.goal,
        reference=task.reference,
        world=task.world,
        metadata=task.metadata,
    )


def decode_policy(policy: pb.PolicyRef) -> PolicyRef:
    """Return the policy; an empty name is the default one."""
    return PolicyRef(policy.name or _DEFAULT_POLICY, policy.version)


def encode_policy(policy: PolicyRef) -> pb.PolicyRef:
    """Return the policy for the wire."""
    return pb.PolicyRef(name=policy.name, version=policy.version)


_TERMINATIONS: Final[dict[Termination, simulator_service_pb2.Termination.ValueType]] = {
    Termination.HORIZON: simulator_service_pb2.TERMINATION_HORIZON,
    Termination.USER_ENDED: simulator_service_pb2.TERMINATION_USER_ENDED,
    Termination.CONTEXT_EXHAUSTED: simulator_service_pb2.TERMINATION_CONTEXT_EXHAUSTED,
}
_ENDS: Final = {theirs: ours for ours, theirs in _TERMINATIONS.items()}


def decode_termination(ended: simulator_service_pb2.Termination.ValueType) -> Termination:
    """Return how a future ended."""
    return _ENDS[ended]


def encode_termination(ended: Termination) -> simulator_service_pb2.Termination.ValueType:
    """Return how a future ended, for the wire."""
    return _TERMINATIONS[ended]


def decode_range(values: pb.ValueRange) -> Range:
    """Return the range."""
    return Range(values.min, values.max)


def encode_range(values: Range | None) -> pb.ValueRange | None:
    """Return the range for the wire."""
    return None if values is None else pb.ValueRange(min=values.low, max=values.high)


_DIRECTIONS: Final[dict[Direction, metric_pb2.Direction.ValueType]] = {
    Direction.UNKNOWN: metric_pb2.DIRECTION_UNSPECIFIED,
    Direction.MORE: metric_pb2.DIRECTION_MORE,
    Direction.LESS: metric_pb2.DIRECTION_LESS,
}


def decode_info(info: metric_pb2.MetricInfo) -> MetricInfo:
    """Return the metric as it is applied; a direction that is not known here is none."""
    return MetricInfo(
        name=info.name,
        version=info.version,
        range=decode_range(info.range) if info.HasField("range") else None,
        judge_calls=info.judge_calls,
        metric=info.metric,
        unit=info.unit,
        direction=next(
            (ours for ours, theirs in _DIRECTIONS.items() if theirs == info.direction),
            Direction.UNKNOWN,
        ),
        identity=info.identity,
    )


def encode_info(info: MetricInfo) -> metric_pb2.MetricInfo:
    """Return the metric for the wire."""
    return metric_pb2.MetricInfo(
        name=info.name,
        version=info.version,
        range=encode_range(info.range),
        judge_calls=info.judge_calls,
        metric=info.metric or info.name,
        unit=info.unit,
        direction=_DIRECTIONS[info.direction],
        identity=info.identity,
    )


def decode_score(score: metric_pb2.MetricScore) -> MetricScore:
    """Return the score, or its failure."""
    failed = score.WhichOneof("outcome") != "value"
    parts = score.parts
    return MetricScore(
        score.name,
        decode_failure(score.error) if failed else score.value,
        score.spread if score.HasField("spread") else None,
        tuple([Verdict(v.score, v.rationale, v.raw) for v in score.verdicts]),
        MappingProxyType({name: parts[name] for name in parts}) if parts else _NO_PARTS,
    )


def encode_score(score: MetricScore, *, verdicts: bool = True) -> metric_pb2.MetricScore:
    """Return the score for the wire, the judge's words only with `verdicts`."""
    encoded = metric_pb2.MetricScore()
    write_score(score, encoded, verdicts=verdicts)
    return encoded


def write_score(score: MetricScore, into: metric_pb2.MetricScore, *, verdicts: bool = True) -> None:
    """Write the score into a message without fields; see `encode_score`."""
    into.name = score.name
    if score.spread is not None:
        into.spread = score.spread
    if isinstance(score.outcome, Failure):
        into.error.CopyFrom(encode_failure(score.outcome))
    else:
        into.value = score.outcome
    for name, part in score.parts.items():
        into.parts[name] = part
    if verdicts:
        for said in score.verdicts:
            into.verdicts.add(score=said.score, rationale=said.rationale, raw=said.raw)


def decode_artifact(artifact: metric_pb2.Artifact) -> Extracted:
    """Return what became of an extraction."""
    failed = artifact.WhichOneof("outcome") != "text"
    return Extracted(
        Wanted(artifact.name, artifact.requirement),
        decode_failure(artifact.error) if failed else artifact.text,
    )


def encode_artifact(extracted: Extracted) -> metric_pb2.Artifact:
    """Return what became of an extraction, for the wire."""
    wanted, outcome = extracted.wanted, extracted.outcome
    encoded = metric_pb2.Artifact(name=wanted.artifact, requirement=wanted.requirement)
    if isinstance(outcome, Failure):
        encoded.error.CopyFrom(encode_failure(outcome))
    else:
        encoded.text = outcome
    return encoded


def decode_budget(budget: pb.Budget) -> Budget:
    """Return what model calls may cost; it is checked by the core."""
    return Budget(budget.max_tokens, budget.max_dollars)


def encode_budget(budget: Budget) -> pb.Budget:
    """Return what model calls may cost, for the wire."""
    return pb.Budget(max_tokens=budget.max_tokens, max_dollars=budget.max_dollars)


def decode_usage(usage: pb.Usage) -> Usage:
    """Return the usage."""
    models = {
        model.role: ModelUsage(
            model.calls,
            model.prompt_tokens,
            model.completion_tokens,
            model.cached_tokens,
            model.retries,
            model.hedges,
            model.dollars,
        )
        for model in usage.models
    }
    wall = usage.wall_time
    if abs(wall.seconds) > _MOST_SECONDS:
        raise ValueError("a duration of more seconds than there are")
    # In whole microseconds, as `Duration.ToTimedelta` has it, at a tenth of its time.
    seconds = (wall.seconds * _MICROS + wall.nanos // 1000) / _MICROS
    return Usage(usage.messages, MappingProxyType(models), seconds)


def encode_usage(usage: Usage) -> pb.Usage:
    """Return the usage for the wire."""
    encoded = pb.Usage()
    write_usage(usage, encoded)
    return encoded


def write_usage(usage: Usage, into: pb.Usage) -> None:
    """Write the usage into a message without fields."""
    into.messages = usage.messages
    for role, model in sorted(usage.models.items()):
        into.models.add(
            role=role,
            calls=model.calls,
            prompt_tokens=model.prompt_tokens,
            completion_tokens=model.completion_tokens,
            cached_tokens=model.cached_tokens,
            retries=model.retries,
            hedges=model.hedges,
            dollars=model.dollars,
        )
    wall = into.wall_time
    wall.seconds, micros = divmod(round(usage.seconds * _MICROS), _MICROS)
    wall.nanos = micros * 1000
