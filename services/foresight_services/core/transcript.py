"""A conversation as text inside a prompt, in which no message can pass for anything else.

Every message stands in a block of its own. A text that spells the tags of such blocks, or the
control tokens by which chat templates separate messages, is shown with its `<` or `[` written as
an entity: what is said by a candidate, which training pushes towards whatever the judge rewards,
can then neither end its block nor start one. All else is shown as it was said.

The text grows by appending alone: that of a longer conversation begins with that of a shorter one,
so that a backend's prefix cache serves every turn from the one before.
"""

from __future__ import annotations

import re
from typing import Final

from foresight_services.core.conversation import Conversation, Role

SPEAKERS: Final[dict[Role, str]] = {"user": "user", "assistant": "assistant"}
"""Who is shown; system messages are between the assistant and its operator."""

_TAG: Final = r"<(?=\s{0,4}/?\s{0,4}(?i:turn|conversation)\b)"
# As the templates of Llama, Qwen, Mistral, Gemma, Phi, DeepSeek and GPT spell their tokens.
_CONTROL: Final = (
    r"<(?=[|｜])|<(?=/?s>)|<(?=<?/?SYS>)|<(?=(?:start|end)_of_turn>)"
    r"|<(?=(?:bos|eos|pad|unk)>)|\[(?=/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_\w{1,12})\])"
)
_FORGED: Final = re.compile(f"{_TAG}|{_CONTROL}")
_ENTITIES: Final = {"<": "&lt;", "[": "&#91;"}


def harmless(text: str) -> str:
    """Return `text` with the tags and control tokens that it spells made readable only."""
    return _FORGED.sub(lambda found: _ENTITIES[found[0]], text)


def render_turns(conversation: Conversation) -> str:
    """Return the messages of user and assistant as blocks, each ended by a line break."""
    return "".join(
        f"<turn {SPEAKERS[message.role]}>\n{harmless(message.content)}\n</turn>\n"
        for message in conversation
        if message.role in SPEAKERS
    )
