"""Shared nouns between the wire and the domain."""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType
from typing import Final, cast

from google.protobuf.struct_pb2 import Struct, Value

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
from foresight_services.core.objective import NO_CLAMP, Clamp, JsonValue, MetricSpec, Range
from foresight_services.core.task import PolicyRef, Task
from foresight_services.core.usage import ModelUsage, Usage
from foresight_services.rpc.status import decode_failure, encode_failure

_MICROS: Final = 1_000_000


def decode_messages(messages: Iterable[pb.Message]) -> Conversation:
    """Return the conversation; roles are checked by the core."""
    return tuple(Message(cast(Role, message.role), message.content) for message in messages)


def encode_messages(conversation: Conversation) -> list[pb.Message]:
    """Return the conversation for the wire."""
    return [pb.Message(role=message.role, content=message.content) for message in conversation]


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
    return PolicyRef(policy.name or PolicyRef().name, policy.version)


def encode_policy(policy: PolicyRef) -> pb.PolicyRef:
    """Return the policy for the wire."""
    return pb.PolicyRef(name=policy.name, version=policy.version)


_TERMINATIONS: Final[dict[Termination, simulator_service_pb2.Termination.ValueType]] = {
    Termination.HORIZON: simulator_service_pb2.TERMINATION_HORIZON,
    Termination.USER_ENDED: simulator_service_pb2.TERMINATION_USER_ENDED,
    Termination.CONTEXT_EXHAUSTED: simulator_service_pb2.TERMINATION_CONTEXT_EXHAUSTED,
}


def decode_termination(ended: simulator_service_pb2.Termination.ValueType) -> Termination:
    """Return how a future ended."""
    return next(ours for ours, theirs in _TERMINATIONS.items() if theirs == ended)


def encode_termination(ended: Termination) -> simulator_service_pb2.Termination.ValueType:
    """Return how a future ended, for the wire."""
    return _TERMINATIONS[ended]


def decode_spec(spec: metric_pb2.MetricSpec) -> MetricSpec:
    """Return the metric spec; an absent weight is 1."""
    return MetricSpec(
        name=spec.name,
        weight=spec.weight if spec.HasField("weight") else 1.0,
        artifact=spec.artifact,
        parameters=MappingProxyType(_decode_struct(spec.parameters)),
        label=spec.label,
        normalise=spec.normalise,
        clamp=decode_clamp(spec.clamp),
    )


def decode_clamp(clamp: metric_pb2.Clamp) -> Clamp:
    """Return the limits; an absent one is None."""
    return Clamp(
        clamp.min if clamp.HasField("min") else None, clamp.max if clamp.HasField("max") else None
    )


def encode_clamp(clamp: Clamp) -> metric_pb2.Clamp | None:
    """Return the limits for the wire."""
    return None if clamp == NO_CLAMP else metric_pb2.Clamp(min=clamp.low, max=clamp.high)


def _decode_struct(struct: Struct) -> dict[str, JsonValue]:
    return {key: _decode_value(value) for key, value in struct.fields.items()}


def _decode_value(value: Value) -> JsonValue:
    """Return the parameter; unlike protobuf's JSON, NaN and infinity too: metrics judge them."""
    match value.WhichOneof("kind"):
        case "struct_value":
            return _decode_struct(value.struct_value)
        case "list_value":
            return [_decode_value(item) for item in value.list_value.values]
        case "number_value":
            return value.number_value
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case _:
            return None


def encode_spec(spec: MetricSpec) -> metric_pb2.MetricSpec:
    """Return the metric spec for the wire."""
    parameters = Struct()
    parameters.update(dict(spec.parameters))
    return metric_pb2.MetricSpec(
        name=spec.name,
        weight=spec.weight,
        artifact=spec.artifact,
        parameters=parameters,
        label=spec.label,
        normalise=spec.normalise,
        clamp=encode_clamp(spec.clamp),
    )


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
    return MetricScore(
        score.name,
        decode_failure(score.error) if failed else score.value,
        score.spread if score.HasField("spread") else None,
        tuple(Verdict(v.score, v.rationale, v.raw) for v in score.verdicts),
        MappingProxyType(dict(score.parts)),
    )


def encode_score(score: MetricScore, *, verdicts: bool = True) -> metric_pb2.MetricScore:
    """Return the score for the wire, the judge's words only with `verdicts`."""
    encoded = metric_pb2.MetricScore(name=score.name, spread=score.spread, parts=score.parts)
    if isinstance(score.outcome, Failure):
        encoded.error.CopyFrom(encode_failure(score.outcome))
    else:
        encoded.value = score.outcome
    if verdicts:
        for said in score.verdicts:
            encoded.verdicts.add(score=said.score, rationale=said.rationale, raw=said.raw)
    return encoded


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
            calls=model.calls,
            prompt_tokens=model.prompt_tokens,
            completion_tokens=model.completion_tokens,
            cached_tokens=model.cached_tokens,
            retries=model.retries,
            hedges=model.hedges,
            dollars=model.dollars,
        )
        for model in usage.models
    }
    wall = usage.wall_time
    # In whole microseconds, as `Duration.ToTimedelta` has it, at a tenth of its time.
    seconds = (wall.seconds * _MICROS + wall.nanos // 1000) / _MICROS
    return Usage(usage.messages, MappingProxyType(models), seconds)


def encode_usage(usage: Usage) -> pb.Usage:
    """Return the usage for the wire."""
    encoded = pb.Usage(messages=usage.messages)
    for role, model in sorted(usage.models.items()):
        encoded.models.add(
            role=role,
            calls=model.calls,
            prompt_tokens=model.prompt_tokens,
            completion_tokens=model.completion_tokens,
            cached_tokens=model.cached_tokens,
            retries=model.retries,
            hedges=model.hedges,
            dollars=model.dollars,
        )
    encoded.wall_time.seconds, micros = divmod(round(usage.seconds * _MICROS), _MICROS)
    encoded.wall_time.nanos = micros * 1000
    return encoded
