"""The document of `score --json`: what metrics, judges and extractions said, and nothing lost."""

import dataclasses
import json
import math

import grpc
import pytest

from foresight import (
    Artifact,
    CandidateReward,
    Future,
    Interval,
    Message,
    MetricInfo,
    MetricScore,
    MetricSummary,
    ModelUsage,
    PolicyVersion,
    Rewards,
    Usage,
    ValueRange,
    Verdict,
)
from foresight.errors import ExtractionFailedError, MetricFailedError
from foresight_services.cli.reward_json import rewards_document, write_json

USAGE = Usage(2, {"judge": ModelUsage(2, 9, 2)}, 0.5)
EXTRACTION = ExtractionFailedError(
    "no answer was found",
    code=grpc.StatusCode.UNAVAILABLE,
    reason="EXTRACTION_FAILED",
    metadata={"artifact": "answer"},
)
FAILURE = MetricFailedError(
    "the judge is away", code=grpc.StatusCode.UNAVAILABLE, reason="METRIC_FAILED"
)
FUTURE = Future(
    sample_index=3,
    objective=None,
    error=FAILURE,
    scores=(
        MetricScore(
            "clear",
            0.5,
            None,
            spread=0.25,
            verdicts=(Verdict(0.25, "\x1b[31mdull", "{}"), Verdict(0.75, "fine", "{...}")),
            parts={"brief": 1.0},
        ),
        MetricScore("accuracy", None, FAILURE),
    ),
    termination="horizon",
    goal="x = 2",
    messages=(Message("user", "Why?"),),
    policy=PolicyVersion("policy", 4),
    usage=USAGE,
    persona="busy",
    artifacts=(
        Artifact("code", "one function", "", None),
        Artifact("answer", "", None, EXTRACTION),
    ),
)


@pytest.fixture
def rewards():
    candidate = CandidateReward(
        candidate_index=0,
        value=0.5,
        stderr=0.125,
        interval=Interval(0.25, 0.75, 0.95, "gaffke"),
        status="partial",
        error=None,
        n_ok=1,
        n_requested=2,
        metrics={"clear": MetricSummary("clear", 0.5, 2, 0)},
        futures=(FUTURE,),
        usage=USAGE,
        reward_id="",
    )
    return Rewards(
        request_id="r",
        candidates=(candidate,),
        profile="custom",
        profile_version="1",
        metrics=(
            MetricInfo("clear", "2", ValueRange(0.0, 1.0), metric="rubric", direction="more"),
            MetricInfo("token_amount", "1", None, unit="token", direction="less"),
            MetricInfo("remote", "1", None),
        ),
        objective_range=None,
        usage=USAGE,
    )


def test_metrics_as_they_were_applied(rewards):
    document = rewards_document(["a"], rewards)
    assert document["metrics"] == [
        {
            "name": "clear",
            "metric": "rubric",
            "version": "2",
            "range": {"min": 0.0, "max": 1.0},
            "unit": "",
            "direction": "more",
            "identity": "",
        },
        {
            "name": "token_amount",
            "metric": "token_amount",
            "version": "1",
            "range": None,
            "unit": "token",
            "direction": "less",
            "identity": "",
        },
        {
            "name": "remote",
            "metric": "remote",
            "version": "1",
            "range": None,
            "unit": "",
            "direction": None,
            "identity": "",
        },
    ]


def test_scores_with_what_the_judge_said(rewards):
    (future,) = rewards_document(["a"], rewards)["candidates"][0]["futures"]
    clear, accuracy = future["scores"]
    assert clear == {
        "name": "clear",
        "value": 0.5,
        "error": None,
        "spread": 0.25,
        "parts": {"brief": 1.0},
        "verdicts": [
            {"score": 0.25, "rationale": "\x1b[31mdull", "raw": "{}"},
            {"score": 0.75, "rationale": "fine", "raw": "{...}"},
        ],
    }
    assert (accuracy["value"], accuracy["spread"], accuracy["verdicts"]) == (None, None, [])
    assert accuracy["error"]["reason"] == "METRIC_FAILED"


def test_numbers_that_json_does_not_have_are_null(rewards):
    odd = MetricScore(
        "odd",
        0.5,
        None,
        spread=math.nan,
        verdicts=(Verdict(math.inf, "", ""),),
        parts={"a": -math.inf, "b": 0.0},
    )
    future = dataclasses.replace(FUTURE, scores=(odd,))
    candidate = dataclasses.replace(rewards[0], futures=(future,))
    document = rewards_document(["a"], dataclasses.replace(rewards, candidates=(candidate,)))
    (score,) = document["candidates"][0]["futures"][0]["scores"]
    assert (score["value"], score["spread"]) == (0.5, None)
    assert score["parts"] == {"a": None, "b": 0.0}
    assert score["verdicts"] == [{"score": None, "rationale": "", "raw": ""}]


def test_artifacts_are_a_text_or_an_error(rewards):
    (future,) = rewards_document(["a"], rewards)["candidates"][0]["futures"]
    assert future["artifacts"] == [
        {"name": "code", "requirement": "one function", "text": "", "error": None},
        {
            "name": "answer",
            "requirement": "",
            "text": None,
            "error": {
                "reason": "EXTRACTION_FAILED",
                "code": "UNAVAILABLE",
                "message": "no answer was found",
                "metadata": {"artifact": "answer"},
            },
        },
    ]


@pytest.mark.parametrize("cls", [MetricInfo, MetricScore, Verdict, Artifact])
def test_no_field_of_what_metrics_say_is_left_out(rewards, cls):
    document = rewards_document(["a"], rewards)
    (future,) = document["candidates"][0]["futures"]
    written = {
        MetricInfo: document["metrics"][0],
        MetricScore: future["scores"][0],
        Verdict: future["scores"][0]["verdicts"][0],
        Artifact: future["artifacts"][0],
    }
    assert set(written[cls]) == {field.name for field in dataclasses.fields(cls)}


def test_what_is_written_is_json_that_no_terminal_obeys(rewards, capsys):
    write_json(rewards_document(["a"], rewards))
    text = capsys.readouterr().out
    assert text.isascii() and "\x1b" not in text
    assert json.loads(text) == rewards_document(["a"], rewards)
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json({"value": math.nan})
