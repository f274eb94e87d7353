"""The rule-based assistants: which needs each asks about before it places the order.

They read only the conversation. None asks again about what was asked or said before, so each
places its order after at most one question per need.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import Final

from foresight_services.worlds.groceries.needs import Knowledge, Need
from foresight_services.worlds.groceries.progress import Progress

SKILLS: Final = ("assumer", "interrogator", "focused")
"""Weakest first: asks nothing; asks everything at once; asks what is worth asking."""

FOCUSED_BATCHES: Final = (2, 3, 4)
"""How many needs `focused` asks about in one message, each number equally likely."""


class Policies:
    """The skills for one set of needs."""

    def __init__(self, knowledge: Knowledge) -> None:
        """Rank the needs once; the ranking does not depend on the conversation."""
        self._needs = knowledge.needs
        self._worthy = worth_asking(knowledge)

    def questions(self, skill: str, progress: Progress, rng: random.Random) -> Sequence[Need]:
        """Return the needs that `skill` asks about next; none means that it places the order."""
        if skill == "assumer":
            return ()
        if skill == "interrogator":
            return _unsettled(self._needs, progress)
        if skill == "focused":
            worthy = _unsettled(self._worthy, progress)
            return worthy[: rng.choice(FOCUSED_BATCHES)] if worthy else ()
        raise ValueError(f"unknown skill {skill!r}, expected one of {', '.join(SKILLS)}")


def worth_asking(knowledge: Knowledge) -> tuple[Need, ...]:
    """Return the needs whose answer is worth the risk of asking, the most valuable first.

    A right answer saves the need's share of a success, of which an average shopper has one per
    need that matters; a needless question risks all of it.
    """
    share = 1 / sum(need.matters for need in knowledge.needs)
    worth = {
        need: need.risk * share - (1 - need.matters) * knowledge.impatience
        for need in knowledge.needs
    }
    return tuple(sorted((need for need in worth if worth[need] > 0), key=lambda n: -worth[n]))


def _unsettled(needs: Iterable[Need], progress: Progress) -> list[Need]:
    settled = progress.asked | progress.said.keys()
    return [need for need in needs if need.id not in settled]
