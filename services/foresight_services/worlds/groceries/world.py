"""The world "groceries": an order with needs that the shopper does not mention until asked.

A shopper cares about some needs and about no others, and loses patience over needless questions. An
assistant does best by asking for what probably matters, then ordering: what it does not know it
assumes, and an address is assumed wrongly most of the time.
"""

from __future__ import annotations

import random
from functools import lru_cache
from pathlib import Path
from typing import Final

from foresight_services.core.conversation import Conversation, messages_by
from foresight_services.worlds.groceries import sentences
from foresight_services.worlds.groceries.goals import format_goal, parse_goal
from foresight_services.worlds.groceries.language import Reader
from foresight_services.worlds.groceries.needs import Goal, Need, load_knowledge
from foresight_services.worlds.groceries.policies import SKILLS, Policies
from foresight_services.worlds.groceries.progress import review

_CACHED_GOALS: Final = 1024
_LONGEST_CACHED: Final = 1000
"""Characters. Only spaces make a goal longer, and such goals need not be quick."""


class Groceries:
    """Rules of the world. Immutable but for bounded caches; safe to share between tasks."""

    def __init__(self, needs_file: Path | None = None) -> None:
        """Read the needs file, the packaged one by default; a mistake in it is a `ValueError`."""
        self.knowledge = load_knowledge(needs_file)
        self.reader = Reader(self.knowledge)
        self._policies = Policies(self.knowledge)
        self._short_goal = lru_cache(_CACHED_GOALS)(self._parse_goal)

    @property
    def name(self) -> str:
        """The name by which tasks and configuration refer to this world."""
        return "groceries"

    @property
    def skills(self) -> tuple[str, ...]:
        """Names of the rule-based policies, weakest first."""
        return SKILLS

    def check_goal(self, goal: str) -> str | None:
        """Return None if `goal` lists needs with their values, else one sentence on what would."""
        try:
            self._goal(goal)
        except ValueError as error:
            return f"{error}."
        return None

    def draw_goal(self, prefix: Conversation, rng: random.Random) -> str:
        """Draw the needs that matter: as stated in `prefix`, otherwise independently by chance.

        A prefix in which the shopper states two things of one need is a `ValueError`. The
        assistant's questions reveal nothing by themselves.
        """
        said = self._consistent_statements(prefix)
        goal: dict[str, str] = {}
        for need in self.knowledge.needs:
            if need.id in said:
                if (value := said[need.id]) is not None:
                    goal[need.id] = value
            elif rng.random() < need.matters:
                goal[need.id] = _draw_value(need, rng)
        return format_goal(goal, self.knowledge)

    def user_turn(self, goal: str, conversation: Conversation, rng: random.Random) -> str:
        """Return the shopper's reply; the opening when the assistant has not spoken yet.

        An order, now or earlier, gets the last word. Each need asked about that does not matter,
        or that the shopper has stated before, ends the chat with the chance `impatience`; otherwise
        all of them are answered.
        """
        wanted = self._goal(goal)
        if not messages_by("assistant", conversation):
            return sentences.OPENING
        progress = review(conversation, self.reader, self.knowledge)
        if (order := progress.order) is not None:
            wrong = [
                need.value(wanted[need.id]).says
                for need in self.knowledge.needs
                if need.id in wanted and order[need.id] != wanted[need.id]
            ]
            return sentences.rejects(wrong) if wrong else sentences.ACCEPTS
        if progress.left:
            return sentences.GIVES_UP
        if not progress.asks:
            return sentences.NUDGE
        needless = sum(need not in wanted or need in progress.said for need in progress.asks)
        if needless and rng.random() >= (1 - self.knowledge.impatience) ** needless:
            return sentences.GIVES_UP
        return " ".join(
            need.value(wanted[need.id]).says if need.id in wanted else sentences.does_not_mind(need)
            for need in self.knowledge.needs
            if need.id in progress.asks
        )

    def policy_turn(self, skill: str, conversation: Conversation, rng: random.Random) -> str:
        """Return the reply of the policy `skill`: questions about needs, or the order."""
        progress = review(conversation, self.reader, self.knowledge)
        questions = self._policies.questions(skill, progress, rng)
        return sentences.asks(questions) if questions else sentences.ORDERS

    def success(self, goal: str, conversation: Conversation) -> float:
        """Return the share of the needs that matter which the first order meets.

        1 if an order was placed and nothing matters; 0 without an order, or if the shopper left
        before it.
        """
        wanted = self._goal(goal)
        order = review(conversation, self.reader, self.knowledge).order
        if order is None:
            return 0.0
        if not wanted:
            return 1.0
        return sum(order[need] == value for need, value in wanted.items()) / len(wanted)

    def _goal(self, goal: str) -> Goal:
        return self._short_goal(goal) if len(goal) <= _LONGEST_CACHED else self._parse_goal(goal)

    def _parse_goal(self, goal: str) -> Goal:
        return parse_goal(goal, self.knowledge)

    def _consistent_statements(self, prefix: Conversation) -> dict[str, str | None]:
        said: dict[str, str | None] = {}
        for message in prefix:
            if message.role != "user":
                continue
            for need, value in self.reader.shopper(message.content):
                if said.setdefault(need, value) != value:
                    raise ValueError(
                        f"the prefix contradicts itself about {need}: "
                        f"'{said[need] or 'does not matter'}' and '{value or 'does not matter'}'"
                    )
        return said


def _draw_value(need: Need, rng: random.Random) -> str:
    weights = [value.probability for value in need.values]
    return rng.choices(need.values, weights)[0].name
