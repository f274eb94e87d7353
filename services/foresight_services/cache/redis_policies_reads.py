"""Reads that share round trips, so that a thousand computations that begin at once cost a few.

A read is answered by a question that is sent after it began, never by one that is under way: what
was acknowledged before the read must be in its answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from typing import Final

from foresight_services.cache.guard import Guard

QUESTIONS_AT_ONCE: Final = 2
"""Questions under way; what is read meanwhile is asked together."""


@dataclass(slots=True, eq=False)
class _Question:
    """What is asked next."""

    names: set[str] = field(default_factory=set)
    """What it asks about."""
    answer: asyncio.Task[bool] | None = None
    """Whether it was answered."""


class Reads:
    """Gathers names and asks about them."""

    def __init__(
        self, ask: Callable[[Collection[str]], Awaitable[bool]], guard: Guard, *, most_names: int
    ) -> None:
        """Ask by `ask`, in tasks of `guard`, about at most `most_names` at once."""
        self._ask = ask
        self._guard = guard
        self._most_names = most_names
        self._places = asyncio.Semaphore(QUESTIONS_AT_ONCE)
        self._next: _Question | None = None

    async def read(self, name: str) -> bool:
        """Ask about `name`, with whoever else asks now, and return what `ask` did."""
        question = self._next
        if question is None or len(question.names) >= self._most_names:
            question = self._next = _Question()
            question.answer = self._guard.start(self._answer(question))
        question.names.add(name)
        assert question.answer is not None, "set above"
        # Who is cancelled leaves the others theirs.
        return await asyncio.shield(question.answer)

    async def _answer(self, question: _Question) -> bool:
        async with self._places:
            if self._next is question:
                self._next = None
            return await self._ask(tuple(question.names))
