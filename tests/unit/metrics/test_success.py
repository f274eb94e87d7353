"""Asking a judge whether the goal was reached."""

from __future__ import annotations

import math

import pytest

from foresight_services.core.conversation import Message
from foresight_services.core.errors import Reason, Upstream
from foresight_services.core.future import EvaluationItem, FutureId
from foresight_services.core.objective import MetricSpec, Range
from foresight_services.core.task import Task
from foresight_services.core.usage import Ledger, ModelUsage
from foresight_services.metrics.success import MAX_VERDICT_TOKENS, Success, parse_verdict
from tests.fakes.chat import ScriptedChat
from tests.fakes.evaluation import evaluation_setup

TASK = Task(goal="the task's goal", reference="42", metadata={"tests": "assert f() == 42"})
SETUP = evaluation_setup("success", task=TASK)


async def test_the_judge_sees_the_whole_conversation_its_goal_and_the_reference() -> None:
    judge = ScriptedChat('{"success": 0.75}')
    ledger = Ledger()
    future = (Message("user", "thanks"),)
    item = EvaluationItem(FutureId(1, 4), "goal of this future", future)
    metric = Success(MetricSpec("success"), SETUP, judge)
    assert await metric.score(item, ledger) == 0.75
    (request,) = judge.requests
    assert request.role == "judge"
    assert request.conversation == (*SETUP.prefix, Message("assistant", "No."), *future)
    assert request.task == TASK.with_goal("goal of this future")
    assert request.max_tokens == MAX_VERDICT_TOKENS
    assert ledger.usage(messages=0, seconds=0.0).models["judge"] == ModelUsage(1, 3, 2)


def test_success_is_a_degree() -> None:
    assert Success(MetricSpec("success"), SETUP, ScriptedChat("")).info.range == Range(0.0, 1.0)


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ('{"success": 1}', 1.0),
        ('{"success": 0.0, "why": "lost"}', 0.0),
        # Out of range: for the evaluation to refuse, not to be clamped here.
        ('{"success": 7}', 7.0),
    ],
)
def test_a_verdict_is_a_number_in_an_object(text: str, score: float) -> None:
    verdict = parse_verdict("success", text)
    assert (type(verdict), verdict) == (float, score)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yes",
        "1",
        "[1]",
        "{}",
        '{"succes": 1}',
        '{"success": "1"}',
        '{"success": true}',
        '{"success": null}',
        '{"success": 1',
    ],
)
def test_anything_else_is_no_score(text: str) -> None:
    with pytest.raises(Upstream) as failed:
        parse_verdict("success", text)
    assert failed.value.reason is Reason.METRIC_FAILED
    assert failed.value.metadata == {"metric": "success"}


@pytest.mark.parametrize("digits", ["1" + "0" * 400, "1e999", "Infinity"])
def test_a_number_beyond_all_numbers_is_left_to_the_evaluation_to_refuse(digits: str) -> None:
    assert parse_verdict("success", f'{{"success": {digits}}}') == math.inf


def test_a_judge_that_nests_without_end_is_no_score() -> None:
    with pytest.raises(Upstream):
        parse_verdict("success", '{"success": ' + "[" * 100_000)
