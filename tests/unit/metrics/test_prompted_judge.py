"""The prompted judge: what it asks for, how often, and what it makes of the replies."""

from __future__ import annotations

import json
from typing import Any

import pytest

from foresight_services.core.errors import DomainError, Reason, Upstream
from foresight_services.core.objective import Range
from foresight_services.core.subject import Subject
from foresight_services.core.transcript import STYLES
from foresight_services.metrics.judging.judge import Question
from foresight_services.metrics.judging.prompted import PromptedJudge, PromptedJudgeSettings
from tests.fakes.chat import ScriptedChat
from tests.fakes.evaluation import subject_of
from tests.fakes.judging import ITEM, SETUP, TASK, FinishingChat, in_turn, verdict

UNIT = Range(0.0, 1.0)
SUCCESS = Question("success", {"success": UNIT})
BOTH = Question(
    "rubric", {"Clear": UNIT, "kind": Range(1.0, 5.0)}, {"criteria": "c", "completion": ""}
)


def judge_of(answer: Any, **settings: Any) -> tuple[PromptedJudge, ScriptedChat]:
    model = ScriptedChat(answer)
    return PromptedJudge(model, settings=PromptedJudgeSettings(**settings)), model


def subject() -> Subject:
    return subject_of(SETUP, ITEM)


async def test_the_judge_sees_task_and_conversation_and_nothing_of_the_operators() -> None:
    judge, model = judge_of(verdict(success=0.75), schema=False)
    scored = subject_of(SETUP, ITEM, deadline=7.0)

    answer = await judge.ask(SUCCESS, scored)

    assert (answer.scores, answer.rationale) == ({"success": 0.75}, "because")
    assert answer.raw == verdict(success=0.75)
    (asked,) = model.requests
    assert (asked.role, asked.seed, asked.deadline, asked.schema) == ("judge", 0, 7.0, None)
    assert asked.ledger is scored.ledger
    assert asked.messages[1].content == (
        f"<situation>\n{TASK.description}\n</situation>\n<goal>\n{ITEM.goal}\n</goal>\n"
        f"<reference>\n{TASK.reference}\n</reference>\n<conversation>\n"
        "<turn user>\nhelp with a quadratic?\n"
        "<turn ai>\nWhich equation?\n"
        "<turn user>\nx^2 + x = 6\n"
        "<turn ai>\nx = 2\n</conversation>"
    )


async def test_the_schema_has_the_reasons_first_and_every_number() -> None:
    judge, model = judge_of(verdict(Clear=1, kind=5))

    await judge.ask(BOTH, subject())

    schema = model.requests[0].schema
    assert schema is not None
    assert schema["required"] == ["rationale", "Clear", "kind"]
    assert json.loads(json.dumps(schema["properties"])) == {
        "rationale": {"type": "string"},
        "Clear": {"type": "number"},
        "kind": {"type": "number"},
    }


def test_the_digest_tells_apart_what_shapes_prompts() -> None:
    settings = (
        PromptedJudgeSettings(),
        PromptedJudgeSettings(schema=False),
        PromptedJudgeSettings(system_role=False),
        PromptedJudgeSettings(transcripts={"accuracy": STYLES["json"]}),
    )
    digests = {PromptedJudge(ScriptedChat(""), settings=one).digest for one in settings}

    assert len(digests) == 4
    assert PromptedJudge(ScriptedChat("")).digest in digests


async def test_a_verdict_at_the_limit_on_its_length_may_be_cut_off() -> None:
    model = FinishingChat('{"rationale": "r", "success": 0', "length")
    scored = subject()

    with pytest.raises(Upstream, match="no verdict"):
        await PromptedJudge(model).ask(SUCCESS, scored)

    assert len(model.requests) == 3


async def test_an_unusable_verdict_is_asked_for_again_with_another_seed() -> None:
    judge, model = judge_of(in_turn("no idea", '{"success": 7}', '{"success": 0.5}'))
    scored = subject()

    answer = await judge.ask(SUCCESS, scored)

    assert answer.scores == {"success": 0.5}
    assert len({asked.seed for asked in model.requests}) == 3
    assert len({asked.messages for asked in model.requests}) == 1
    account = scored.ledger.of("judge")
    assert (account.calls, account.retries) == (3, 2)


async def test_votes_and_their_attempts_have_seeds_of_their_own() -> None:
    judge, model = judge_of("no idea", attempts=2)

    for vote in range(3):
        with pytest.raises(Upstream):
            await judge.ask(SUCCESS, subject(), vote=vote)

    seeds = [asked.seed for asked in model.requests]
    assert len(set(seeds)) == 6
    assert seeds[0] == 0


async def test_a_judge_without_a_verdict_fails_the_score() -> None:
    judge, model = judge_of('{"Clear": 0.5, "kind": 0.5, "secret": "text"}', attempts=2)

    with pytest.raises(Upstream) as failed:
        await judge.ask(BOTH, subject())

    assert failed.value.reason is Reason.METRIC_FAILED
    assert failed.value.metadata == {"metric": "rubric", "kind": "malformed"}
    assert failed.value.message == (
        "rubric: no verdict of the judge had 'Clear' from 0 to 1, 'kind' from 1 to 5 in 2 attempts"
    )
    assert len(model.requests) == 2


async def test_what_the_model_server_says_passes_through() -> None:
    told = Upstream(Reason.MODEL_REJECTED, "refused", metadata={"model": "m"})

    def refuse(request: object) -> str:
        raise told

    judge, model = judge_of(refuse)
    with pytest.raises(DomainError) as failed:
        await judge.ask(SUCCESS, subject())

    assert failed.value is told
    assert len(model.requests) == 1
