"""SimulatorService's messages between the wire and the domain, both ways."""

from __future__ import annotations

from foresight.v1 import simulator_service_pb2 as pb
from foresight_services.core.budget import Budget, Cost
from foresight_services.core.errors import Failure
from foresight_services.core.future import (
    Future,
    FutureId,
    SimulatedFuture,
    SimulationRequest,
)
from foresight_services.rpc import codec
from foresight_services.rpc.policy_codec import decode_published, encode_published
from foresight_services.rpc.status import decode_failure, encode_failure


def decode_request(request: pb.SimulateFuturesRequest) -> SimulationRequest:
    """Return the request; it is checked by the core."""
    return SimulationRequest(
        task=codec.decode_task(request.task),
        prefix=codec.decode_messages(request.prefix),
        candidates=tuple(request.candidates),
        futures=tuple(decode_spec(spec) for spec in request.futures),
        horizon_messages=request.horizon_messages,
        seed=request.seed,
        policy=codec.decode_policy(request.policy),
        max_message_tokens=request.max_message_tokens,
        published=(decode_published(request.published) if request.HasField("published") else None),
        budget=codec.decode_budget(request.budget),
        system_prompt_samples=request.system_prompt_samples,
        proactive_samples=request.proactive_samples,
        personas=tuple(request.personas),
        job=request.job,
        follow_up=request.follow_up,
    )


def encode_request(request: SimulationRequest) -> pb.SimulateFuturesRequest:
    """Return the request for the wire."""
    return pb.SimulateFuturesRequest(
        task=codec.encode_task(request.task),
        prefix=codec.encode_messages(request.prefix),
        candidates=request.candidates,
        futures=[encode_spec(which) for which in request.futures],
        horizon_messages=request.horizon_messages,
        seed=request.seed,
        policy=codec.encode_policy(request.policy),
        max_message_tokens=request.max_message_tokens,
        published=None if request.published is None else encode_published(request.published),
        budget=codec.encode_budget(request.budget),
        system_prompt_samples=request.system_prompt_samples,
        proactive_samples=request.proactive_samples,
        personas=request.personas,
        job=request.job,
        follow_up=request.follow_up,
    )


def decode_spec(spec: pb.FutureSpec) -> FutureId:
    """Return which future it is."""
    return FutureId(spec.candidate_index, spec.sample_index)


def encode_spec(which: FutureId) -> pb.FutureSpec:
    """Return which future it is, for the wire."""
    return pb.FutureSpec(candidate_index=which.candidate, sample_index=which.sample)


def decode_future(response: pb.SimulateFuturesResponse) -> Future:
    """Return the future, or its failure."""
    outcome: SimulatedFuture | Failure
    if response.WhichOneof("outcome") == "future":
        outcome = SimulatedFuture(
            goal=response.future.goal,
            messages=codec.decode_messages(response.future.messages),
            termination=codec.decode_termination(response.future.termination),
            policy=codec.decode_policy(response.future.policy),
            persona=response.future.persona,
        )
    else:
        outcome = decode_failure(response.error)
    return Future(
        decode_spec(response.spec),
        outcome,
        codec.decode_usage(response.usage),
        response.fingerprint,
        charged=_charged(response),
        form=response,
    )


def _charged(response: pb.SimulateFuturesResponse) -> Cost | None:
    if not response.HasField("charged"):
        return None
    told = codec.decode_budget(response.charged)
    return Cost(told.max_tokens, told.max_dollars)


def encode_future(future: Future) -> pb.SimulateFuturesResponse:
    """Return the future for the wire."""
    response = pb.SimulateFuturesResponse(
        spec=encode_spec(future.id), fingerprint=future.fingerprint
    )
    codec.write_usage(future.usage, response.usage)
    if future.charged is not None:
        charged = Budget(future.charged.tokens, future.charged.dollars)
        response.charged.CopyFrom(codec.encode_budget(charged))
    if isinstance(future.outcome, Failure):
        response.error.CopyFrom(encode_failure(future.outcome))
    else:
        _write_simulated(future.outcome, response.future)
    return response


def _write_simulated(simulated: SimulatedFuture, into: pb.SimulatedFuture) -> None:
    into.goal = simulated.goal
    codec.write_messages(simulated.messages, into.messages)
    into.termination = codec.encode_termination(simulated.termination)
    into.policy.name, into.policy.version = simulated.policy.name, simulated.policy.version
    into.persona = simulated.persona
