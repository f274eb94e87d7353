"""The port of a builtin world: rules that play the user, the policy and the judge without a model.

A world is a pure function of its arguments: every draw comes from the `random.Random` handed in,
so equal seeds give equal conversations in every process. All parts speak ordinary English, so a
candidate written by a person, a rule or a language model is treated alike.
"""

from __future__ import annotations

import random
from typing import Final, Protocol

from foresight_services.core.conversation import Conversation

TERMINATION_SIGNAL: Final = "[[TERMINATE CHAT]]"
"""What a world's user appends to the message with which it ends the chat (CollabLLM's default)."""


class World(Protocol):
    """Rules of one world. Implementations are immutable and safe to share between tasks."""

    @property
    def name(self) -> str:
        """The name by which tasks and configuration refer to this world."""
        ...

    @property
    def skills(self) -> tuple[str, ...]:
        """Names of the rule-based policies, weakest first."""
        ...

    def check_goal(self, goal: str) -> str | None:
        """Return None if `goal` names a goal of this world, else one sentence on what would."""
        ...

    def draw_goal(self, prefix: Conversation, rng: random.Random) -> str:
        """Draw what the user wants from its distribution given what `prefix` already reveals."""
        ...

    def user_turn(self, goal: str, conversation: Conversation, rng: random.Random) -> str:
        """Return the user's reply to `conversation`, or what opens it.

        Its last message is the assistant's; where the assistant has not spoken, the user opens.
        Ends with `TERMINATION_SIGNAL` when the user ends the chat with this message.
        """
        ...

    def policy_turn(self, skill: str, conversation: Conversation, rng: random.Random) -> str:
        """Return the assistant's reply of the policy `skill`, which does not know the goal."""
        ...

    def success(self, goal: str, conversation: Conversation) -> float:
        """Return to what degree, from 0 to 1, the assistant reached `goal` in `conversation`."""
        ...
