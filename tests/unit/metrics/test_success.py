"""Asking a judge whether the goal was reached."""

from __future__ import annotations

from dataclasses import replace

import pytest

from foresight_services.core.conversation import Message
from foresight_services.core.errors import InvalidInput, Reason, Upstream
from foresight_services.core.future import Verdict
from foresight_services.core.objective import Range
from foresight_services.core.ports import ChatRequest
from foresight_services.metrics import success
from foresight_services.metrics.judging.prompted import PromptedJudge
from foresight_services.metrics.judging.ruled import RuledJudge
from tests.fakes.chat import ScriptedChat
from tests.fakes.evaluation import subject_of
from tests.fakes.judging import ITEM, SETUP, TASK, build, in_turn, score, verdict


async def test_the_judge_sees_the_whole_conversation_its_goal_and_the_reference() -> None:
    scored = await score(success.DEFINITION, verdict(success=0.75))

    assert scored.score.value == 0.75
    assert scored.score.verdicts == (Verdict(0.75, "because", verdict(success=0.75)),)
    assert (scored.score.spread, scored.score.parts) == (None, {})
    for text in (TASK.description, ITEM.goal, TASK.reference, "Which equation?", "x = 2"):
        assert text in scored.shown
    assert TASK.goal not in scored.shown
    assert "operator's secret" not in scored.shown
    account = scored.ledger.of("judge")
    assert (account.calls, account.retries) == (1, 0)


async def test_success_is_a_degree() -> None:
    metric = await build(success.DEFINITION, PromptedJudge(ScriptedChat("")))

    assert (metric.info.range, metric.info.judge_calls) == (Range(0.0, 1.0), 1)


@pytest.mark.parametrize("said", ["7", "-1", '"good"', "null"])
async def test_what_is_no_degree_is_no_score(said: str) -> None:
    with pytest.raises(Upstream) as failed:
        await score(success.DEFINITION, f'{{"success": {said}}}')

    assert failed.value.reason is Reason.METRIC_FAILED


async def test_a_verdict_out_of_range_is_asked_for_again() -> None:
    scored = await score(success.DEFINITION, in_turn(verdict(success=7), verdict(success=1)))

    assert scored.score.value == 1.0
    assert scored.ledger.of("judge").retries == 1


async def test_the_rules_of_a_world_answer_it_from_the_facts() -> None:
    model = ScriptedChat('{"success": 0.5}')
    metric = await build(success.DEFINITION, RuledJudge(model))

    scored = await metric.score(subject_of(SETUP, ITEM, deadline=3.0))

    assert scored.value == 0.5
    (asked,) = model.requests
    assert (asked.role, asked.deadline, asked.prompt) == ("judge", 3.0, ())
    assert asked.task == replace(TASK, goal=ITEM.goal)
    assert asked.conversation == (
        *SETUP.prefix,
        Message("assistant", "Which equation?"),
        *ITEM.messages,
    )


async def test_it_scores_no_artifact() -> None:
    with pytest.raises(InvalidInput, match="scores the conversation itself"):
        await build(success.DEFINITION, PromptedJudge(ScriptedChat("")), artifact="answer")


@pytest.mark.parametrize("votes", [0.0, 17.0, 1.5, "3", True])
async def test_votes_are_a_number_of_calls(votes: float | str) -> None:
    with pytest.raises(InvalidInput) as refused:
        await build(
            success.DEFINITION, PromptedJudge(ScriptedChat("")), parameters={"votes": votes}
        )

    assert [v.field for v in refused.value.violations] == ["metrics[0].parameters.votes"]


async def test_every_vote_is_asked_with_a_seed_of_its_own() -> None:
    def answer(request: ChatRequest) -> str:
        return verdict(success=float(request.seed == 0))

    scored = await score(success.DEFINITION, answer, parameters={"votes": 4.0})

    assert scored.score.value == 0.25
    assert scored.score.spread == 0.5
    assert [one.score for one in scored.score.verdicts] == [1.0, 0.0, 0.0, 0.0]
    assert len({asked.seed for asked in scored.asked}) == 4
