"""Turns the contract's messages into results.

An answer that breaks the contract, such as one candidate too few or a reward that is no finite
number, becomes an `InternalError` and never a wrong number: trainers would not notice it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, Literal

from foresight._results import (
    Artifact,
    CacheUse,
    CandidateReward,
    Decision,
    Future,
    Interval,
    Lead,
    Lift,
    Message,
    MetricInfo,
    MetricScore,
    MetricSummary,
    ModelUsage,
    OriginCounts,
    PolicyVersion,
    Rewards,
    Usage,
    ValueRange,
    Verdict,
)
from foresight.errors import ForesightError, InternalError, from_status
from foresight.v1 import conversation_pb2, metric_pb2, reward_service_pb2, simulator_service_pb2

__all__ = ["decode_candidate", "decode_info", "decode_range", "decode_rewards"]

_TERMINATIONS: Final[Mapping[int, Literal["horizon", "user_ended", "context_exhausted"]]] = {
    simulator_service_pb2.TERMINATION_HORIZON: "horizon",
    simulator_service_pb2.TERMINATION_USER_ENDED: "user_ended",
    simulator_service_pb2.TERMINATION_CONTEXT_EXHAUSTED: "context_exhausted",
}

_ORIGINS: Final[Mapping[int, Literal["computed", "found", "shared"]]] = {
    reward_service_pb2.ORIGIN_COMPUTED: "computed",
    reward_service_pb2.ORIGIN_FOUND: "found",
    reward_service_pb2.ORIGIN_SHARED: "shared",
}

_AIMS: Final[Mapping[str, Literal["best", "ranking"]]] = {"best": "best", "ranking": "ranking"}

_DIRECTIONS: Final[Mapping[int, Literal["more", "less"]]] = {
    metric_pb2.DIRECTION_MORE: "more",
    metric_pb2.DIRECTION_LESS: "less",
}


def decode_rewards(
    response: reward_service_pb2.ComputeRewardsResponse,
    candidates: Sequence[CandidateReward],
    expected: int,
) -> Rewards:
    """Return the rewards of a group of `expected` candidates.

    Raises:
        InternalError: `candidates` are not one for each candidate, in order.
    """
    found = [candidate.candidate_index for candidate in candidates]
    if found != list(range(expected)):
        raise InternalError(
            f"the service answered for candidates {found} of a request with {expected}"
        )
    best = response.best if response.HasField("best") else None
    if best is not None and not 0 <= best < expected:
        raise InternalError(f"the service says that candidate {best} of {expected} is best")
    leads = {told.candidate_index: _lead(told.behind_best) for told in response.leads}
    return Rewards(
        request_id=response.request_id,
        candidates=tuple(_behind(one, leads) for one in candidates) if leads else tuple(candidates),
        profile=response.profile,
        profile_version=response.profile_version,
        metrics=tuple(decode_info(metric) for metric in response.metrics),
        objective_range=(
            decode_range(response.objective_range) if response.HasField("objective_range") else None
        ),
        usage=_usage(response.usage),
        cache=CacheUse(_counts(response.cache.futures), _counts(response.cache.scores)),
        decision=_decision(response, expected) if response.HasField("decision") else None,
        best=best,
        baseline=tuple(map(decode_candidate, response.baseline)) if response.baseline else (),
    )


def _behind(candidate: CandidateReward, leads: Mapping[int, Lead]) -> CandidateReward:
    """Return `candidate` with its lead, where only the end of its group tells it."""
    lead = leads.get(candidate.candidate_index)
    if lead is None or candidate.behind_best is not None:
        return candidate
    return replace(candidate, behind_best=lead)


def _decision(
    response: reward_service_pb2.ComputeRewardsResponse, candidates: int
) -> Decision | None:
    """Return the decision, `None` for a kind that this version does not know."""
    told = response.decision
    ranking = tuple(told.ranking)
    known = len(set(ranking)) == len(ranking) and all(0 <= c < candidates for c in ranking)
    if not known or told.best not in ranking or not 0.0 <= told.confidence <= 1.0:
        raise InternalError("the service sent a decision that is none about these candidates")
    aim = _AIMS.get(told.aim)
    if aim is None:
        return None
    return Decision(aim, told.best, ranking, told.confidence, told.method)


def _lead(lead: reward_service_pb2.Lead) -> Lead:
    if not math.isfinite(lead.difference):
        raise InternalError(f"the service sent {lead.difference} for a lead")
    return Lead(
        difference=lead.difference,
        stderr=lead.stderr if lead.HasField("stderr") else None,
        interval=_interval(lead.interval) if lead.HasField("interval") else None,
        n=lead.n,
    )


def _lift(lift: reward_service_pb2.Lift) -> Lift:
    if not (math.isfinite(lift.value) and math.isfinite(lift.baseline)):
        raise InternalError(f"the service sent {lift.value} over {lift.baseline} for a lift")
    return Lift(
        value=lift.value,
        stderr=lift.stderr if lift.HasField("stderr") else None,
        interval=_interval(lift.interval) if lift.HasField("interval") else None,
        baseline=lift.baseline,
        responses=lift.responses,
    )


def _counts(counts: reward_service_pb2.OriginCounts) -> OriginCounts:
    return OriginCounts(counts.computed, counts.found, counts.shared)


def decode_candidate(result: reward_service_pb2.CandidateResult) -> CandidateReward:
    """Return one candidate's reward."""
    reward = result.reward
    value, error = _outcome(result, "reward", reward.value)
    status: Literal["complete", "partial", "failed"] = "failed"
    if error is None:
        complete = reward.status == reward_service_pb2.REWARD_STATUS_COMPLETE
        status = "complete" if complete else "partial"
    return CandidateReward(
        candidate_index=result.candidate_index,
        value=value,
        stderr=reward.stderr if reward.HasField("stderr") else None,
        interval=_interval(reward.interval) if reward.HasField("interval") else None,
        status=status,
        error=error,
        n_ok=result.n_ok,
        n_requested=result.n_requested,
        metrics={
            metric.name: MetricSummary(
                name=metric.name,
                mean=metric.mean if metric.HasField("mean") else None,
                n_ok=metric.n_ok,
                n_failed=metric.n_failed,
            )
            for metric in result.metrics
        },
        futures=tuple(_future(future) for future in result.futures),
        usage=_usage(result.usage),
        reward_id=reward.reward_id
        or ("" if error is None else error.metadata.get("reward_id", "")),
        behind_best=_lead(result.behind_best) if result.HasField("behind_best") else None,
        lift=_lift(reward.lift) if reward.HasField("lift") else None,
        response=result.response,
    )


