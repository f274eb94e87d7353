"""Texts inside a prompt, in which none can pass for anything else.

Every message of a conversation begins with a tag and ends where the next one begins or the block
around all of them ends; every other text stands in a block of its own between tags. A text that
spells such a tag, or a control token by which chat templates separate messages, is shown with its
`<` or `[` written as an entity: what is said by a candidate, which training pushes towards whatever
the judge rewards, can then neither end its block nor start one. All else is shown as it was said.

The text grows by appending alone: that of a longer conversation begins with that of a shorter one,
so that a backend's prefix cache serves every turn from the one before.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from foresight_services.core.conversation import Conversation, Role

SPEAKERS: Final[dict[Role, str]] = {"user": "user", "assistant": "ai"}
"""Who is shown; system messages are between the assistant and its operator."""

DELIMITERS: Final = (
    "turn",
    "conversation",
    "situation",
    "goal",
    "reference",
    "completion",
    "artifact",
    "requirement",
    "criteria",
    "first",
    "second",
)
"""The tags between which prompts put texts; a prompt that uses another is not safe."""

# White space and what is shown as nothing at all.
_GAP: Final = r"[\s\u00ad\u200b-\u200f\u2060-\u2064\ufeff]*+"
_TAG: Final = rf"<(?={_GAP}/?{_GAP}(?i:{'|'.join(DELIMITERS)})\b)"
# As the templates of Llama, Qwen, Mistral, Gemma, Phi, DeepSeek and GPT spell their tokens.
_CONTROL: Final = (
    r"<(?=[|｜])|<(?=/?s>)|<(?=<?/?SYS>)|<(?=(?:start|end)_of_turn>)"
    r"|<(?=(?:bos|eos|pad|unk)>)|\[(?=/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_\w{1,12})\])"
)
_FORGED: Final = re.compile(f"{_TAG}|{_CONTROL}")
_ENTITIES: Final = {"<": "&lt;", "[": "&#91;"}


@dataclass(frozen=True, slots=True)
class TranscriptStyle:
    """How conversations and other texts are shown inside a prompt."""

    name: str
    """Its name in the configuration."""
    turns: Callable[[Conversation], str]
    """Shows the messages of user and assistant; system messages are left out."""
    text: Callable[[str], str]
    """Shows any other text."""


def harmless(text: str) -> str:
    """Return `text` with the tags and control tokens that it spells made readable only."""
    # Almost no message has a character by which one begins, and there may be thousands a second.
    if "<" not in text and "[" not in text:
        return text
    return _FORGED.sub(lambda found: _ENTITIES[found[0]], text)


def render_turns(conversation: Conversation) -> str:
    """Return the messages of user and assistant, each from its tag up to the next one's."""
    return "\n".join(
        f"<turn {SPEAKERS[message.role]}>\n{harmless(message.content)}"
        for message in conversation
        if message.role in SPEAKERS
    )


def _lines(form: str) -> Callable[[Conversation], str]:
    def turns(conversation: Conversation) -> str:
        return "\n".join(
            form.format(speaker=message.role.capitalize(), content=message.content)
            for message in conversation
            if message.role in SPEAKERS
        )

    return turns


def _json(conversation: Conversation) -> str:
    return json.dumps(
        [
            {"role": message.role, "content": message.content}
            for message in conversation
            if message.role in SPEAKERS
        ]
    )


def _as_it_is(text: str) -> str:
    return text


BLOCKS: Final = TranscriptStyle("blocks", render_turns, harmless)

STYLES: Final[Mapping[str, TranscriptStyle]] = MappingProxyType(
    {
        style.name: style
        for style in (
            BLOCKS,
            TranscriptStyle("markdown", _lines("**{speaker}**: {content}"), _as_it_is),
            TranscriptStyle("plain", _lines("{speaker}: {content}"), _as_it_is),
            TranscriptStyle("json", _json, _as_it_is),
        )
    }
)
"""Every style by its name. Only `blocks` keeps a message from passing for another; the others show
texts as they are, for prompts that were written for CollabLLM (its `utils/template.py` and its
example metrics)."""
