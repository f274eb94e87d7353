"""Results: what an answer becomes, and that a failure never becomes a number."""

import math
import pickle

import pytest
from google.protobuf.json_format import ParseDict
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from foresight import (
    Artifact,
    CandidateReward,
    Difference,
    ExtractionFailedError,
    InternalError,
    Interval,
    Lead,
    Lift,
    Message,
    MetricInfo,
    MetricScore,
    MetricSummary,
    ModelUsage,
    PolicyVersion,
    TooFewFuturesError,
    Usage,
    ValueRange,
    Verdict,
)
from foresight.v1 import reward_service_pb2 as pb


def failure(reason):
    status = Status(code=14, message="1 of 8 futures succeeded")
    info = ErrorInfo(reason=reason, domain="foresight.v1", metadata={"n_ok": "1"})
    status.details.add().Pack(info)
    return status


ANSWER = {
    "request_id": "r1",
    "profile": "release",
    "profile_version": "2",
    "metrics": [
        {"name": "success", "version": "1", "range": {"min": 0, "max": 1}},
        {
            "name": "token_amount",
            "version": "3",
            "unit": "thousand tokens",
            "direction": "DIRECTION_LESS",
        },
        {"name": "clear", "version": "1", "metric": "rubric", "direction": "DIRECTION_MORE"},
    ],
    "objective_range": {"min": -0.5, "max": 1},
    "usage": {
        "messages": 12,
        "models": [
            {"role": "user", "calls": 6, "prompt_tokens": 9, "completion_tokens": 3},
            {
                "role": "judge",
                "calls": 5,
                "prompt_tokens": 80,
                "completion_tokens": 7,
                "cached_tokens": 64,
                "retries": 2,
                "hedges": 1,
                "dollars": 0.25,
            },
        ],
        "wall_time": "2.5s",
    },
    "results": [
        {
            "candidate_index": 0,
            "reward": {
                "value": 0.625,
                "stderr": 0.125,
                "interval": {"low": 0.31, "high": 0.88, "level": 0.95, "method": "gaffke"},
                "status": "REWARD_STATUS_COMPLETE",
                "reward_id": "id-0",
            },
            "n_ok": 8,
            "n_requested": 8,
            "metrics": [
                {"name": "success", "mean": 0.62, "n_ok": 8},
                {"name": "token_amount", "n_failed": 8},
            ],
            "futures": [
                {
                    "sample_index": 0,
                    "objective": 0,
                    "scores": [
                        {"name": "success", "value": 0},
                        {"name": "token_amount"},
                        {
                            "name": "clear",
                            "value": 0.5,
                            "spread": 0,
                            "verdicts": [
                                {"score": 0.5, "rationale": "so so", "raw": "{...}"},
                                {"score": 0.5, "rationale": "again"},
                            ],
                            "parts": {"brief": 0.25, "kind": 0},
                        },
                    ],
                    "artifacts": [
                        {"name": "answer", "requirement": "one number", "text": ""},
                        {"name": "code"},
                        {"name": "poem"},
                    ],
                    "termination": "TERMINATION_USER_ENDED",
                    "goal": "x = 2",
                    "messages": [{"role": "user", "content": "Why?"}],
                    "policy": {"name": "policy", "version": 12},
                },
                {"sample_index": 1},
            ],
        },
        {
            "candidate_index": 1,
            "reward": {"value": 0, "status": "REWARD_STATUS_PARTIAL"},
            "n_ok": 1,
            "n_requested": 8,
        },
        {"candidate_index": 2, "n_ok": 1, "n_requested": 8},
    ],
}


def answer():
    """A response with one candidate of every status."""
    response = ParseDict(ANSWER, pb.ComputeRewardsResponse())
    future, failed = response.results[0].futures
    future.scores[1].error.CopyFrom(failure("METRIC_FAILED"))
    future.artifacts[1].error.CopyFrom(failure("EXTRACTION_FAILED"))
    failed.error.CopyFrom(failure("MODEL_FAILED"))
    response.results[2].error.CopyFrom(failure("TOO_FEW_FUTURES"))
    return response


@pytest.fixture
async def rewards(connect, target, service, request_fields):
    service.compute = lambda request, context: answer()
    return await connect(target).compute(**request_fields | {"candidates": ["a", "b", "c"]})


async def test_rewards_are_a_sequence_in_the_order_of_the_request(rewards):
    assert rewards.values == [0.625, 0.0, None]
    assert len(rewards) == 3
    assert [reward.candidate_index for reward in rewards] == [0, 1, 2]
    assert rewards[-1] is rewards.candidates[2]
    assert rewards[:2] == rewards.candidates[:2]
    assert len({*rewards}) == 3
    assert [reward.status for reward in rewards] == ["complete", "partial", "failed"]


