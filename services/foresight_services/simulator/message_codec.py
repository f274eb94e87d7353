"""Sampled messages between the wire and the domain, both ways."""

from __future__ import annotations

from typing import Final

from foresight.v1 import simulator_service_pb2 as pb
from foresight.v1.conversation_pb2 import Message
from foresight_services.core.budget import Budget, Cost
from foresight_services.core.errors import Failure
from foresight_services.core.message_request import MessageKind, MessageRequest, SampledMessage
from foresight_services.rpc import codec
from foresight_services.rpc.policy_codec import decode_published, encode_published
from foresight_services.rpc.status import decode_failure, encode_failure

KINDS: Final[dict[MessageKind, pb.MessageKind.ValueType]] = {
    MessageKind.OPENING_USER: pb.MESSAGE_KIND_OPENING_USER,
    MessageKind.NEXT_USER: pb.MESSAGE_KIND_NEXT_USER,
    MessageKind.POLICY: pb.MESSAGE_KIND_POLICY,
}

DEFAULT_MESSAGE_TOKENS: Final = 1024
"""Limit on a message where the caller sets none."""


def decode_message_request(request: pb.SampleMessagesRequest) -> MessageRequest:
    """Return the request; it is checked by the core."""
    limit = DEFAULT_MESSAGE_TOKENS
    if request.HasField("max_message_tokens"):
        limit = request.max_message_tokens
    kinds = (ours for ours, theirs in KINDS.items() if theirs == request.kind)
    return MessageRequest(
        task=codec.decode_task(request.task),
        prefix=codec.decode_messages(request.prefix),
        kind=next(kinds, MessageKind.UNKNOWN),
        count=request.count if request.HasField("count") else None,
        chosen=tuple(request.sample_indices),
        seed=request.seed,
        policy=codec.decode_policy(request.policy),
        max_message_tokens=limit,
        published=decode_published(request.published) if request.HasField("published") else None,
        budget=codec.decode_budget(request.budget),
        personas=tuple(request.personas),
        job=request.job,
        system_prompt=request.system_prompt,
        proactive=request.proactive,
    )


def encode_message_request(request: MessageRequest) -> pb.SampleMessagesRequest:
    """Return the request for the wire."""
    return pb.SampleMessagesRequest(
        task=codec.encode_task(request.task),
        prefix=codec.encode_messages(request.prefix),
        kind=KINDS.get(request.kind, pb.MESSAGE_KIND_UNSPECIFIED),
        count=request.count,
        sample_indices=request.chosen,
        seed=request.seed,
        policy=codec.encode_policy(request.policy),
        max_message_tokens=request.max_message_tokens,
        published=None if request.published is None else encode_published(request.published),
        budget=codec.encode_budget(request.budget),
        personas=request.personas,
        job=request.job,
        system_prompt=request.system_prompt,
        proactive=request.proactive,
    )


def decode_sample(response: pb.SampleMessagesResponse) -> SampledMessage:
    """Return the sample, or its failure."""
    outcome: str | Failure
    if response.WhichOneof("outcome") == "message":
        outcome = response.message.content
    else:
        outcome = decode_failure(response.error)
    charged = None
    if response.HasField("charged"):
        told = codec.decode_budget(response.charged)
        charged = Cost(told.max_tokens, told.max_dollars)
    return SampledMessage(
        index=response.sample_index,
        outcome=outcome,
        usage=codec.decode_usage(response.usage),
        goal=response.goal,
        persona=response.persona,
        policy=codec.decode_policy(response.policy) if response.HasField("policy") else None,
        fingerprint=response.fingerprint,
        charged=charged,
    )


def encode_sample(sample: SampledMessage) -> pb.SampleMessagesResponse:
    """Return the sample for the wire."""
    response = pb.SampleMessagesResponse(
        sample_index=sample.index,
        usage=codec.encode_usage(sample.usage),
        goal=sample.goal,
        persona=sample.persona,
        policy=None if sample.policy is None else codec.encode_policy(sample.policy),
        fingerprint=sample.fingerprint,
    )
    if sample.charged is not None:
        charged = Budget(sample.charged.tokens, sample.charged.dollars)
        response.charged.CopyFrom(codec.encode_budget(charged))
    if isinstance(sample.outcome, Failure):
        response.error.CopyFrom(encode_failure(sample.outcome))
    else:
        role = "user" if sample.policy is None else "assistant"
        response.message.CopyFrom(Message(role=role, content=sample.outcome))
    return response
