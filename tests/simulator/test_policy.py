"""The prompted policy: its system message, its limits, its replies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from foresight_services.core.conversation import Conversation, Message
from foresight_services.core.ports import ChatReply, ChatRequest
from foresight_services.simulator.prompting.policy import (
    PromptedPolicy,
    PromptedPolicySettings,
    load_policy_prompts,
)
from tests.fakes.asking import TALK, ask
from tests.fakes.chat import ScriptedChat

SYSTEM = load_policy_prompts()["policy_system"].text
PROACTIVE = load_policy_prompts()["policy_proactive"].text
OPEN: Conversation = TALK[:5]
THEIRS = Message("system", "You are a poet.")


def prompted(conversation: Conversation = OPEN, **given: Any) -> Conversation:
    """Return what the policy's model is sent."""
    flags = {name: given.pop(name, False) for name in ("system_prompt", "proactive")}
    policy = PromptedPolicy(ScriptedChat(""), settings=PromptedPolicySettings(**given))
    return policy.prompt(ask("policy", conversation=conversation, **flags))


def test_the_conversation_is_sent_as_it_is() -> None:
    assert prompted() == OPEN
    assert prompted((THEIRS, *OPEN)) == (THEIRS, *OPEN)


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        ({"system_prompt": True}, SYSTEM),
        ({"proactive": True}, PROACTIVE),
        ({"system_prompt": True, "proactive": True}, f"{SYSTEM}\n\n{PROACTIVE}"),
    ],
)
def test_what_is_added_is_one_system_message(flags: dict[str, Any], text: str) -> None:
    assert prompted(**flags) == (Message("system", text), *OPEN)
    merged = Message("system", f"{text}\n\n{THEIRS.content}")
    assert prompted((THEIRS, *OPEN), **flags) == (merged, *OPEN)


def test_a_prefix_that_has_the_system_prompt_gets_no_second_one() -> None:
    conversation = (Message("system", f"{SYSTEM}\n\nYou are a poet."), *OPEN)

    assert prompted(conversation, system_prompt=True) == conversation


def test_the_prefixs_system_message_can_be_replaced() -> None:
    conversation = (THEIRS, *OPEN)
    replaced = prompted(conversation, system_prompt=True, existing_system="replace")
    kept = prompted(conversation, proactive=True, existing_system="replace")

    assert replaced == (Message("system", SYSTEM), *OPEN)
    assert kept == (Message("system", f"{PROACTIVE}\n\n{THEIRS.content}"), *OPEN)


def test_without_a_system_role_the_first_user_message_begins_with_it() -> None:
    shown = prompted((THEIRS, *OPEN), system_prompt=True, system_role=False)

    first = Message("user", f"{SYSTEM}\n\n{THEIRS.content}\n\n{OPEN[0].content}")
    assert shown == (first, *OPEN[1:])


def test_the_prompt_grows_by_appending_only() -> None:
    shorter, longer = prompted(OPEN[:3], proactive=True), prompted(OPEN, proactive=True)

    assert longer[: len(shorter)] == shorter


@pytest.mark.parametrize(
    ("reply", "text", "finish"),
    [
        ("  A poem. \n", "A poem.", "stop"),
        ("<think>tulips?</think>\n\nA poem.", "A poem.", "stop"),
        ("<think>tulips, tulips", "", "stop"),
        ("one two three four", "one two three", "length"),
        ("a -------- b", "a --", "length"),
    ],
)
async def test_a_reply_is_trimmed_to_what_a_user_would_see(
    reply: str, text: str, finish: str
) -> None:
    class Says:
        async def complete(self, request: ChatRequest) -> ChatReply:
            return ChatReply(reply, 1, 1, others=("x",))

    got = await PromptedPolicy(Says()).complete(ask("policy", max_tokens=3))

    assert got == ChatReply(text, 1, 1, finish=finish)  # type: ignore[arg-type]


async def test_a_reply_cut_off_at_its_limit_is_kept_and_says_so() -> None:
    class Cut:
        async def complete(self, request: ChatRequest) -> ChatReply:
            return ChatReply("Roses are", 1, 2, finish="length")

    got = await PromptedPolicy(Cut()).complete(ask("policy"))

    assert (got.text, got.finish) == ("Roses are", "length")


async def test_thinking_can_be_kept() -> None:
    settings = PromptedPolicySettings(strip_thinking=False)
    policy = PromptedPolicy(ScriptedChat("<think>t</think>A"), settings=settings)

    assert (await policy.complete(ask("policy"))).text == "<think>t</think>A"


async def test_limits_and_stops_are_passed_on_and_the_template_is_left_to_the_server() -> None:
    model = ScriptedChat("A poem.")
    policy = PromptedPolicy(model, settings=PromptedPolicySettings(stop=("###", "User:")))

    await policy.complete(ask("policy", conversation=OPEN, stop=("END", "###"), max_tokens=9))

    (asked,) = model.requests
    assert asked.stop == ("END", "###", "User:")
    assert (asked.max_tokens, asked.messages, asked.schema) == (9, OPEN, None)


def test_prompts_can_be_replaced(tmp_path: Path) -> None:
    mine = tmp_path / "mine.txt"
    mine.write_text("Help with: {description}", "utf-8")
    prompts = load_policy_prompts({"policy_system": mine})
    policy = PromptedPolicy(ScriptedChat(""), prompts=prompts)

    shown = policy.prompt(ask("policy", conversation=OPEN, system_prompt=True))

    assert shown[0] == Message("system", "Help with: A person gets help with a poem.")
    assert policy.digest != PromptedPolicy(ScriptedChat("")).digest
