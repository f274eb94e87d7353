"""What several callers want at once is made once, and what was made is remembered.

A caller boards for the keys of values that it wants. What nobody in this process makes yet takes
off in a flight of its own (`core/flight.py`); what somebody makes is shared. A value lands the
moment it is known: all who wait for it get it, then it is stored. Until then its key stays on
board, so that no request between finds it in neither.

A flight belongs to nobody. It goes on while anybody waits for any of its keys, and is cancelled
when the last one has left; so the work is given no deadline, and every caller keeps its own. A
failure lands like a value but is not stored; one that concerns the maker alone, such as the end of
its budget, sends the others on their way with work of their own.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from itertools import count
from typing import Any, Final, Generic, Protocol, TypeVar

from foresight_services.core.cache import CacheKey, CacheStore
from foresight_services.core.flight import Flight
from foresight_services.core.landed import IsPersonal, Landed, Work
from foresight_services.core.seat import Seat

V = TypeVar("V")

LEASE_SECONDS: Final = 10.0
"""How long a replica that died keeps others from taking its work over."""


class EntryCodec(Protocol[V]):
    """Values as bytes."""

    def encode(self, value: V) -> bytes | None:
        """Return `value` as it is stored; None where it cannot be."""
        ...

    def decode(self, stored: bytes) -> V | None:
        """Return the value; None where the bytes are none."""
        ...


class SingleFlight(Generic[V]):
    """All flights of this process for one kind of value. Close it with `close`."""

    def __init__(
        self,
        store: CacheStore,
        codec: EntryCodec[V],
        *,
        is_personal: IsPersonal,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        self._store = store
        self._codec = codec
        self._reads = _Reads(store, self.start)
        self.is_personal = is_personal
        """Tells whether an error of the work as a whole concerns its maker alone."""
        self.lease_seconds = lease_seconds
        """How long a lease lasts without being renewed."""
        self.aboard: dict[CacheKey, Seat[V]] = {}
        """Keys in flight, and those that have landed and are not stored yet."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._outbox: list[tuple[Flight[V], CacheKey, V]] = []
        self._writing = False
        self._name, self._numbers = secrets.token_hex(16), count()

    async def find(self, keys: Sequence[CacheKey]) -> dict[CacheKey, V]:
        """Return what is stored; what is asked for in one turn of the loop is read at once."""
        found: dict[CacheKey, V] = {}
        if keys:
            for key, stored in zip(keys, await self._reads.get(keys), strict=True):
                value = None if stored is None else self._codec.decode(stored)
                if value is not None:
                    found[key] = value
        return found

    def board(self, keys: Iterable[CacheKey], work: Work[V]) -> Passenger[V]:
        """Ask for the values of `keys`, made by `work` where nobody else makes them.

        Look for them with `find` before: a flight makes what is not stored.
        """
        passenger = Passenger(self, work)
        passenger.board(dict.fromkeys(keys))
        return passenger

    async def keep(self, entries: Mapping[CacheKey, V]) -> None:
        """Store values in place of what is there."""
        encoded = {key: self._codec.encode(value) for key, value in entries.items()}
        stored = {key: one for key, one in encoded.items() if one is not None}
        if stored:
            await self._store.put_many(stored)

    def keep_landed(self, flight: Flight[V], key: CacheKey, value: V) -> None:
        """Store a value, together with all that lands until the store is free for it."""
        self._outbox.append((flight, key, value))
        if not self._writing:
            self._writing = True
            self.start(self._write())

    def next_name(self) -> str:
        """Return a name for the leases of one flight."""
        return f"{self._name}-{next(self._numbers)}"

    async def _write(self) -> None:
        """Store what has landed, all that is there at once, and have its leases ended."""
        try:
            while self._outbox:
                landed, self._outbox = self._outbox, []
                stored: dict[Flight[V], list[CacheKey]] = {}
                for flight, key, _ in landed:
                    stored.setdefault(flight, []).append(key)
                try:
                    await self.keep({key: value for _, key, value in landed})
                finally:
                    leased = {flight.name: flight.stored(keys) for flight, keys in stored.items()}
                    # Beside, so that what lands meanwhile does not wait for the end of leases.
                    self.start(self._release(leased))
        finally:
            self._writing = bool(self._outbox)
            if self._writing:
                # What landed while something could not be stored is not left behind.
                self.start(self._write())

    async def _release(self, leased: Mapping[str, Collection[CacheKey]]) -> None:
        for owner, keys in leased.items():
            if keys:
                await self._store.release_many(keys, owner)

    async def close(self) -> None:
        """Cancel what is in flight and wait until what has landed is stored."""
        for flight in {seat.flight for seat in self.aboard.values()}:
            flight.cancel()
        while self._tasks:
            await asyncio.wait(tuple(self._tasks))

    @property
    def store(self) -> CacheStore:
        """Where values and leases are."""
        return self._store

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start a task that `close` waits for."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


