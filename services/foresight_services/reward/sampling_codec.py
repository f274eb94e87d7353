"""Adaptive sampling between the wire and the domain, both ways: what is wanted, what came of it."""

from __future__ import annotations

from typing import cast

from foresight.v1 import reward_service_pb2 as pb
from foresight_services.core.decision import Aim
from foresight_services.core.estimator import Estimate
from foresight_services.core.interval import Interval, Method
from foresight_services.core.lift import Lift
from foresight_services.core.request import RewardQuery
from foresight_services.core.result import DecisionMethod, GroupDecision, GroupSummary
from foresight_services.core.sampling_query import SamplingQuery


def decode_sampling(samples: pb.Samples) -> SamplingQuery:
    """Return what decides how many futures there are, unchecked."""
    return SamplingQuery(
        target_stderr=samples.target_stderr if samples.HasField("target_stderr") else None,
        decide=samples.decide,
        confidence=samples.confidence if samples.HasField("confidence") else None,
        tolerance=samples.tolerance,
        total=samples.total if samples.HasField("total") else None,
        window=samples.window if samples.HasField("window") else None,
    )


def encode_samples(query: RewardQuery) -> pb.Samples:
    """Return how many futures a request wants, for the wire."""
    sampling = query.sampling
    return pb.Samples(
        min=query.samples_min,
        max=query.samples_max,
        target_stderr=sampling.target_stderr,
        decide=sampling.decide,
        confidence=sampling.confidence,
        tolerance=sampling.tolerance,
        total=sampling.total,
        window=sampling.window,
    )


def encode_decision(decision: GroupDecision) -> pb.Decision:
    """Return a decision for the wire."""
    return pb.Decision(
        aim=decision.aim,
        best=decision.best,
        ranking=decision.ranking,
        confidence=decision.confidence,
        method=decision.method,
    )


def decode_decision(message: pb.ComputeRewardsResponse) -> GroupDecision | None:
    """Return the decision of an answer, where it has one."""
    if not message.HasField("decision"):
        return None
    told = message.decision
    return GroupDecision(
        cast(Aim, told.aim),
        told.best,
        tuple(told.ranking),
        told.confidence,
        cast(DecisionMethod, told.method),
    )


def encode_lead(lead: Estimate) -> pb.Lead:
    """Return by how much the best candidate leads, for the wire."""
    return pb.Lead(
        difference=lead.mean,
        stderr=lead.stderr,
        interval=None if lead.interval is None else encode_interval(lead.interval),
        n=lead.n,
    )


def decode_lead(message: pb.CandidateResult | pb.CandidateLead) -> Estimate | None:
    """Return by how much the best candidate leads, where that is told."""
    if not message.HasField("behind_best"):
        return None
    lead = message.behind_best
    return Estimate(
        lead.difference,
        lead.stderr if lead.HasField("stderr") else None,
        decode_interval(lead.interval) if lead.HasField("interval") else None,
        lead.n,
    )


def encode_leads(summary: GroupSummary) -> list[pb.CandidateLead]:
    """Return by how much the best candidate of a group leads the others, for the wire."""
    return [
        pb.CandidateLead(candidate_index=candidate, behind_best=encode_lead(lead))
        for candidate, lead in enumerate(summary.leads)
        if lead is not None
    ]


def encode_lift(lift: Lift) -> pb.Lift:
    """Return by how much a reward is above the baseline, for the wire."""
    return pb.Lift(
        value=lift.value,
        stderr=lift.stderr,
        interval=None if lift.interval is None else encode_interval(lift.interval),
        baseline=lift.baseline,
        responses=lift.responses,
    )


def decode_lift(message: pb.Reward) -> Lift | None:
    """Return by how much a reward is above the baseline, where that is told."""
    if not message.HasField("lift"):
        return None
    lift = message.lift
    return Lift(
        lift.value,
        lift.stderr if lift.HasField("stderr") else None,
        lift.baseline,
        lift.responses,
        decode_interval(lift.interval) if lift.HasField("interval") else None,
    )


def encode_interval(interval: Interval) -> pb.ConfidenceInterval:
    """Return a confidence interval for the wire."""
    return pb.ConfidenceInterval(
        low=interval.low, high=interval.high, level=interval.level, method=interval.method
    )


def decode_interval(told: pb.ConfidenceInterval) -> Interval:
    """Return a confidence interval."""
    return Interval(told.low, told.high, told.level, cast(Method, told.method))
