"""Asking a judge for the helpfulness of an assistant."""

from __future__ import annotations

import pytest

from foresight_services.core.errors import InvalidInput, Reason, Upstream
from foresight_services.core.future import Direction
from foresight_services.core.objective import Range
from foresight_services.core.transcript import STYLES
from foresight_services.metrics import helpfulness
from foresight_services.metrics.judging.prompted import PromptedJudge
from foresight_services.metrics.judging.ruled import RuledJudge
from tests.fakes.chat import ScriptedChat
from tests.fakes.judging import build, score, verdict


@pytest.mark.parametrize("said", [0, 0.5, 1, 0.375])
async def test_the_score_is_what_the_judge_says_of_the_whole_conversation(said: float) -> None:
    scored = await score(helpfulness.DEFINITION, verdict(helpfulness=said))

    assert scored.score.value == said
    said_in_order = ("help with a quadratic?", "Which equation?", "x^2 + x = 6", "x = 2")
    places = [scored.shown.index(text) for text in said_in_order]
    assert places == sorted(places)
    assert "operator's secret" not in scored.shown
    assert "0.5" in scored.asked[0].messages[0].content


async def test_its_range_direction_and_calls() -> None:
    judge = PromptedJudge(ScriptedChat(""))

    metric = await build(helpfulness.DEFINITION, judge, parameters={"votes": 3.0})

    info = metric.info
    assert (info.range, info.direction, info.unit) == (Range(0.0, 1.0), Direction.MORE, "")
    assert (info.metric, info.judge_calls) == ("helpfulness", 3)


async def test_a_number_out_of_range_fails_the_score() -> None:
    with pytest.raises(Upstream) as failed:
        await score(helpfulness.DEFINITION, verdict(helpfulness=3))

    assert failed.value.reason is Reason.METRIC_FAILED
    assert failed.value.metadata == {"metric": "helpfulness", "kind": "malformed"}


async def test_the_style_of_its_transcript_can_be_chosen() -> None:
    scored = await score(
        helpfulness.DEFINITION, verdict(helpfulness=1), transcripts={"helpfulness": STYLES["plain"]}
    )

    assert "\nUser: x^2 + x = 6\nAssistant: x = 2\n</conversation>" in scored.shown


async def test_rules_cannot_answer_it() -> None:
    with pytest.raises(InvalidInput, match="needs a judge that is a language model") as refused:
        await build(helpfulness.DEFINITION, RuledJudge(ScriptedChat("")))

    assert [v.field for v in refused.value.violations] == ["metrics[0].name"]
