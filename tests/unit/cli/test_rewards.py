"""What is shown and written of rewards: a failure is a dash or null, never a number."""

import json

import grpc
import pytest
from rich.console import Console

from foresight import CandidateReward, Interval, MetricInfo, MetricSummary, ModelUsage, Rewards
from foresight import Usage as ClientUsage
from foresight.errors import TooFewFuturesError
from foresight_services.cli.reward_json import rewards_document
from foresight_services.cli.reward_table import cost_line, failure_lines, reward_table

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


def lines_of(renderable):
    console = Console(width=120, markup=False)
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
