"""Published policies between the wire and the domain."""

from __future__ import annotations

from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from foresight.v1 import policy_service_pb2 as pb
from foresight_services.core.published import PolicySource, PublishedPolicy, SourceKind
from foresight_services.rpc import codec

_NANOS: Final = 1_000_000_000


def decode_source(policy: pb.Policy) -> PolicySource | None:
    """Return where the policy is served, unchecked; None where it does not say."""
    kind = policy.WhichOneof("source")
    return None if kind is None else PolicySource(SourceKind(kind), getattr(policy, kind))


def decode_published(policy: pb.Policy) -> PublishedPolicy:
    """Return a published version, unchecked; one without a source is at an empty endpoint."""
    source = decode_source(policy) or PolicySource(SourceKind.ENDPOINT, "")
    when = policy.published_at
    return PublishedPolicy(
        codec.decode_policy(policy.ref), source, when.seconds * _NANOS + when.nanos
    )


def encode_published(policy: PublishedPolicy) -> pb.Policy:
    """Return a published version for the wire."""
    seconds, nanos = divmod(policy.published_at_ns, _NANOS)
    encoded = pb.Policy(
        ref=codec.encode_policy(policy.ref),
        published_at=Timestamp(seconds=seconds, nanos=nanos),
    )
    setattr(encoded, policy.source.kind.value, policy.source.location)
    return encoded