async def test_the_whole_request(rewards):
    assert (rewards.request_id, rewards.profile, rewards.profile_version) == ("r1", "release", "2")
    assert rewards.metrics == (
        MetricInfo("success", "1", ValueRange(0.0, 1.0), metric="success"),
        MetricInfo(
            "token_amount",
            "3",
            None,
            metric="token_amount",
            unit="thousand tokens",
            direction="less",
        ),
        MetricInfo("clear", "1", None, metric="rubric", direction="more"),
    )
    assert rewards.objective_range == ValueRange(-0.5, 1.0)
    judge = ModelUsage(5, 80, 7, cached_tokens=64, retries=2, hedges=1, dollars=0.25)
    assert rewards.usage == Usage(12, {"user": ModelUsage(6, 9, 3), "judge": judge}, 2.5)
    assert (rewards.usage.tokens, rewards.usage.dollars) == (99, 0.25)


async def test_a_complete_candidate(rewards):
    reward = rewards[0]
    assert (reward.value, reward.stderr, reward.error) == (0.625, 0.125, None)
    assert reward.interval == Interval(0.31, 0.88, 0.95, "gaffke")
    assert (reward.n_ok, reward.n_requested, reward.reward_id) == (8, 8, "id-0")
    assert reward.metrics == {
        "success": MetricSummary("success", 0.62, 8, 0),
        "token_amount": MetricSummary("token_amount", None, 0, 8),
    }
    assert reward.usage == Usage(0, {}, 0.0)


async def test_futures_and_their_scores(rewards):
    future, failed = rewards[0].futures
    assert (future.sample_index, future.objective, future.error) == (0, 0.0, None)
    assert (future.termination, future.goal) == ("user_ended", "x = 2")
    assert future.messages == (Message("user", "Why?"),)
    assert future.policy == PolicyVersion("policy", 12)
    assert future.scores[0] == MetricScore("success", 0.0, None)
    assert future.scores[1].value is None
    assert future.scores[1].error.reason == "METRIC_FAILED"
    assert future.scores[2] == MetricScore(
        "clear",
        0.5,
        None,
        spread=0.0,
        verdicts=(Verdict(0.5, "so so", "{...}"), Verdict(0.5, "again", "")),
        parts={"brief": 0.25, "kind": 0.0},
    )
    assert (failed.objective, failed.termination, failed.policy) == (None, None, None)
    assert failed.error.reason == "MODEL_FAILED"


async def test_artifacts_are_a_text_or_an_error(rewards):
    future, failed = rewards[0].futures
    extracted, refused, broken = future.artifacts
    # An empty text is one.
    assert extracted == Artifact("answer", "one number", "", None)
    assert (refused.name, refused.requirement, refused.text) == ("code", "", None)
    assert isinstance(refused.error, ExtractionFailedError)
    assert broken.text is None
    assert isinstance(broken.error, InternalError)
    assert str(broken.error) == "the service sent neither a text nor an error"
    assert failed.artifacts == ()


async def test_what_is_unknown_is_none_and_not_zero(rewards):
    assert (rewards[1].value, rewards[1].stderr, rewards[1].interval) == (0.0, None, None)
    failed = rewards[2]
    assert (failed.value, failed.stderr, failed.interval) == (None, None, None)
    assert isinstance(failed.error, TooFewFuturesError)
    assert failed.error.metadata == {"n_ok": "1"}


async def test_reprs_are_readable(rewards):
    assert [repr(reward) for reward in rewards] == [
        "Reward(candidate 0: 0.625 ± 0.125, 95 % CI [0.31, 0.88], n 8/8, success 0.62)",
        "Reward(candidate 1: 0.000, n 1/8, partial)",
        "Reward(candidate 2: none, TooFewFuturesError: 1 of 8 futures succeeded, n 1/8)",
    ]


