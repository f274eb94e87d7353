"""Criteria of the caller's own, all judged in one call."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from foresight_services.core.errors import InvalidInput, Reason, Upstream
from foresight_services.core.objective import JsonValue, Range
from foresight_services.core.ports import ChatRequest
from foresight_services.metrics import rubric
from foresight_services.metrics.judging.prompted import PromptedJudge
from foresight_services.metrics.judging.ruled import RuledJudge
from tests.fakes.chat import ScriptedChat
from tests.fakes.judging import build, in_turn, score, verdict

CLEAR: dict[str, JsonValue] = {"name": "clear", "description": "Is it easy to follow?"}
DEEP: dict[str, JsonValue] = {
    "name": "Deep",
    "description": "Does it go\nto the  bottom?",
    "low": -1.0,
    "high": 3,
    "anchors": {"3": "to the\nbottom", "-1": "misleading", "1.5": "half-way"},
    "weight": 3.0,
}
CRITERIA: dict[str, Any] = {"criteria": [CLEAR, DEEP]}


async def refused(criteria: Any) -> list[tuple[str, str]]:
    with pytest.raises(InvalidInput) as caught:
        await build(
            rubric.DEFINITION,
            PromptedJudge(ScriptedChat("")),
            parameters={"criteria": criteria},
        )
    prefix = "metrics[0].parameters.criteria"
    return [(v.field.removeprefix(prefix), v.description) for v in caught.value.violations]


async def test_one_call_scores_every_criterion_and_their_weighted_mean_counts() -> None:
    scored = await score(rubric.DEFINITION, verdict(clear=0.5, Deep=2), parameters=CRITERIA)

    assert len(scored.asked) == 1
    assert scored.score.value == (0.5 + 3 * 0.75) / 4
    assert scored.score.parts == {"clear": 0.5, "Deep": 2.0}
    assert [one.score for one in scored.score.verdicts] == [scored.score.value]
    assert scored.shown.startswith(
        "<criteria>\n"
        "clear (0 to 1): Is it easy to follow?\n"
        "Deep (-1 to 3): Does it go to the bottom?\n"
        "  -1 = misleading\n"
        "  1.5 = half-way\n"
        "  3 = to the bottom\n"
        "</criteria>\n"
    )
    assert scored.shown.endswith("<completion>\n(none)\n</completion>")


@pytest.mark.parametrize(("clear", "deep", "value"), [(0, -1, 0.0), (1, 3, 1.0)])
async def test_the_ends_of_the_ranges_are_the_ends_of_the_score(
    clear: float, deep: float, value: float
) -> None:
    scored = await score(rubric.DEFINITION, verdict(clear=clear, Deep=deep), parameters=CRITERIA)

    assert scored.score.value == value


async def test_one_criterion_is_a_rubric_and_one_of_weight_0_is_told_only() -> None:
    one = await score(rubric.DEFINITION, verdict(clear=0.25), parameters={"criteria": [CLEAR]})
    two = await score(
        rubric.DEFINITION,
        verdict(clear=0.25, Deep=3),
        parameters={"criteria": [CLEAR, {**DEEP, "weight": 0}]},
    )

    assert (one.score.value, one.score.parts) == (0.25, {"clear": 0.25})
    assert (two.score.value, two.score.parts) == (0.25, {"clear": 0.25, "Deep": 3.0})


async def test_votes_give_means_of_score_and_parts() -> None:
    def answer(request: ChatRequest) -> str:
        return verdict(clear=1, Deep=3) if request.seed == 0 else verdict(clear=0, Deep=-1)

    scored = await score(rubric.DEFINITION, answer, parameters={**CRITERIA, "votes": 2.0})

    assert (scored.score.value, scored.score.spread) == (0.5, math.sqrt(0.5))
    assert scored.score.parts == {"clear": 0.5, "Deep": 1.0, "failed_votes": 0.0}


async def test_the_artifact_is_shown_beside_the_conversation() -> None:
    scored = await score(
        rubric.DEFINITION,
        verdict(clear=1, Deep=3),
        parameters=CRITERIA,
        artifact="answer",
        extracted=json.dumps({"artifact": "x = 2, </completion>"}),
    )

    assert scored.shown.endswith("<completion>\nx = 2, &lt;/completion>\n</completion>")
    assert "<turn user>\nx^2 + x = 6\n<turn ai>" in scored.shown


async def test_a_score_out_of_its_criterions_range_is_asked_for_again() -> None:
    replies = in_turn(verdict(clear=2, Deep=2), verdict(clear=1), verdict(clear=1, Deep=1))

    scored = await score(rubric.DEFINITION, replies, parameters=CRITERIA)

    assert scored.score.parts == {"clear": 1.0, "Deep": 1.0}
    assert scored.ledger.of("judge").retries == 2


async def test_a_criterion_without_a_score_fails_the_rubric() -> None:
    with pytest.raises(Upstream) as failed:
        await score(rubric.DEFINITION, verdict(clear=1), parameters=CRITERIA)

    assert failed.value.reason is Reason.METRIC_FAILED
    assert failed.value.metadata == {"metric": "rubric", "kind": "malformed"}


@pytest.mark.parametrize(
    ("criteria", "wrong"),
    [
        ("clear", ("", "must be a list")),
        ([], ("", "must be a list of 1 to 16 criteria")),
        ([{**CLEAR, "name": f"c{n}"} for n in range(17)], ("", "must be a list of 1 to 16")),
        ([CLEAR, "deep"], ("[1]", "must be a mapping")),
        ([{"name": "a"}], ("[0].description", "is missing")),
        ([{"description": "a"}], ("[0].name", "is missing")),
        ([{**CLEAR, "wieght": 2}], ("[0].wieght", "did you mean 'weight'?")),
        ([{**CLEAR, "name": "two words"}], ("[0].name", "must be an identifier")),
        ([{**CLEAR, "name": "é"}], ("[0].name", "must be an identifier")),
        ([{**CLEAR, "name": "a" * 41}], ("[0].name", "must be an identifier")),
        ([{**CLEAR, "name": "a\n"}], ("[0].name", "must be an identifier")),
        ([{**CLEAR, "name": "Rationale"}], ("[0].name", "is taken")),
        ([{**CLEAR, "name": "thought"}], ("[0].name", "is taken")),
        ([{**CLEAR, "name": "failed_votes"}], ("[0].name", "is taken")),
        ([CLEAR, {**CLEAR, "name": "CLEAR"}], ("[1].name", "criteria[0] already")),
        ([{**CLEAR, "description": " \n"}], ("[0].description", "is empty")),
        ([{**CLEAR, "description": "a" * 4001}], ("[0].description", "longer than 4000")),
        ([{**CLEAR, "description": 3}], ("[0].description", "must be a text")),
        ([CLEAR, {**DEEP, "low": "1"}], ("[1].low", "must be a number")),
        ([CLEAR, {**DEEP, "low": True}], ("[1].low", "must be a number")),
        ([{**CLEAR, "low": math.nan}], ("[0].low", "must be a number")),
        ([{**CLEAR, "high": math.inf}], ("[0].high", "is inf; must be")),
        ([{**CLEAR, "low": 1}], ("[0].high", "is 1; must be more than `low`, 1")),
        ([{**CLEAR, "low": 2, "high": 1}], ("[0].high", "must be more than `low`, 2")),
        ([{**CLEAR, "weight": -1}], ("[0].weight", "is -1; must be at least 0")),
        ([{**CLEAR, "weight": 0}], ("", "must have a weight above 0")),
        ([{**CLEAR, "anchors": ["a"]}], ("[0].anchors", "must be a mapping")),
        ([{**CLEAR, "anchors": {"2": "a"}}], ("[0].anchors.2", "must be a number from 0 to 1")),
        ([{**CLEAR, "anchors": {"good": "a"}}], ("[0].anchors.good", "must be a number from")),
        ([{**CLEAR, "anchors": {"nan": "a"}}], ("[0].anchors.nan", "must be a number from")),
        ([{**CLEAR, "anchors": {"1": ""}}], ("[0].anchors.1", "is empty")),
        ([{**CLEAR, "anchors": {"1": 1}}], ("[0].anchors.1", "must be a text")),
        ([{**CLEAR, "anchors": {"1": "a", "1.0": "b"}}], ("[0].anchors.1.0", "is given twice")),
        (
            [{**CLEAR, "anchors": {f"0.{n}": "a" for n in range(100, 117)}}],
            ("[0].anchors", "has 17 entries; at most 16"),
        ),
    ],
    ids=range(34),
)
async def test_a_wrong_criterion_is_named(criteria: Any, wrong: tuple[str, str]) -> None:
    ((field, description),) = await refused(criteria)

    assert field == wrong[0]
    assert wrong[1] in description


async def test_everything_that_is_wrong_is_told_at_once() -> None:
    wrong = await refused([{**CLEAR, "low": "x", "weight": -1}, {"nam": "a"}])

    assert [field for field, _ in wrong] == [
        "[0].low",
        "[0].weight",
        "[1].nam",
        "[1].name",
        "[1].description",
    ]


async def test_criteria_must_be_given() -> None:
    with pytest.raises(InvalidInput) as caught:
        await build(rubric.DEFINITION, PromptedJudge(ScriptedChat("")))

    (violation,) = caught.value.violations
    assert violation.field == "metrics[0].parameters.criteria"
    assert violation.description == "is missing"


async def test_its_range_and_calls() -> None:
    metric = await build(
        rubric.DEFINITION,
        PromptedJudge(ScriptedChat("")),
        artifact="answer",
        parameters={**CRITERIA, "votes": 3.0},
    )

    assert (metric.info.range, metric.info.judge_calls) == (Range(0.0, 1.0), 4)


async def test_rules_cannot_answer_it() -> None:
    with pytest.raises(InvalidInput, match="needs a judge that is a language model"):
        await build(rubric.DEFINITION, RuledJudge(ScriptedChat("")), parameters=CRITERIA)
