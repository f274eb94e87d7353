"""What is shown and written of rewards: a failure is a dash or null, never a number."""

import json
from dataclasses import replace

import grpc
import pytest
from rich.console import Console

from foresight import (
    CandidateReward,
    Interval,
    Lead,
    Lift,
    MetricInfo,
    MetricSummary,
    ModelUsage,
    Rewards,
)
from foresight import Usage as ClientUsage
from foresight.errors import TooFewFuturesError
from foresight_services.cli.reward_json import rewards_document
from foresight_services.cli.reward_table import (
    baseline_line,
    cost_line,
    failure_lines,
    reward_table,
)

USAGE = ClientUsage(5, {"user": ModelUsage(3, 40, 12), "judge": ModelUsage(1, 9, 2)}, 1.25)


def candidate(index, value, error=None):
    return CandidateReward(
        candidate_index=index,
        value=value,
        stderr=None if value is None else 0.01,
        interval=None if value is None else Interval(value - 0.1, value + 0.1, 0.9, "student_t"),
        status="failed" if value is None else "complete",
        error=error,
        n_ok=0 if value is None else 4,
        n_requested=4,
        metrics={} if value is None else {"success": MetricSummary("success", value, 4, 0)},
        futures=(),
        usage=USAGE,
        reward_id="",
    )


@pytest.fixture
def rewards():
    error = TooFewFuturesError(
        "0 of 4 futures\nsucceeded \x1b[31m",
        code=grpc.StatusCode.UNAVAILABLE,
        reason="TOO_FEW_FUTURES",
        metadata={"n_ok": "0"},
    )
    return Rewards(
        request_id="r",
        candidates=(candidate(0, 0.25), candidate(1, None, error), candidate(2, -0.5)),
        profile="release",
        profile_version="1",
        metrics=(MetricInfo("success", "1", None),),
        objective_range=None,
        usage=USAGE,
    )


@pytest.fixture
def lifted(rewards):
    """Rewards with a baseline of two responses, one of which could not be drawn."""
    lift = Lift(0.125, 0.03, Interval(-0.25, 0.5, 0.95, "student_t"), 0.125, 1)
    first, failed, third = rewards
    behind = Lead(0.75, 0.02, None, 4)
    drawn = replace(candidate(0, 0.125), response="hm?")
    return replace(
        rewards,
        candidates=(
            replace(first, lift=lift),
            failed,
            replace(third, lift=replace(lift, value=-0.625, stderr=None), behind_best=behind),
        ),
        best=0,
        baseline=(drawn, candidate(1, None, failed.error)),
    )


def lines_of(renderable, width=120):
    console = Console(width=width, markup=False)
    with console.capture() as capture:
        console.print(renderable)
    return capture.get().splitlines()


def test_table(rewards):
    heading, *rows = lines_of(reward_table(["[red]best", "fails", "worst"], rewards, width=120))
    assert heading.split() == "rank candidate MR ± stderr 90 % interval success n status".split()
    first = "1 [red]best 0.250 ± 0.010 [0.150, 0.350] 0.250 4/4 complete"
    assert [" ".join(row.split()) for row in rows] == [
        first,
        "— fails — — — 0/4 failed",
        "2 worst -0.500 ± 0.010 [-0.600, -0.400] -0.500 4/4 complete",
    ]


def test_a_narrow_table_has_the_metrics_below_the_candidates(rewards):
    heading, *rows = lines_of(reward_table(["a", "b", "c"], rewards, width=80))
    assert "success" not in heading
    assert [" ".join(row.split()) for row in rows[:4]] == [
        "1 a 0.250 ± 0.010 [0.150, 0.350] 4/4 complete",
        "success 0.250",
        "— b — — 0/4 failed",
        "success —",
    ]


def test_failures_are_explained_in_one_harmless_line(rewards):
    assert failure_lines(rewards) == [
        r"candidate 1 has no value: 0 of 4 futures succeeded \x1b[31m"
    ]


