"""The sentences that the rule-based shopper and assistants say."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from foresight_services.worlds.groceries.needs import Need
from foresight_services.worlds.world import TERMINATION_SIGNAL

OPENING: Final = "Can you help me buy groceries?"
"""How a shopper opens the chat."""
NUDGE: Final = "Could you help me order, please?"
"""The shopper's reply to a message that neither asks about a need nor places an order."""
GIVES_UP: Final = f"This takes too long, I will shop myself. {TERMINATION_SIGNAL}"
"""The shopper's last message when out of patience."""
ACCEPTS: Final = f"Thank you, that is just what I need. {TERMINATION_SIGNAL}"
"""The shopper's last message after an order with nothing wrong."""
ORDERS: Final = "I'll place the order now."
"""An assistant's order, with all that the shopper said and assumptions for the rest."""


def asks(needs: Iterable[Need]) -> str:
    """Return the message in which an assistant asks about `needs`."""
    return " ".join(["Happy to help!", *(need.question for need in needs)])


def does_not_mind(need: Need) -> str:
    """Return how the shopper answers a question about a need that does not matter."""
    return f"I don't mind about {need.label}."


def rejects(corrections: Iterable[str]) -> str:
    """Return the shopper's last message after an order that fails needs."""
    return " ".join(["That is not what I need.", *corrections, TERMINATION_SIGNAL])
