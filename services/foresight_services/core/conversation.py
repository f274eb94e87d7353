"""The nouns of a conversation: immutable, free of any wire format."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

Role = Literal["system", "user", "assistant"]

ROLES: Final[tuple[Role, ...]] = ("system", "user", "assistant")


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation."""

    role: Role
    """Who speaks: `system`, `user` or `assistant`."""
    content: str
    """The text as it was said, termination signal included."""


Conversation = tuple[Message, ...]
"""Messages in the order in which they were said."""


def next_speaker(conversation: Conversation) -> Role:
    """Return who speaks next: the assistant after a user message, else the user.

    Source: CollabLLM `simulation.py`, starter rule (also for an empty conversation and one that
    ends with a system message).
    """
    return "assistant" if conversation and conversation[-1].role == "user" else "user"


def messages_by(role: Role, conversation: Iterable[Message]) -> int:
    """Count the messages of `role`."""
    return sum(message.role == role for message in conversation)
