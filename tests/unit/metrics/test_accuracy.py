"""Checking an answer against the reference."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from foresight_services.core.errors import InvalidInput, Reason, Upstream
from foresight_services.core.objective import Range
from foresight_services.core.transcript import STYLES
from foresight_services.metrics import accuracy
from foresight_services.metrics.judging.prompted import PromptedJudge
from foresight_services.metrics.judging.ruled import RuledJudge
from tests.fakes.chat import ScriptedChat
from tests.fakes.judging import ITEM, SETUP, TASK, build, score, verdict


def completion(shown: str) -> str:
    """Return what the judge was to check."""
    return shown.partition("<completion>\n")[2].removesuffix("\n</completion>")


@pytest.mark.parametrize("answer", ["42", "", "true", "null", " 2 \n"])
async def test_the_artifact_is_checked_and_the_conversation_not_shown(answer: str) -> None:
    scored = await score(
        accuracy.DEFINITION,
        verdict(accuracy=1),
        artifact="answer",
        extracted=json.dumps({"thought": "t", "artifact": answer}),
    )

    assert scored.score.value == 1.0
    assert completion(scored.shown) == answer.strip()
    assert f"<reference>\n{TASK.reference}\n</reference>" in scored.shown
    assert f"<goal>\n{ITEM.goal}\n</goal>" in scored.shown
    assert "Which equation?" not in scored.shown


async def test_without_an_artifact_the_conversation_is_checked() -> None:
    scored = await score(accuracy.DEFINITION, verdict(accuracy=0))

    assert scored.score.value == 0.0
    assert completion(scored.shown) == (
        "<turn user>\nhelp with a quadratic?\n"
        "<turn ai>\nWhich equation?\n"
        "<turn user>\nx^2 + x = 6\n"
        "<turn ai>\nx = 2"
    )


async def test_the_conversation_is_shown_in_the_style_of_the_prompt() -> None:
    scored = await score(
        accuracy.DEFINITION, verdict(accuracy=1), transcripts={"accuracy": STYLES["json"]}
    )

    assert completion(scored.shown) == (
        '[{"role": "user", "content": "help with a quadratic?"},'
        ' {"role": "assistant", "content": "Which equation?"},'
        ' {"role": "user", "content": "x^2 + x = 6"},'
        ' {"role": "assistant", "content": "x = 2"}]'
    )


async def test_its_range_and_calls() -> None:
    judge = PromptedJudge(ScriptedChat(""))
    plain = await build(accuracy.DEFINITION, judge)
    voted = await build(accuracy.DEFINITION, judge, artifact="answer", parameters={"votes": 3.0})

    assert plain.info.range == Range(0.0, 1.0)
    assert (plain.info.judge_calls, voted.info.judge_calls) == (1, 4)


async def test_a_number_that_is_no_accuracy_fails_the_score() -> None:
    with pytest.raises(Upstream) as failed:
        await score(accuracy.DEFINITION, '{"thought": "t", "accuracy": 7}')

    assert failed.value.reason is Reason.METRIC_FAILED
    assert failed.value.metadata == {"metric": "accuracy", "kind": "malformed"}


async def test_an_extraction_that_fails_fails_the_score() -> None:
    with pytest.raises(Upstream) as failed:
        await score(accuracy.DEFINITION, verdict(accuracy=1), artifact="answer", extracted="?")

    assert failed.value.reason is Reason.EXTRACTION_FAILED


async def test_it_needs_a_reference_and_a_judge_that_reads() -> None:
    bare = replace(SETUP, task=replace(TASK, reference=" "))
    with pytest.raises(InvalidInput) as refused:
        await build(accuracy.DEFINITION, PromptedJudge(ScriptedChat("")), setup=bare)
    assert [v.field for v in refused.value.violations] == ["task.reference"]

    with pytest.raises(InvalidInput) as refused:
        await build(accuracy.DEFINITION, RuledJudge(ScriptedChat("")))
    assert [v.field for v in refused.value.violations] == ["metrics[0].name"]