async def test_results_survive_pickling(rewards):
    copy = pickle.loads(pickle.dumps(rewards))
    assert copy[1] == rewards[1]
    assert copy[0].futures[0].scores[2] == rewards[0].futures[0].scores[2]
    assert copy.usage == rewards.usage
    assert repr(copy) == repr(rewards)
    error = copy[2].error
    assert isinstance(error, TooFewFuturesError)
    assert (str(error), error.code, error.metadata) == (
        "1 of 8 futures succeeded",
        rewards[2].error.code,
        {"n_ok": "1"},
    )


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (pb.CandidateResult(), "the service sent neither a value nor an error"),
        (pb.CandidateResult(reward=pb.Reward(value=math.nan)), "the service sent nan for a value"),
        (pb.CandidateResult(reward=pb.Reward(value=math.inf)), "the service sent inf for a value"),
    ],
)
async def test_an_outcome_that_is_no_number_has_no_value(
    connect, target, service, request_fields, result, message
):
    service.compute = lambda request, context: pb.ComputeRewardsResponse(results=[result])
    (reward,) = await connect(target).compute(**request_fields | {"candidates": ["a"]})
    assert isinstance(reward, CandidateReward)
    assert (reward.value, reward.status) == (None, "failed")
    assert isinstance(reward.error, InternalError)
    assert str(reward.error) == message


@pytest.mark.parametrize("indices", [[], [0], [1, 0], [0, 0], [0, 1, 2]])
async def test_an_answer_for_other_candidates_is_refused(
    connect, target, service, request_fields, indices
):
    service.compute = lambda request, context: pb.ComputeRewardsResponse(
        results=[service.candidate(index) for index in indices]
    )
    with pytest.raises(InternalError, match="of a request with 2"):
        await connect(target).compute(**request_fields)


LIFT = {
    "value": 0.125,
    "stderr": 0.0625,
    "interval": {"low": -0.5, "high": 0.75, "level": 0.95, "method": "student_t"},
    "baseline": 0.5,
    "responses": 3,
}


def lifted(lead=None):
    """A response with a baseline of two, one of which could not be drawn."""
    response = answer()
    ParseDict(LIFT, response.results[0].reward.lift)
    response.best = 0
    drawn = response.baseline.add(candidate_index=0, response="hm?", n_ok=1, n_requested=1)
    drawn.reward.value = 0.5
    missing = response.baseline.add(candidate_index=1)
    missing.error.CopyFrom(failure("MODEL_FAILED"))
    if lead is not None:
        told = response.leads.add(candidate_index=1)
        told.behind_best.difference, told.behind_best.n = lead, 2
    return response


@pytest.fixture
def ask(connect, target, service, request_fields):
    async def ask(response):
        service.compute = lambda request, context: response
        return await connect(target).compute(**request_fields | {"candidates": ["a", "b", "c"]})

    return ask


async def test_a_lift_and_what_it_is_over(ask):
    rewards = await ask(lifted())
    interval = Interval(-0.5, 0.75, 0.95, "student_t")
    assert rewards[0].lift == Lift(0.125, 0.0625, interval, 0.5, 3)
    assert str(rewards[0].lift) == "+0.125 ± 0.062 over 3 responses"
    assert rewards[1].lift is None and rewards[1].response == ""
    drawn, missing = rewards.baseline
    assert (drawn.response, drawn.value, drawn.error) == ("hm?", 0.5, None)
    assert (missing.response, missing.value, missing.error.reason) == ("", None, "MODEL_FAILED")
    copy = pickle.loads(pickle.dumps(rewards))
    assert (copy[0].lift, copy.baseline[0]) == (rewards[0].lift, drawn)


async def test_leads_that_the_end_of_a_group_tells_are_with_the_candidates(ask):
    rewards = await ask(lifted(lead=0.625))
    assert rewards.best == 0
    assert rewards[1].behind_best == Lead(0.625, None, None, 2)
    assert (rewards[0].behind_best, rewards[2].behind_best) == (None, None)


async def test_a_comparison_that_is_no_number_is_refused(ask):
    wrong = lifted()
    wrong.results[0].reward.lift.baseline = math.nan
    with pytest.raises(InternalError):
        await ask(wrong)
    with pytest.raises(InternalError):
        await ask(lifted(lead=math.inf))
    wrong = lifted()
    wrong.best = 3
    with pytest.raises(InternalError):
        await ask(wrong)


async def test_differences_come_from_common_indices(ask):
    response = lifted()
    objectives = ((1.0, 0.5, None, 2.0), (0.5, 1.0, 1.0, None), (None, None, None, None))
    for result, values in zip(response.results, objectives, strict=True):
        del result.futures[:]
        for index, value in enumerate(values):
            future = result.futures.add(sample_index=index)
            if value is None:
                future.error.CopyFrom(failure("MODEL_FAILED"))
            else:
                future.objective = value
    rewards = await ask(response)
    assert rewards.difference(0, 1) == Difference(0.0, 0.5, 2)
    assert rewards.difference(1, 0) == Difference(0.0, 0.5, 2)
    assert rewards.difference(0, 2) is None
    assert rewards.difference(-2, -2) == Difference(0.0, 0.0, 3)
