"""RewardService's messages between the wire and the domain."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from foresight.v1 import reward_service_pb2 as pb
from foresight_services.core.budget import NO_LIMIT
from foresight_services.core.cache_use import Origin, Origins
from foresight_services.core.errors import Failure
from foresight_services.core.estimator import Estimate
from foresight_services.core.objective import Objective
from foresight_services.core.request import RewardQuery
from foresight_services.core.rescoring import RescoreQuery
from foresight_services.core.result import (
    CandidateResult,
    FutureFinished,
    FutureResult,
    GroupSummary,
    MetricSummary,
    Reward,
)
from foresight_services.core.reward_store import GroupRecord, RewardRecord
from foresight_services.reward.sampling_codec import (
    decode_sampling,
    encode_decision,
    encode_interval,
    encode_lead,
    encode_leads,
    encode_lift,
    encode_samples,
)
from foresight_services.rpc import codec
from foresight_services.rpc.spec_codec import decode_clamp, decode_spec, encode_clamp, encode_spec
from foresight_services.rpc.status import encode_failure


def decode_query(request: pb.ComputeRewardsRequest) -> RewardQuery:
    """Return the request, unchecked."""
    simulation, samples = request.simulation, request.simulation.samples
    return RewardQuery(
        task=codec.decode_task(request.task),
        prefix=codec.decode_messages(request.prefix),
        candidates=tuple(request.candidates),
        objective=_decode_objective(request.objective),
        horizon_messages=(
            simulation.horizon_messages if simulation.HasField("horizon_messages") else None
        ),
        samples_min=samples.min if samples.HasField("min") else None,
        samples_max=samples.max if samples.HasField("max") else None,
        sampling=decode_sampling(samples),
        seed=simulation.seed,
        policy=codec.decode_policy(simulation.policy),
        max_message_tokens=(
            simulation.max_message_tokens if simulation.HasField("max_message_tokens") else None
        ),
        system_prompt_share=simulation.system_prompt_share,
        proactive_share=simulation.proactive_share,
        request_id=request.request_id,
        budget=codec.decode_budget(request.budget),
        job=request.job,
        personas=tuple(simulation.personas),
        cache=request.cache,
        baseline=simulation.baseline.responses if simulation.HasField("baseline") else None,
    )


def encode_query(query: RewardQuery) -> pb.ComputeRewardsRequest:
    """Return a request whose defaults are filled in, for the wire."""
    return pb.ComputeRewardsRequest(
        task=codec.encode_task(query.task),
        prefix=codec.encode_messages(query.prefix),
        candidates=query.candidates,
        objective=pb.Objective(
            profile=query.objective.profile,
            metrics=[encode_spec(spec) for spec in query.objective.metrics],
            clamp=encode_clamp(query.objective.clamp),
        ),
        simulation=pb.Simulation(
            horizon_messages=query.horizon_messages,
            samples=encode_samples(query),
            seed=query.seed,
            policy=codec.encode_policy(query.policy),
            max_message_tokens=query.max_message_tokens,
            system_prompt_share=query.system_prompt_share,
            proactive_share=query.proactive_share,
            personas=query.personas,
            baseline=None if query.baseline is None else pb.Baseline(responses=query.baseline),
        ),
        request_id=query.request_id,
        budget=None if query.budget == NO_LIMIT else codec.encode_budget(query.budget),
        job=query.job,
        cache=query.cache,
    )


def decode_rescore(request: pb.RescoreRewardRequest) -> RescoreQuery:
    """Return what to score anew, unchecked."""
    return RescoreQuery(
        reward_id=request.reward_id,
        objective=_decode_objective(request.objective),
        cache=request.cache,
        budget=codec.decode_budget(request.budget),
        job=request.job,
    )


def _decode_objective(objective: pb.Objective) -> Objective:
    return Objective(
        objective.profile,
        tuple(decode_spec(spec) for spec in objective.metrics),
        decode_clamp(objective.clamp),
    )


def encode_record(record: RewardRecord) -> pb.GetRewardResponse:
    """Return a kept reward for the wire, with all of its texts."""
    response = encode_group(record.group)
    response.result.CopyFrom(encode_result(record.result, include_futures=True))
    return response


def encode_group(group: GroupRecord) -> pb.GetRewardResponse:
    """Return what kept rewards of a group share, without a result."""
    return pb.GetRewardResponse(
        request=encode_query(group.request),
        profile=group.summary.profile,
        profile_version=group.summary.profile_version,
        metrics=[codec.encode_info(info) for info in group.summary.metrics],
        objective_range=codec.encode_range(group.summary.objective_range),
    )


def encode_result(result: CandidateResult, *, include_futures: bool) -> pb.CandidateResult:
    """Return a candidate's result for the wire; texts only with `include_futures`."""
    encoded = pb.CandidateResult(
        candidate_index=result.index,
        n_ok=result.n_ok,
        n_requested=result.n_requested,
        metrics=[_encode_metric(metric) for metric in result.metrics],
        behind_best=None if result.behind_best is None else encode_lead(result.behind_best),
        response=result.response,
    )
    for future in result.futures:
        _write_future(future, encoded.futures.add(), include_futures)
    codec.write_usage(result.usage, encoded.usage)
    if isinstance(result.outcome, Failure):
        failure = result.outcome
        if result.reward_id:
            named = {**failure.metadata, "reward_id": result.reward_id}
            failure = replace(failure, metadata=named)
        encoded.error.CopyFrom(encode_failure(failure))
    else:
        encoded.reward.CopyFrom(_encode_reward(result.outcome, result.reward_id))
    return encoded


