"""What a user model answered: the person's message, and whether they leave with it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from foresight_services.core.loose_json import (
    NESTED,
    LooseObject,
    Value,
    clean,
    looks_like_object,
    read_object,
)
from foresight_services.core.objective import JsonValue
from foresight_services.core.thinking import without_thinking

USER_REPLY_SCHEMA: Final[Mapping[str, JsonValue]] = {
    "type": "object",
    "properties": {
        "thought": {"type": "string"},
        "message": {"type": "string"},
        "done": {"type": "boolean"},
    },
    "required": ["thought", "message", "done"],
    "additionalProperties": False,
}
"""The reply of a user model, for backends that can enforce a schema."""

MESSAGE_KEYS: Final = ("message", "response")
"""Names of the message; the second for prompts written for CollabLLM's simulator."""

_KEYS: Final = (*MESSAGE_KEYS, "thought", "done")
_LABEL: Final = re.compile(r"\s*\**(?:user|human|person)\**:\**\s+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class UserReply:
    """A reply that could be read."""

    message: str
    """The person's message, white space around it removed; always a string."""
    done: bool
    """Whether the person leaves with it."""


def parse_user_reply(text: str, *, plain_text: bool = True) -> UserReply | None:
    """Return what `text` says, or None where it cannot be told.

    Args:
        text: the model's reply.
        plain_text: whether a text that is no JSON, nor was meant as such, is the message itself.
    """
    if not text.lstrip().startswith("{"):
        text = without_thinking(text)
    found = read_object(text, MESSAGE_KEYS)
    if found is not None:
        return _from_object(found)
    if not plain_text or looks_like_object(text, _KEYS):
        return None
    return UserReply(
        clean(_LABEL.sub("", text, count=1) if _LABEL.match(text) else text).strip(), False
    )


def _from_object(found: LooseObject) -> UserReply | None:
    done = _as_text(found.members.get("done")).strip().lower() in ("true", "yes", "1")
    for key in MESSAGE_KEYS:
        value = found.members.get(key, NESTED)
        if value is not NESTED:
            return UserReply(_as_text(value).strip(), done)
    return None


def _as_text(value: Value) -> str:
    """Return a bare `true` or `42` as the text that it was; null is nothing said."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else ""
