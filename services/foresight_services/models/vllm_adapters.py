"""Which LoRA adapters one vLLM engine has in memory, and who needs them there.

vLLM reads an adapter's files again when it has thrown the adapter out to make room, in the middle
of a step; where the files are gone by then, because a trainer keeps its last checkpoints only, the
step fails and takes the whole engine with it. So room is made here, ahead of vLLM: an adapter that
a call is using stays, and one that has to be read again is read outside the step, where a failure
is the failure of one call.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, Generic, TypeVar

Adapter = TypeVar("Adapter")


class AdapterShelf(Generic[Adapter]):
    """Keeps at most `capacity` adapters loaded; waits for a place where all of them are in use."""

    def __init__(
        self,
        capacity: int,
        *,
        load: Callable[[Adapter], Awaitable[None]],
        unload: Callable[[int], Awaitable[None]],
    ) -> None:
        """Load and unload by the two functions, never more than `capacity` at once (at least 1)."""
        self._capacity: Final = capacity
        self._load = load
        self._unload = unload
        # Users of each loaded adapter by its number, the least recently used adapter first.
        self._users: OrderedDict[int, int] = OrderedDict()
        self._changing = asyncio.Lock()
        self._idle = asyncio.Event()

    @property
    def loaded(self) -> tuple[int, ...]:
        """Numbers of the adapters in memory, the least recently used one first."""
        return tuple(self._users)

    @asynccontextmanager
    async def holding(self, number: int, adapter: Adapter) -> AsyncIterator[None]:
        """Have `adapter` loaded under `number` for as long as the context is open.

        Raises whatever loading it raises.
        """
        # Whoever comes while another waits for a place waits behind it, or the adapters that are in
        # use might never be idle.
        if number in self._users and not self._changing.locked():
            self._take(number)
        else:
            async with self._changing:
                await self._bring(number, adapter)
                self._take(number)
        try:
            yield
        finally:
            self._users[number] -= 1
            if not self._users[number]:
                self._idle.set()

    def _take(self, number: int) -> None:
        self._users[number] += 1
        self._users.move_to_end(number)

    async def _bring(self, number: int, adapter: Adapter) -> None:
        while number not in self._users:
            if len(self._users) < self._capacity:
                await _to_its_end(self._add(number, adapter))
                continue
            idle = next((one for one, users in self._users.items() if not users), None)
            if idle is None:
                self._idle.clear()
                await self._idle.wait()
            else:
                await _to_its_end(self._remove(idle))

    async def _add(self, number: int, adapter: Adapter) -> None:
        await self._load(adapter)
        self._users[number] = 0

    async def _remove(self, number: int) -> None:
        del self._users[number]
        await self._unload(number)


async def _to_its_end(change: Awaitable[None]) -> None:
    """Await `change`, which runs to its end even where the caller is cancelled.

    The engine would carry it out in any case, and then what is known here would be wrong.
    """
    task = asyncio.ensure_future(change)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise
