"""The rule-based assistants: which moves each would make, given what the conversation revealed.

Every policy chooses uniformly among a tuple of moves, so its behaviour is a set, not a procedure:

- guesser: any thing that is still possible
- asker: any question not asked yet that could still go either way
- informed: the one question that tells most

The last two guess the most probable thing once it is more probable than all others together, and
on the last turn.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final

from foresight_services.worlds.twenty_questions.belief import Belief, Evidence, uniform
from foresight_services.worlds.twenty_questions.knowledge import Knowledge, members
from foresight_services.worlds.twenty_questions.moves import Ask, Guess

SKILLS: Final = ("guesser", "asker", "informed")
"""Names of the policies, weakest first."""

TIE: Final = 1e-9
"""Probabilities that differ by less count as equal, so rounding decides nothing."""

_CACHED_SITUATIONS: Final = 16384

Options = tuple[Ask, ...] | tuple[Guess, ...]
"""Moves that a policy chooses among uniformly; never empty."""


def policy_options(
    knowledge: Knowledge, believe: Callable[[Evidence], Belief | None]
) -> Callable[[str, Evidence, bool], Options]:
    """Return the cached function from skill, evidence and "is this the last turn" to the moves."""

    @lru_cache(_CACHED_SITUATIONS)
    def options(skill: str, evidence: Evidence, last_turn: bool) -> Options:
        belief = believe(evidence) or _after_contradiction(knowledge, evidence)
        if skill == "guesser":
            return tuple(Guess(thing) for thing in members(belief.possible))
        if not last_turn and not _settled(belief):
            questions = (
                _most_informative(knowledge, belief)
                if skill == "informed"
                else _open_questions(knowledge, belief, evidence.asked)
            )
            if questions:
                return questions
        return tuple(Guess(thing) for thing in members(belief.likeliest))

    return options


def _after_contradiction(knowledge: Knowledge, evidence: Evidence) -> Belief:
    """Start over among the things not denied when the answers leave nothing possible."""
    return uniform(knowledge.everything & ~evidence.denied or knowledge.everything)


def _settled(belief: Belief) -> bool:
    likeliest = belief.likeliest
    return likeliest.bit_count() == 1 and belief.probability(likeliest) > 0.5 + TIE


def _open_questions(knowledge: Knowledge, belief: Belief, asked: int) -> tuple[Ask, ...]:
    possible = belief.possible
    return tuple(
        Ask(index)
        for index, attribute in enumerate(knowledge.attributes)
        if not asked >> index & 1 and 0 != possible & attribute.things != possible
    )


def _most_informative(knowledge: Knowledge, belief: Belief) -> tuple[Ask, ...]:
    """Return the first question with the most expected information, none if all tell nothing.

    The answer errs equally often whatever is asked, so the information grows as the probability
    that the attribute holds nears one half.
    """
    best, least = None, 0.5
    for index, attribute in enumerate(knowledge.attributes):
        imbalance = abs(belief.probability(attribute.things) - 0.5)
        if imbalance < least - TIE:
            best, least = index, imbalance
    return () if best is None else (Ask(best),)
