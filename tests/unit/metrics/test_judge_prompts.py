"""The prompts of judge and extraction: what they show, in which order and style."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from foresight_services.core.conversation import Message
from foresight_services.core.errors import InvalidInput
from foresight_services.core.task import Task
from foresight_services.core.transcript import STYLES
from foresight_services.metrics.judging.prompted import (
    Asker,
    PromptedJudgeSettings,
    load_judge_prompts,
)
from tests.fakes.chat import ScriptedChat
from tests.fakes.evaluation import subject_of
from tests.fakes.judging import ITEM, OWN_FIELDS, PROMPTS, SETUP, asker

SUBJECT = subject_of(SETUP, ITEM)


@pytest.mark.parametrize("name", OWN_FIELDS)
def test_the_instructions_are_fixed_and_what_a_goal_shares_comes_first(name: str) -> None:
    other = replace(ITEM, messages=(Message("user", "thanks"),))
    fields = dict.fromkeys(OWN_FIELDS[name], "same")

    one, two = (asker().prompt(name, fields, subject_of(SETUP, item)) for item in (ITEM, other))

    assert [message.role for message in one] == ["system", "user"]
    assert one[0] == two[0] == Message("system", PROMPTS[f"{name}_system"].text)
    if "{conversation}" in PROMPTS[f"{name}_task"].text:
        shared = one[1].content.index("x^2 + x = 6")
        assert two[1].content[:shared] == one[1].content[:shared]


@pytest.mark.parametrize("name", OWN_FIELDS)
def test_the_instructions_ask_for_reasons_first_and_warn_of_what_is_said(name: str) -> None:
    text = PROMPTS[f"{name}_system"].text
    reasons, result = {"extract": ("thought", "artifact"), "rubric": ("rationale", "number")}.get(
        name, ("rationale", name)
    )

    asked = text.rpartition("Reply with one JSON object only")[2]
    assert 0 < asked.index(reasons) < asked.rindex(result)
    assert "not instructions" in text


def test_texts_and_messages_are_shown_in_the_style_of_the_question() -> None:
    styled = asker(transcripts={"accuracy": STYLES["json"], "extract": STYLES["markdown"]})
    said = (Message("system", "no"), Message("user", "é"))

    checked = styled.prompt("accuracy", {"completion": said}, SUBJECT)[1].content
    taken = styled.prompt("extract", {"artifact": "</goal>", "requirement": ""}, SUBJECT)
    scored = styled.prompt("success", {}, SUBJECT)[1].content

    assert '<completion>\n[{"role": "user", "content": "\\u00e9"}]\n</completion>' in checked
    assert "<artifact>\n</goal>\n</artifact>\n<requirement>\n\n</requirement>" in taken[1].content
    assert "\n**User**: x^2 + x = 6\n**Assistant**: x = 2\n</conversation>" in taken[1].content
    assert "<turn user>\nx^2 + x = 6\n<turn ai>" in scored


def test_what_a_task_lacks_is_told() -> None:
    setup = replace(SETUP, task=Task())

    prompt = asker().prompt("success", {}, subject_of(setup, replace(ITEM, goal="")))[1].content

    assert prompt.startswith(
        "<situation>\nAn open conversation.\n</situation>\n<goal>\n\n</goal>\n"
        "<reference>\n(none)\n</reference>"
    )


def test_without_a_system_role_all_is_one_user_message() -> None:
    system, user = asker().prompt("success", {}, SUBJECT)

    (message,) = asker(system_role=False).prompt("success", {}, SUBJECT)

    assert message == Message("user", f"{system.content}\n\n{user.content}")


def test_replaced_prompts_are_sent_byte_for_byte_and_an_empty_one_not_at_all(
    tmp_path: Path,
) -> None:
    system, task = tmp_path / "system.txt", tmp_path / "task.txt"
    system.write_bytes(b"\n")
    task.write_bytes(b'  {goal}|{reference}|{conversation} {"thought": 1}\r\n \n\n')
    prompts = load_judge_prompts({"success_system": system, "success_task": task})
    styles = {"success": STYLES["plain"]}
    settings = PromptedJudgeSettings(transcripts=styles)

    sent = Asker(ScriptedChat(""), settings=settings, prompts=prompts).prompt(
        "success", {}, SUBJECT
    )

    said = "User: help with a quadratic?\nAssistant: Which equation?\nUser: x^2 + x = 6"
    expected = f'  {ITEM.goal}|x is 2|{said}\nAssistant: x = 2 {{"thought": 1}}\r\n \n'
    assert sent == (Message("user", expected),)


@pytest.mark.parametrize(
    ("name", "text", "wrong"),
    [
        ("accuracy_task", "{reference}", "lacks the field {completion}"),
        ("accuracy_task", "{completion}", "lacks the field {reference}"),
        ("rubric_task", "{conversation}", "lacks the field {criteria}"),
        ("preference_task", "{first}{conversation}", "lacks the field {second}"),
        ("extract_task", "{conversation}", "lacks the field {artifact}"),
        ("extract_task", "{artifact}{conversation}{reference}", "{reference} is no field"),
        ("interactivity_task", "{goal}", "lacks the field {conversation}"),
        ("success_system", "{conversation}", "{conversation} is no field"),
    ],
)
def test_a_replaced_prompt_must_have_what_its_question_needs(
    tmp_path: Path, name: str, text: str, wrong: str
) -> None:
    file = tmp_path / "mine.txt"
    file.write_text(text, "utf-8")

    with pytest.raises(InvalidInput) as refused:
        load_judge_prompts({name: file})

    (violation,) = refused.value.violations
    assert violation.field == f"prompts.{name}"
    assert wrong in violation.description
