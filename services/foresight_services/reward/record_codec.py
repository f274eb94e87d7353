"""Kept rewards as bytes: messages of the contract, so that any version can read them."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Final, TypeVar

from google.protobuf.message import DecodeError, Message

from foresight.v1 import reward_service_pb2 as pb
from foresight_services.core.cache_use import CacheUse, Origin, Origins
from foresight_services.core.errors import Failure
from foresight_services.core.estimator import Estimate
from foresight_services.core.future import FutureId, SimulatedFuture
from foresight_services.core.kept_answers import KeptAnswer
from foresight_services.core.objective import Range
from foresight_services.core.result import (
    CandidateResult,
    FutureResult,
    GroupSummary,
    MetricSummary,
    Reward,
    ScoredFuture,
)
from foresight_services.core.reward_store import AnswerRecord, GroupRecord
from foresight_services.reward.codec import (
    ORIGINS,
    decode_query,
    encode_group,
    encode_result,
    encode_summary,
)
from foresight_services.reward.sampling_codec import (
    decode_decision,
    decode_interval,
    decode_lead,
    decode_lift,
    encode_leads,
)
from foresight_services.rpc import codec
from foresight_services.rpc.status import decode_failure

M = TypeVar("M", bound=Message)

_ANSWER: Final = struct.Struct(">32s16sI")
"""Digest of the request, name of the group, number of results; the summary follows."""


class ProtoRecordCodec:
    """Implements the port `RecordCodec`.

    A group is a GetRewardResponse without result, a result a CandidateResult, and an answer
    a ComputeRewardsResponse without results behind a head of fixed length; a whole answer is
    a ComputeRewardsResponse.
    """

    def encode_group(self, group: GroupRecord) -> bytes:
        """Return the group as it is kept."""
        return encode_group(group).SerializeToString(deterministic=True)

    def decode_group(self, stored: bytes) -> GroupRecord | None:
        """Return the group; None where the bytes are none."""
        message = _parse(pb.GetRewardResponse(), stored)
        if message is None or not message.HasField("request"):
            return None
        summary = GroupSummary(
            message.profile,
            message.profile_version,
            tuple(map(codec.decode_info, message.metrics)),
            _range(message),
            codec.decode_usage(pb.ComputeRewardsResponse().usage),
        )
        return GroupRecord(decode_query(message.request), summary)

    def encode_result(self, result: CandidateResult) -> bytes:
        """Return the result as it is kept, texts included."""
        return encode_result(result, include_futures=True).SerializeToString(deterministic=True)

    def decode_result(self, stored: bytes) -> CandidateResult | None:
        """Return the result; None where the bytes are none."""
        message = _parse(pb.CandidateResult(), stored)
        if message is None or message.WhichOneof("outcome") is None:
            return None
        return decode_result(message)

    def encode_leads(self, summary: GroupSummary) -> bytes:
        """Return the leads as they are kept."""
        message = pb.ComputeRewardsResponse(best=summary.best, leads=encode_leads(summary))
        return message.SerializeToString(deterministic=True)

    def decode_lead(self, stored: bytes, candidate: int) -> Estimate | None:
        """Return one lead; None where the bytes have none."""
        message = _parse(pb.ComputeRewardsResponse(), stored)
        leads = () if message is None else message.leads
        return next((decode_lead(one) for one in leads if one.candidate_index == candidate), None)

    def encode_answer(self, answer: AnswerRecord) -> bytes:
        """Return the answer as it is kept."""
        head = _ANSWER.pack(answer.content, bytes.fromhex(answer.group), answer.results)
        message = encode_summary("", answer.summary)
        return head + message.SerializeToString(deterministic=True)

    def decode_answer(self, stored: bytes) -> AnswerRecord | None:
        """Return the answer; None where the bytes are none."""
        if len(stored) < _ANSWER.size:
            return None
        content, group, results = _ANSWER.unpack_from(stored)
        message = _parse(pb.ComputeRewardsResponse(), stored[_ANSWER.size :])
        if message is None or not message.profile:
            return None
        summary = GroupSummary(
            message.profile,
            message.profile_version,
            tuple(map(codec.decode_info, message.metrics)),
            _range(message),
            codec.decode_usage(message.usage),
            CacheUse(_origins(message.cache.futures), _origins(message.cache.scores)),
            decode_decision(message),
            message.best if message.HasField("best") else None,
            _leads(message, results),
            tuple(map(decode_result, message.baseline)),
        )
        return AnswerRecord(content, group.hex(), results, summary)

    def encode_whole(self, results: Sequence[CandidateResult], summary: GroupSummary) -> bytes:
        """Return the answer as it is kept."""
        message = encode_summary("", summary, include_futures=False, leads=False)
        ordered = sorted(results, key=lambda result: result.index)
        message.results.extend(encode_result(result, include_futures=False) for result in ordered)
        return message.SerializeToString(deterministic=True)

    def decode_whole(self, stored: bytes) -> KeptAnswer | None:
        """Return the answer, a ComputeRewardsResponse; None where the bytes are none."""
        message = _parse(pb.ComputeRewardsResponse(), stored)
        if message is None or not all(map(_complete, message.results)):
            return None
        use = CacheUse(_origins(message.cache.futures), _origins(message.cache.scores))
        return KeptAnswer(message, len(message.results), use)


def decode_result(message: pb.CandidateResult) -> CandidateResult:
    """Return a candidate's result that was sent with its texts."""
    outcome: Reward | Failure
    if message.WhichOneof("outcome") == "error":
        failure = decode_failure(message.error)
        metadata = dict(failure.metadata)
        reward_id = metadata.pop("reward_id", "")
        outcome = Failure(
            failure.family, failure.reason, failure.message, metadata, failure.violations
        )
    else:
        outcome, reward_id = _reward(message), message.reward.reward_id
    return CandidateResult(
        index=message.candidate_index,
        outcome=outcome,
        n_ok=message.n_ok,
        n_requested=message.n_requested,
        metrics=tuple(
            MetricSummary(m.name, m.mean if m.HasField("mean") else None, m.n_ok, m.n_failed)
            for m in message.metrics
        ),
        futures=tuple(_future(message.candidate_index, future) for future in message.futures),
        usage=codec.decode_usage(message.usage),
        reward_id=reward_id,
        behind_best=decode_lead(message),
        response=message.response,
    )


