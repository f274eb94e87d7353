"""Work that is done some at a time, the next piece beginning when one ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

Piece = TypeVar("Piece")
Result = TypeVar("Result")


async def in_turns(
    at_once: int, pieces: Sequence[Piece], do: Callable[[Piece], Awaitable[Result]]
) -> list[Result]:
    """Return what `do` gives for each of `pieces`, `at_once` of them in flight."""
    left, results = iter(pieces), []

    async def worker() -> None:
        for piece in left:
            results.append(await do(piece))

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(worker())
    return results