def encode_summary(
    request_id: str, summary: GroupSummary, *, include_futures: bool = True, leads: bool = True
) -> pb.ComputeRewardsResponse:
    """Return what holds for a group as a whole, without its results.

    Args:
        request_id: what the request is called.
        summary: what holds.
        include_futures: whether texts of the baseline's futures go with it.
        leads: whether it tells how far candidates are behind the best, because results do not.
    """
    return pb.ComputeRewardsResponse(
        request_id=request_id,
        usage=codec.encode_usage(summary.usage),
        profile=summary.profile,
        profile_version=summary.profile_version,
        metrics=[codec.encode_info(info) for info in summary.metrics],
        objective_range=codec.encode_range(summary.objective_range),
        cache=pb.CacheUse(
            futures=_encode_origins(summary.cache.futures),
            scores=_encode_origins(summary.cache.scores),
        ),
        decision=None if summary.decision is None else encode_decision(summary.decision),
        baseline=[encode_result(one, include_futures=include_futures) for one in summary.baseline],
        best=summary.best,
        leads=encode_leads(summary) if leads else None,
    )


ORIGINS: Final[dict[Origin, pb.Origin.ValueType]] = {
    Origin.COMPUTED: pb.ORIGIN_COMPUTED,
    Origin.FOUND: pb.ORIGIN_FOUND,
    Origin.SHARED: pb.ORIGIN_SHARED,
}


def _encode_origins(counts: Origins) -> pb.OriginCounts:
    return pb.OriginCounts(computed=counts.computed, found=counts.found, shared=counts.shared)


def encode_progress(event: FutureFinished) -> pb.FutureDone:
    """Return the end of a future for the wire."""
    return pb.FutureDone(
        candidate_index=event.id.candidate, sample_index=event.id.sample, ok=event.ok
    )


def _encode_reward(reward: Reward, reward_id: str) -> pb.Reward:
    estimate: Estimate = reward.estimate
    status = pb.REWARD_STATUS_COMPLETE if reward.complete else pb.REWARD_STATUS_PARTIAL
    encoded = pb.Reward(
        value=estimate.mean, stderr=estimate.stderr, status=status, reward_id=reward_id
    )
    if estimate.interval is not None:
        encoded.interval.CopyFrom(encode_interval(estimate.interval))
    if reward.lift is not None:
        encoded.lift.CopyFrom(encode_lift(reward.lift))
    return encoded


def _encode_metric(metric: MetricSummary) -> pb.MetricSummary:
    return pb.MetricSummary(
        name=metric.name, mean=metric.mean, n_ok=metric.n_ok, n_failed=metric.n_failed
    )


def _write_future(future: FutureResult, into: pb.FutureResult, include_texts: bool) -> None:
    scored = future.scored
    into.sample_index = scored.id.sample
    for score in scored.scores:
        codec.write_score(score, into.scores.add(), verdicts=include_texts)
    codec.write_usage(scored.usage, into.usage)
    if scored.cost is not None:
        codec.write_usage(scored.cost, into.cost)
    if not scored.abandoned:
        into.origin = ORIGINS[scored.origin]
    if isinstance(future.objective, Failure):
        into.error.CopyFrom(encode_failure(future.objective))
    else:
        into.objective = future.objective
    if scored.simulated is not None:
        into.termination = codec.encode_termination(scored.simulated.termination)
        policy = scored.simulated.policy
        into.policy.name, into.policy.version = policy.name, policy.version
        into.persona = scored.simulated.persona
        if include_texts:
            into.goal = scored.simulated.goal
            codec.write_messages(scored.simulated.messages, into.messages)
            into.artifacts.extend(map(codec.encode_artifact, scored.artifacts))
