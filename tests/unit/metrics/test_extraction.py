"""Artifacts found by a language model: what it is asked, and which replies have one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from foresight_services.core.errors import LimitReached, Reason, Upstream
from foresight_services.core.future import Wanted
from foresight_services.core.ports import ChatReply
from foresight_services.core.transcript import STYLES
from foresight_services.metrics.extraction import NoExtractor, read_artifact
from tests.fakes.chat import ScriptedChat
from tests.fakes.evaluation import subject_of
from tests.fakes.judging import ITEM, SETUP, FinishingChat, extractor_of, in_turn

ANSWER = Wanted("answer", "in lowest terms")


def found(artifact: Any, key: str = "artifact") -> str:
    return json.dumps({"thought": "at the end", key: artifact})


def read(text: str) -> str | None:
    return read_artifact(ChatReply(text, 1, 1))


async def test_the_model_is_asked_for_the_artifact_as_a_judge() -> None:
    extractor, model = extractor_of(found("2"))
    subject = subject_of(SETUP, ITEM, deadline=9.0)

    assert await extractor.extract(ANSWER, subject) == "2"

    (asked,) = model.requests
    assert (asked.role, asked.deadline, asked.max_tokens) == ("judge", 9.0, 8192)
    assert asked.schema is not None
    assert asked.schema["required"] == ["thought", "artifact"]
    assert asked.messages[1].content == (
        "<artifact>\nanswer\n</artifact>\n<requirement>\nin lowest terms\n</requirement>\n"
        "<conversation>\n<turn user>\nhelp with a quadratic?\n"
        "<turn ai>\nWhich equation?\n<turn user>\nx^2 + x = 6\n"
        "<turn ai>\nx = 2\n</conversation>"
    )
    assert subject.ledger.of("judge").calls == 1


async def test_settings_say_how_it_is_asked() -> None:
    extractor, model = extractor_of(
        found("2"),
        schema=False,
        system_role=False,
        max_artifact_tokens=77,
        transcripts={"extract": STYLES["markdown"], "accuracy": STYLES["json"]},
    )

    await extractor.extract(Wanted("answer"), subject_of(SETUP, ITEM))

    (asked,) = model.requests
    assert (asked.schema, asked.max_tokens) == (None, 77)
    (message,) = asked.messages
    assert "<requirement>\n\n</requirement>" in message.content
    assert message.content.endswith("**User**: x^2 + x = 6\n**Assistant**: x = 2\n</conversation>")


@pytest.mark.parametrize("key", ["artifact", "final_completion"])
@pytest.mark.parametrize(
    "text", ["2", "", "42", "true", "null", "1e999", " a\n\n", 'def f():\n    return {"a": "b"}\n']
)
def test_every_text_is_a_text(text: str, key: str) -> None:
    assert read(found(text, key)) == text


@pytest.mark.parametrize(
    ("reply", "artifact"),
    [
        ('{"artifact": 42}', "42"),
        ('{"artifact": 1_000}', "1_000"),
        ("<think>{'artifact': 'x'}</think>{'artifact': 'y'}", "y"),
        ('```json\n{"thought": "t", "artifact": "a"}\n```', "a"),
        ("{'thought': 't', 'artifact': '''line\nline'''}", "line\nline"),
        ('{"thought": "t", "artifact": ""}', ""),
        ('{"final_completion": "theirs", "artifact": "ours"}', "ours"),
        ('{"artifact": null, "final_completion": "theirs"}', "theirs"),
        ('{"artifact": "a {\\"artifact\\": \\"b\\"}"}', 'a {"artifact": "b"}'),
        ('{"artifact": "no end', "no end"),
        ('{"artifact": null}', None),
        ('{"artifact": ["a"]}', None),
        ('{"artifact": {"a": "b"}}', None),
        ('{"artifact": true}', None),
        ('{"thought": "there is none"}', None),
        ("There is none.", None),
        ("", None),
    ],
)
def test_what_a_reply_holds(reply: str, artifact: str | None) -> None:
    assert read(reply) == artifact


@pytest.mark.parametrize(
    ("reply", "artifact"),
    [('{"artifact": "half of it', None), ('{"artifact": "all of it"}', "all of it")],
)
def test_a_reply_at_the_limit_on_its_length_counts_if_it_is_whole(
    reply: str, artifact: str | None
) -> None:
    assert read_artifact(ChatReply(reply, 1, 1, finish="length")) == artifact


async def test_a_reply_that_was_cut_off_is_a_failed_attempt() -> None:
    model = FinishingChat('{"thought": "t", "artifact": "half', "length")
    extractor, _ = extractor_of(model=model, attempts=2)

    with pytest.raises(Upstream):
        await extractor.extract(ANSWER, subject_of(SETUP, ITEM))

    assert len(model.requests) == 2


async def test_an_unusable_reply_is_asked_for_again_with_another_seed() -> None:
    extractor, model = extractor_of(in_turn("hm", '{"artifact": []}', found("2")))
    subject = subject_of(SETUP, ITEM)

    assert await extractor.extract(ANSWER, subject) == "2"

    assert len({asked.seed for asked in model.requests}) == 3
    assert len({asked.messages for asked in model.requests}) == 1
    account = subject.ledger.of("judge")
    assert (account.calls, account.retries) == (3, 2)


async def test_without_a_text_the_extraction_fails_as_such() -> None:
    extractor, model = extractor_of("the secret of the conversation", attempts=2)

    with pytest.raises(Upstream) as failed:
        await extractor.extract(ANSWER, subject_of(SETUP, ITEM))

    assert failed.value.reason is Reason.EXTRACTION_FAILED
    assert failed.value.metadata == {"artifact": "answer", "kind": "malformed"}
    assert "secret" not in failed.value.message
    assert len(model.requests) == 2


async def test_what_the_model_server_says_passes_through() -> None:
    told = LimitReached(Reason.BUDGET_EXHAUSTED, "no money")

    def refuse(request: object) -> str:
        raise told

    model = ScriptedChat(refuse)
    extractor, _ = extractor_of(model=model)
    with pytest.raises(LimitReached) as failed:
        await extractor.extract(ANSWER, subject_of(SETUP, ITEM))

    assert failed.value is told
    assert len(model.requests) == 1


async def test_rules_extract_nothing() -> None:
    with pytest.raises(Upstream) as failed:
        await NoExtractor().extract(ANSWER, subject_of(SETUP, ITEM))

    assert failed.value.reason is Reason.EXTRACTION_FAILED
