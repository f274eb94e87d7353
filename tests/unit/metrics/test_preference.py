"""Comparing what the assistant delivers with a baseline, in both orders."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from types import MappingProxyType

import pytest

from foresight_services.core.errors import InvalidInput, Reason, Upstream
from foresight_services.core.objective import Range
from foresight_services.core.ports import ChatRequest
from foresight_services.metrics import preference
from foresight_services.metrics.judging.prompted import PromptedJudge
from foresight_services.metrics.judging.ruled import RuledJudge
from tests.fakes.chat import ScriptedChat
from tests.fakes.judging import SETUP, TASK, build, score, verdict

BASELINE = replace(SETUP, task=replace(TASK, metadata=MappingProxyType({"baseline": "x is -3"})))


def sides(request: ChatRequest) -> tuple[str, str]:
    """Return the first and the second text."""
    shown = request.messages[-1].content
    first = shown.partition("\n<first>\n")[2].partition("\n</first>")[0]
    return first, shown.partition("\n<second>\n")[2].partition("\n</second>")[0]


def preferring(text: str, *, first_by: float = 0.0) -> Callable[[ChatRequest], str]:
    """Prefer `text` by 0.8 to 0.2, and whatever comes first by `first_by` more."""

    def answer(request: ChatRequest) -> str:
        said = 0.8 if text in sides(request)[0] else 0.2
        return verdict(f"first: {sides(request)[0]}", preference=said + first_by)

    return answer


async def test_both_orders_are_asked_for_and_the_scored_side_is_followed() -> None:
    scored = await score(preference.DEFINITION, preferring("x = 2"))

    assert [sides(asked) for asked in scored.asked] == [("x = 2", "x is 2"), ("x is 2", "x = 2")]
    assert scored.score.value == pytest.approx(0.8)
    assert scored.score.parts["position_bias"] == pytest.approx(0.0)
    assert [one.score for one in scored.score.verdicts] == pytest.approx([0.8, 0.8])
    assert [one.rationale for one in scored.score.verdicts] == ["first: x = 2", "first: x is 2"]


async def test_a_worse_text_scores_low() -> None:
    scored = await score(preference.DEFINITION, preferring("x is 2"))

    assert scored.score.value == pytest.approx(0.2)


@pytest.mark.parametrize(("always", "bias"), [(1.0, 1.0), (0.5, 0.0), (0.0, -1.0)])
async def test_a_judge_that_looks_at_the_place_alone_finds_a_tie(
    always: float, bias: float
) -> None:
    scored = await score(preference.DEFINITION, verdict(preference=always))

    assert scored.score.value == 0.5
    assert scored.score.parts == {"position_bias": bias}


async def test_a_bias_is_told_and_does_not_move_the_score() -> None:
    scored = await score(preference.DEFINITION, preferring("x = 2", first_by=0.125))

    assert scored.score.value == pytest.approx(0.8)
    assert scored.score.parts["position_bias"] == pytest.approx(0.25)


async def test_votes_ask_for_both_orders_each() -> None:
    def answer(request: ChatRequest) -> str:
        return verdict(preference=float((request.seed == 0) == (sides(request)[0] == "x = 2")))

    scored = await score(preference.DEFINITION, answer, parameters={"votes": 3.0})

    assert len(scored.asked) == 6
    assert scored.score.value == pytest.approx(1 / 3)
    assert scored.score.spread == pytest.approx((1 / 3) ** 0.5)
    assert [one.score for one in scored.score.verdicts] == [1.0, 1.0, 0.0, 0.0, 0.0, 0.0]
    assert scored.score.parts == {"position_bias": 0.0, "failed_votes": 0.0}


async def test_half_a_comparison_is_none() -> None:
    def answer(request: ChatRequest) -> str:
        return verdict(preference=1) if sides(request)[0] == "x = 2" else "no idea"

    with pytest.raises(Upstream) as failed:
        await score(preference.DEFINITION, answer)

    assert failed.value.reason is Reason.METRIC_FAILED
    assert failed.value.metadata["metric"] == "preference"


async def test_a_baseline_of_the_tasks_own_can_be_chosen() -> None:
    scored = await score(
        preference.DEFINITION,
        preferring("x = 2"),
        setup=BASELINE,
        parameters={"against": "baseline"},
    )

    assert [sides(asked) for asked in scored.asked] == [("x = 2", "x is -3"), ("x is -3", "x = 2")]
    assert TASK.reference not in scored.shown


async def test_an_artifact_is_compared_where_one_is_named() -> None:
    scored = await score(
        preference.DEFINITION,
        preferring("{2}"),
        artifact="answer",
        extracted=json.dumps({"artifact": "{2}"}),
    )

    assert [sides(asked) for asked in scored.asked] == [("{2}", "x is 2"), ("x is 2", "{2}")]


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({}, "task.reference"),
        ({"against": "reference"}, "task.reference"),
        ({"against": "baseline"}, "task.metadata.baseline"),
        ({"against": "basline"}, "metrics[0].parameters.against"),
    ],
)
async def test_there_must_be_something_to_compare_with(
    parameters: dict[str, str], field: str
) -> None:
    bare = replace(SETUP, task=replace(TASK, reference=""))
    with pytest.raises(InvalidInput) as refused:
        await build(
            preference.DEFINITION,
            PromptedJudge(ScriptedChat("")),
            setup=bare,
            parameters=dict(parameters),
        )

    assert [v.field for v in refused.value.violations] == [field]


async def test_its_range_and_calls() -> None:
    judge = PromptedJudge(ScriptedChat(""))
    plain = await build(preference.DEFINITION, judge)
    voted = await build(preference.DEFINITION, judge, artifact="answer", parameters={"votes": 3.0})

    assert plain.info.range == Range(0.0, 1.0)
    assert (plain.info.judge_calls, voted.info.judge_calls) == (2, 7)


async def test_rules_cannot_answer_it() -> None:
    with pytest.raises(InvalidInput, match="needs a judge that is a language model"):
        await build(preference.DEFINITION, RuledJudge(ScriptedChat("")))