def _reward(message: pb.CandidateResult) -> Reward:
    reward = message.reward
    interval = decode_interval(reward.interval) if reward.HasField("interval") else None
    stderr = reward.stderr if reward.HasField("stderr") else None
    estimate = Estimate(reward.value, stderr, interval, message.n_ok)
    complete = reward.status == pb.REWARD_STATUS_COMPLETE
    return Reward(estimate, complete, decode_lift(reward))


def _leads(message: pb.ComputeRewardsResponse, candidates: int) -> tuple[Estimate | None, ...]:
    """Return the leads by candidate; empty where there is no best."""
    if not message.HasField("best"):
        return ()
    told = {one.candidate_index: decode_lead(one) for one in message.leads}
    return tuple(told.get(candidate) for candidate in range(candidates))


def _future(candidate: int, message: pb.FutureResult) -> FutureResult:
    objective: float | Failure = message.objective
    if message.WhichOneof("outcome") == "error":
        objective = decode_failure(message.error)
    simulated = None
    if message.termination:
        simulated = SimulatedFuture(
            goal=message.goal,
            messages=codec.decode_messages(message.messages),
            termination=codec.decode_termination(message.termination),
            policy=codec.decode_policy(message.policy),
            persona=message.persona,
        )
    scores = tuple(map(codec.decode_score, message.scores))
    unscored = isinstance(objective, Failure) and not scores
    origin = next((ours for ours, theirs in ORIGINS.items() if theirs == message.origin), None)
    scored = ScoredFuture(
        id=FutureId(candidate, message.sample_index),
        simulated=simulated,
        scores=scores,
        error=objective if unscored and isinstance(objective, Failure) else None,
        usage=codec.decode_usage(message.usage),
        abandoned=origin is None,
        artifacts=tuple(map(codec.decode_artifact, message.artifacts)),
        origin=origin or Origin.COMPUTED,
        cost=codec.decode_usage(message.cost) if message.HasField("cost") else None,
    )
    return FutureResult(scored, objective)


def _complete(result: pb.CandidateResult) -> bool:
    reward = result.reward
    complete = reward.status == pb.REWARD_STATUS_COMPLETE
    return result.WhichOneof("outcome") == "reward" and complete and math.isfinite(reward.value)


def _parse(message: M, stored: bytes) -> M | None:
    try:
        message.ParseFromString(stored)
    except DecodeError:
        return None
    return message


def _range(message: pb.GetRewardResponse | pb.ComputeRewardsResponse) -> Range | None:
    if not message.HasField("objective_range"):
        return None
    return codec.decode_range(message.objective_range)


def _origins(counts: pb.OriginCounts) -> Origins:
    return Origins(counts.computed, counts.found, counts.shared)
