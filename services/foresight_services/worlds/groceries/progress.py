"""What a conversation has settled so far: the one view that shopper, policies and judge share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from foresight_services.core.conversation import Conversation
from foresight_services.worlds.groceries.language import Reader
from foresight_services.worlds.groceries.needs import Knowledge
from foresight_services.worlds.world import TERMINATION_SIGNAL


@dataclass(frozen=True, slots=True)
class Progress:
    """State of one conversation."""

    said: Mapping[str, str | None]
    """Latest statement of the shopper: need id -> value name, or None for "don't mind"."""
    asked: frozenset[str]
    """Ids of the needs that the assistant has asked about, in any message."""
    asks: frozenset[str]
    """Ids of the needs that the assistant's last message asks about."""
    order: Mapping[str, str] | None
    """The first order: value name of every need; None if there is none, or the shopper left."""
    left: bool
    """Whether the shopper ended the chat before any order."""


def review(conversation: Conversation, reader: Reader, knowledge: Knowledge) -> Progress:
    """Read `conversation` from start to end."""
    said: dict[str, str | None] = {}
    asked: frozenset[str] = frozenset()
    asks: frozenset[str] = frozenset()
    order: dict[str, str] | None = None
    left = False
    for message in conversation:
        if message.role == "user":
            said.update(reader.shopper(message.content))
            left = left or (order is None and TERMINATION_SIGNAL in message.content)
        elif message.role == "assistant":
            heard = reader.assistant(message.content)
            asks = heard.asks
            asked |= asks
            if heard.order is not None and order is None and not left:
                order = {need.id: said.get(need.id) or need.assumed for need in knowledge.needs}
                order.update(heard.order)
    return Progress(said, asked, asks, order, left)