def _future(result: reward_service_pb2.FutureResult) -> Future:
    objective, error = _outcome(result, "objective", result.objective)
    return Future(
        sample_index=result.sample_index,
        objective=objective,
        error=error,
        scores=tuple(_score(score) for score in result.scores),
        termination=_TERMINATIONS.get(result.termination),
        goal=result.goal,
        messages=tuple(map(_message, result.messages)) if result.messages else (),
        policy=(
            PolicyVersion(result.policy.name, result.policy.version)
            if result.HasField("policy")
            else None
        ),
        usage=_usage(result.usage),
        persona=result.persona,
        artifacts=tuple(map(_artifact, result.artifacts)) if result.artifacts else (),
        origin=_ORIGINS.get(result.origin),
        cost=_usage(result.cost) if result.HasField("cost") else None,
    )


def decode_info(info: metric_pb2.MetricInfo) -> MetricInfo:
    return MetricInfo(
        name=info.name,
        version=info.version,
        range=decode_range(info.range) if info.HasField("range") else None,
        metric=info.metric or info.name,
        unit=info.unit,
        direction=_DIRECTIONS.get(info.direction),
        identity=info.identity,
    )


def _score(score: metric_pb2.MetricScore) -> MetricScore:
    value, error = _outcome(score, "value", score.value)
    return MetricScore(
        name=score.name,
        value=value,
        error=error,
        spread=score.spread if score.HasField("spread") else None,
        # Mostly there are none, and there is a score for every metric of every future.
        verdicts=tuple(map(_verdict, score.verdicts)) if score.verdicts else (),
        parts=dict(score.parts) if score.parts else {},
    )


def _verdict(said: metric_pb2.Verdict) -> Verdict:
    return Verdict(said.score, said.rationale, said.raw)


def _artifact(artifact: metric_pb2.Artifact) -> Artifact:
    text: str | None = None
    error: ForesightError | None = None
    match artifact.WhichOneof("outcome"):
        case "text":
            text = artifact.text
        case "error":
            error = from_status(artifact.error)
        case _:
            error = InternalError("the service sent neither a text nor an error")
    return Artifact(artifact.name, artifact.requirement, text, error)


def _outcome(
    message: (
        reward_service_pb2.CandidateResult
        | reward_service_pb2.FutureResult
        | metric_pb2.MetricScore
    ),
    success: str,
    value: float,
) -> tuple[float | None, ForesightError | None]:
    """Return the number or the error of `message`, never both and never neither."""
    which = message.WhichOneof("outcome")
    if which == "error":
        return None, from_status(message.error)
    if which != success:
        return None, InternalError("the service sent neither a value nor an error")
    if not math.isfinite(value):
        return None, InternalError(f"the service sent {value} for a value")
    return value, None


def _interval(interval: reward_service_pb2.ConfidenceInterval) -> Interval:
    return Interval(interval.low, interval.high, interval.level, interval.method)


def decode_range(range_: conversation_pb2.ValueRange) -> ValueRange:
    return ValueRange(range_.min, range_.max)


def _message(message: conversation_pb2.Message) -> Message:
    return Message(message.role, message.content)


def _usage(usage: conversation_pb2.Usage) -> Usage:
    time = usage.wall_time
    return Usage(
        messages=usage.messages,
        models={model.role: _model_usage(model) for model in usage.models} if usage.models else {},
        seconds=time.seconds + time.nanos / 1e9,
    )


def _model_usage(model: conversation_pb2.ModelUsage) -> ModelUsage:
    return ModelUsage(
        calls=model.calls,
        prompt_tokens=model.prompt_tokens,
        completion_tokens=model.completion_tokens,
        cached_tokens=model.cached_tokens,
        retries=model.retries,
        hedges=model.hedges,
        dollars=model.dollars,
    )
