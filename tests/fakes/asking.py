"""Requests for single messages, as the simulation makes them."""

from __future__ import annotations

from typing import Any

from foresight_services.core.conversation import Conversation, Message
from foresight_services.core.ports import ChatRequest
from foresight_services.core.task import Task
from foresight_services.core.usage import Ledger

SIGNAL = "[[TERMINATE CHAT]]"

POEM = Task(
    description="A person gets help with a poem.",
    guidance="The poem is for a birthday card.",
    goal="A four-line poem about grandmother's garden, rhymed, with tulips in it.",
)

TALK: Conversation = (
    Message("user", "hi, can you write me a poem?"),
    Message("assistant", "Sure! What should it be about?"),
    Message("user", "my grandma's garden"),
    Message("assistant", "Lovely. Should it rhyme?"),
    Message("user", "yes please"),
    Message("assistant", "Which flowers grow there?"),
)


def ask(role: Any = "user", **fields: Any) -> ChatRequest:
    """Return a request for the next message of `role`."""
    given: dict[str, Any] = {
        "role": role,
        "task": POEM,
        "conversation": TALK,
        "seed": 7,
        "max_tokens": 50,
        "ledger": Ledger(),
        **fields,
    }
    return ChatRequest(**given)