def test_cost(rewards):
    assert cost_line(rewards.usage) == (
        "Cost: 5 messages simulated; user 3 calls, 40 + 12 tokens; judge 1 calls, 9 + 2 tokens; "
        "1.25 s"
    )


def test_lift_and_lead_have_columns_where_there_is_room(lifted):
    header, first, failed, third = lines_of(reward_table(["a", "b", "c"], lifted, width=160), 160)
    assert "behind best" in header and "lift ± stderr" in header
    assert "0.125 ± 0.030" in first
    assert "0.750 ± 0.020" in third and "-0.625" in third
    assert failed.count("—") >= 4


def test_a_narrow_table_has_the_lift_below_the_candidate(lifted):
    lines = lines_of(reward_table(["a", "b", "c"], lifted, width=80), 80)
    assert "behind best" not in lines[0]
    assert "lift 0.125 ± 0.030" in lines[2]
    assert any("lift —" in line for line in lines)


def test_what_the_baseline_is_worth_and_what_it_lacks(lifted):
    assert baseline_line(lifted) == "Baseline: 1 of 2 responses of the policy, MR 0.125"
    lines = failure_lines(lifted)
    assert [line.split(" has no value")[0] for line in lines] == [
        "candidate 1",
        "baseline response 1",
    ]


def test_a_document_with_a_baseline(lifted):
    document = json.loads(json.dumps(rewards_document(["a", "b", "c"], lifted), allow_nan=False))
    assert document["compared_with"] == 0
    first, failed, third = document["candidates"]
    assert first["lift"] == {
        "value": 0.125,
        "stderr": 0.03,
        "interval": {"low": -0.25, "high": 0.5, "level": 0.95, "method": "student_t"},
        "baseline": 0.125,
        "responses": 1,
    }
    assert (failed["lift"], third["lift"]["stderr"]) == (None, None)
    assert third["behind_best"]["difference"] == 0.75
    drawn, missing = document["baseline"]
    assert (drawn["response"], drawn["value"]) == ("hm?", 0.125)
    assert missing["error"]["reason"] == "TOO_FEW_FUTURES"


def test_a_cost_with_cached_tokens_repeated_calls_and_a_price():
    judge = ModelUsage(9, 80, 7, cached_tokens=64, retries=2, hedges=1, dollars=0.0123)
    usage = ClientUsage(5, {"user": ModelUsage(3, 40, 12, retries=1), "judge": judge}, 1.25)
    assert cost_line(usage) == (
        "Cost: 5 messages simulated; user 3 calls (1 retries), 40 + 12 tokens; "
        "judge 9 calls (2 retries, 1 hedges), 80 (64 cached) + 7 tokens; 1.25 s; $0.0123"
    )
    dear = ClientUsage(0, {"user": ModelUsage(1, 1, 1, dollars=12.3456)}, 0.0)
    assert cost_line(dear).endswith("; $12.35")
    cheap = ClientUsage(0, {"user": ModelUsage(1, 1, 1, dollars=0.00001)}, 0.0)
    assert cost_line(cheap).endswith("; less than $0.0001")


def test_document(rewards):
    document = json.loads(json.dumps(rewards_document(["a", "b", "c"], rewards), allow_nan=False))
    assert document["best"] == [0]
    assert [one["value"] for one in document["candidates"]] == [0.25, None, -0.5]
    assert [one["rank"] for one in document["candidates"]] == [1, None, 2]
    failed = document["candidates"][1]
    assert failed["error"]["reason"] == "TOO_FEW_FUTURES"
    assert failed["error"]["code"] == "UNAVAILABLE"
    assert failed["interval"] is None
    assert document["usage"]["models"]["user"] == {
        "calls": 3,
        "prompt_tokens": 40,
        "completion_tokens": 12,
        "cached_tokens": 0,
        "retries": 0,
        "hedges": 0,
        "dollars": 0.0,
    }
    assert (document["usage"]["tokens"], document["usage"]["dollars"]) == (63, 0.0)