class Passenger(Generic[V]):
    """One caller's wait for the values of its keys. Leave with `leave`, however it ends."""

    def __init__(self, flights: SingleFlight[V], work: Work[V]) -> None:
        self._flights = flights
        self._work = work
        self._inbox: deque[tuple[Landed[V], bool]] = deque()
        self._told: asyncio.Future[None] | None = None
        self.waits_for: dict[CacheKey, Seat[V]] = {}
        """The keys that have not landed yet."""

    def board(self, keys: Collection[CacheKey]) -> None:
        """Wait for `keys` too, on flights of others or on one that takes off for them."""
        aboard, new = self._flights.aboard, []
        for key in keys:
            if key in aboard:
                aboard[key].take(self)
            else:
                new.append(key)
        if new:
            flight = Flight(self._flights, self, tuple(new), self._work)
            for seat in flight.seats.values():
                seat.take(self)
            flight.take_off()

    def tell(self, landed: Landed[V], *, owner: bool) -> None:
        """Hand over what became of a key."""
        self.waits_for.pop(landed.key, None)
        self._inbox.append((landed, owner))
        if self._told is not None and not self._told.done():
            self._told.set_result(None)

    @property
    def done(self) -> bool:
        """Whether nothing is left to wait for."""
        return not self.waits_for and not self._inbox

    async def next(self) -> Landed[V]:
        """Return what became of the next key; ask only while it is not `done`."""
        while True:
            while not self._inbox:
                self._told = asyncio.get_running_loop().create_future()
                await self._told
            landed, owner = self._inbox.popleft()
            if not landed.personal or owner:
                return landed
            # All that fell with the same flight takes off again as one.
            fallen = [other.key for other, owner in self._inbox if other.personal and not owner]
            kept = [one for one in self._inbox if one[1] or not one[0].personal]
            self._inbox = deque(kept)
            self.board([landed.key, *fallen])

    async def leave(self) -> None:
        """Wait for nothing more; flights that nobody waits for end before this returns."""
        flights = {seat.flight for seat in self.waits_for.values()}
        for seat in self.waits_for.values():
            seat.waiting.pop(self, None)
        self.waits_for.clear()
        ended = [task for flight in flights if (task := flight.cancel_if_empty()) is not None]
        if ended:
            await asyncio.wait(ended)


class _Reads:
    """Reads of one turn of the event loop, done in one round trip."""

    def __init__(
        self, store: CacheStore, start: Callable[[Coroutine[Any, Any, None]], object]
    ) -> None:
        self._store = store
        self._start = start
        self._asked: dict[CacheKey, None] = {}
        self._waiting: list[asyncio.Future[Mapping[CacheKey, bytes | None]]] = []

    async def get(self, keys: Sequence[CacheKey]) -> list[bytes | None]:
        """Return the values in the order of `keys`."""
        self._asked.update(dict.fromkeys(keys))
        # One for each, so that the cancellation of one caller does not reach the others.
        answer: asyncio.Future[Mapping[CacheKey, bytes | None]] = (
            asyncio.get_running_loop().create_future()
        )
        self._waiting.append(answer)
        if len(self._waiting) == 1:
            self._start(self._read())
        values = await answer
        return [values[key] for key in keys]

    async def _read(self) -> None:
        # Whoever asks in this turn was started before this task, or right after it.
        await asyncio.sleep(0)
        asked, self._asked = tuple(self._asked), {}
        waiting, self._waiting = self._waiting, []
        try:
            values = dict(zip(asked, await self._store.get_many(asked), strict=True))
        except Exception as error:
            for answer in waiting:
                if not answer.done():
                    answer.set_exception(error)
            return
        except BaseException:
            for answer in waiting:
                answer.cancel()
            raise
        for answer in waiting:
            if not answer.done():
                answer.set_result(values)
