"""What an objective says of a metric, between the wire and the domain, both ways."""

from __future__ import annotations

from types import MappingProxyType

from google.protobuf.struct_pb2 import Struct, Value

from foresight.v1 import metric_pb2
from foresight_services.core.objective import NO_CLAMP, Clamp, JsonValue, MetricSpec


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
