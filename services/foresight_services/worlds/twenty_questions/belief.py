"""What a conversation tells about the secret, and how probable that makes each thing.

Every thing is equally probable at first. An answer about an attribute contradicts some things; a
thing contradicted k times keeps the weight (error_rate / (1 - error_rate)) ** k, because answers
err independently. So the things contradicted equally often form one set, and the belief is the
list of those sets. Replies to guesses never err.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from foresight_services.core.conversation import Conversation
from foresight_services.worlds.twenty_questions.knowledge import Knowledge, members
from foresight_services.worlds.twenty_questions.language import Language
from foresight_services.worlds.twenty_questions.moves import Ask, Guess, Move

_CACHED_BELIEFS = 32768


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was asked and answered so far; equal evidence means equal belief."""

    asked: int
    """Bitmask of the attributes asked about, answered or not."""
    replies: tuple[tuple[int, bool], ...]
    """Sorted: an attribute and whether the user said that it holds; once per answer."""
    denied: int
    """Bitmask of the things guessed and denied."""
    confirmed: int | None
    """Bitmask of the things that every confirmed guess named; None when no guess was confirmed."""


def read_evidence(conversation: Conversation, language: Language) -> Evidence:
    """Collect what the user's replies in `conversation` reveal.

    A reply belongs to the assistant message right before it, system messages aside.
    """
    asked = denied = 0
    confirmed: int | None = None
    replies: list[tuple[int, bool]] = []
    move: Move | None = None
    for message in conversation:
        if message.role == "assistant":
            move = language.parse(message.content)
            if isinstance(move, Ask):
                asked |= 1 << move.attribute
        elif message.role == "user":
            said_yes = None if move is None else language.answer(message.content)
            if said_yes is not None:
                if isinstance(move, Ask):
                    replies.append((move.attribute, said_yes ^ move.negated))
                elif isinstance(move, Guess):
                    thing = 1 << move.thing
                    if said_yes:
                        confirmed = thing if confirmed is None else confirmed & thing
                    else:
                        denied |= thing
            move = None
    replies.sort()
    return Evidence(asked, tuple(replies), denied, confirmed)


@dataclass(frozen=True, slots=True)
class Belief:
    """A distribution over things that gives equal weight within each set."""

    sets: tuple[tuple[int, float], ...]
    """Disjoint bitmasks that are not empty, each with the weight of one member, heaviest first."""
    total: float
    """Sum of the weights of all members."""

    @property
    def possible(self) -> int:
        """Bitmask of the things with positive probability."""
        possible = 0
        for things, _ in self.sets:
            possible |= things
        return possible

    @property
    def likeliest(self) -> int:
        """Bitmask of the most probable things."""
        return self.sets[0][0]

    def probability(self, things: int) -> float:
        """Return the probability that the secret is in the bitmask `things`."""
        weight = sum((part & things).bit_count() * each for part, each in self.sets)
        return weight / self.total

    def draw(self, rng: random.Random) -> int:
        """Draw the index of a thing."""
        left = rng.random() * self.total
        for things, each in self.sets:
            count = things.bit_count()
            if left < count * each:
                break
            left -= count * each
        # Rounding may leave the draw just past the last member.
        return tuple(members(things))[min(int(left / each), count - 1)]


def belief_reader(knowledge: Knowledge, error_rate: float) -> Callable[[Evidence], Belief | None]:
    """Return the cached function from evidence to the belief; None when nothing is possible."""
    ratio = error_rate / (1.0 - error_rate)

    @lru_cache(_CACHED_BELIEFS)
    def believe(evidence: Evidence) -> Belief | None:
        allowed = knowledge.everything & ~evidence.denied
        if evidence.confirmed is not None:
            allowed &= evidence.confirmed
        levels = [allowed]
        for attribute, holds in evidence.replies:
            holders = knowledge.attributes[attribute].things
            contradicted = ~holders if holds else holders
            levels = [
                (same & ~contradicted) | (fewer & contradicted)
                for same, fewer in zip([*levels, 0], [0, *levels], strict=True)
            ]
        sets = tuple(
            (things, ratio**count) for count, things in enumerate(levels) if things and ratio**count
        )
        return Belief(sets, sum(part.bit_count() * each for part, each in sets)) if sets else None

    return believe


def uniform(things: int) -> Belief:
    """Return the belief that holds each thing of the bitmask `things` equally probable."""
    return Belief(((things, 1.0),), float(things.bit_count()))
