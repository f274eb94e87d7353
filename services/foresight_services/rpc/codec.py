"""Shared nouns between the wire and the domain."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from types import MappingProxyType
from typing import Final, cast

from google.protobuf.struct_pb2 import Struct, Value

from foresight.v1 import conversation_pb2 as pb
from foresight.v1 import metric_pb2, simulator_service_pb2
from foresight_services.core.budget import Budget
from foresight_services.core.conversation import Conversation, Message, Role
from foresight_services.core.errors import Failure
from foresight_services.core.future import MetricInfo, MetricScore, Termination
from foresight_services.core.objective import JsonValue, MetricSpec, Range
from foresight_services.core.task import PolicyRef, Task
from foresight_services.core.usage import ModelUsage, Usage
from foresight_services.rpc.status import decode_failure, encode_failure


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
    weight = spec.weight if spec.HasField("weight") else 1.0
    parameters = _decode_struct(spec.parameters)
    return MetricSpec(spec.name, weight, spec.artifact, MappingProxyType(parameters))


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
        name=spec.name, weight=spec.weight, artifact=spec.artifact, parameters=parameters
    )


def decode_range(values: pb.ValueRange) -> Range:
    """Return the range."""
    return Range(values.min, values.max)


def encode_range(values: Range | None) -> pb.ValueRange | None:
    """Return the range for the wire."""
    return None if values is None else pb.ValueRange(min=values.low, max=values.high)


def decode_info(info: metric_pb2.MetricInfo) -> MetricInfo:
    """Return the metric as it is applied."""
    values = decode_range(info.range) if info.HasField("range") else None
    return MetricInfo(info.name, info.version, values, info.judge_calls)


def encode_info(info: MetricInfo) -> metric_pb2.MetricInfo:
    """Return the metric for the wire."""
    return metric_pb2.MetricInfo(
        name=info.name,
        version=info.version,
        range=encode_range(info.range),
        judge_calls=info.judge_calls,
    )


def decode_score(score: metric_pb2.MetricScore) -> MetricScore:
    """Return the score, or its failure."""
    failed = score.WhichOneof("outcome") != "value"
    return MetricScore(score.name, decode_failure(score.error) if failed else score.value)


def encode_score(score: MetricScore) -> metric_pb2.MetricScore:
    """Return the score for the wire."""
    if isinstance(score.outcome, Failure):
        return metric_pb2.MetricScore(name=score.name, error=encode_failure(score.outcome))
    return metric_pb2.MetricScore(name=score.name, value=score.outcome)


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
    seconds = usage.wall_time.ToTimedelta().total_seconds()
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
    encoded.wall_time.FromTimedelta(timedelta(seconds=usage.seconds))
    return encoded
