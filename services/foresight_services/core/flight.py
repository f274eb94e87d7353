"""One flight: the values of some keys on their way.

It takes the leases of its keys, makes what it won, and waits for the replicas that hold the others.
A lease ends when its value is stored or has failed; that of a replica that died ends by itself, and
whoever waits takes its keys over.

There is one for every conversation that is scored, so the common way is short: one task, which wins
all keys at once and makes them, a timer for its leases, and nothing that only cycles keep.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Coroutine, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import aclosing
from typing import Any, Final, Generic, Protocol, TypeVar

from foresight_services.core.cache import CacheKey, CacheStore
from foresight_services.core.cache_use import Origin
from foresight_services.core.errors import Reason, Upstream
from foresight_services.core.landed import IsPersonal, Landed, Work
from foresight_services.core.seat import Seat, Waiter

V = TypeVar("V")

RENEWALS: Final = 3
"""Times that a lease is renewed while it lasts."""

MOST_WAIT_SECONDS: Final = 60.0
"""Longest wait for news of other replicas before asking again."""

MOST_VAIN: Final = 3
"""Times that a key may be told to be free and then be neither there nor to be had: the store holds
what cannot be read, and the value is made without a lease."""


class Airport(Protocol[V]):
    """Where flights take off and land: what they need of all the others."""

    lease_seconds: float
    """How long a lease lasts without being renewed."""
    is_personal: IsPersonal
    """Tells whether an error of the work as a whole concerns its maker alone."""
    aboard: dict[CacheKey, Seat[V]]
    """Keys in flight, and those that have landed and are not stored yet."""

    @property
    def store(self) -> CacheStore:
        """Where values and leases are."""
        ...

    async def find(self, keys: Sequence[CacheKey]) -> Mapping[CacheKey, V]:
        """Return what is stored."""
        ...

    def keep_landed(self, flight: Flight[V], key: CacheKey, value: V) -> None:
        """Store the value of `key` soon and tell `flight` then, whether or not it could be."""
        ...

    def next_name(self) -> str:
        """Return a name for the leases of one flight, which no other has or had."""
        ...

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start a task that ends by itself or is cancelled."""
        ...


class Flight(Generic[V]):
    """Makes the values of some keys, or gets them of the replicas that make them."""

    def __init__(
        self,
        flights: Airport[V],
        owner: Waiter[V],
        keys: tuple[CacheKey, ...],
        work: Work[V],
    ) -> None:
        self.owner = owner
        """The passenger that it took off for, whose work it does."""
        self.seats = {key: Seat(key, self) for key in keys}
        """Its keys, but those that are stored or have failed."""
        self.name = flights.next_name()
        """Name of its leases."""
        self._flights = flights
        self._store = flights.store
        self._work = work
        self._left = dict.fromkeys(keys)
        self._held: set[CacheKey] = set()
        self._storing: set[CacheKey] = set()
        self._task: asyncio.Task[None] | None = None
        self._asking: asyncio.Task[None] | None = None
        self._boarding = False
        self._called_off = False
        self._renewal: asyncio.TimerHandle | None = None

    def take_off(self) -> None:
        """Start the work."""
        self._flights.aboard.update(self.seats)
        self._task = self._flights.start(self._fly())

    def cancel_if_empty(self) -> asyncio.Task[None] | None:
        """Cancel the work if nobody waits for any of it; return the task that ends, if it does."""
        if not self._left or any(self.seats[key].waiting for key in self._left):
            return None
        return self.cancel()

    def cancel(self) -> asyncio.Task[None] | None:
        """Cancel what has not landed; return the task that ends, if there is work to end."""
        # At once, so that whoever comes next does not board what ends.
        for key in self._left:
            self._disembark(key)
        if self._boarding:
            # What it is about to win is let go of by itself, and no work has begun.
            self._called_off = True
            return None
        if self._task is not None:
            self._task.cancel()
        return self._task

    def stored(self, keys: Collection[CacheKey]) -> AbstractSet[CacheKey]:
        """Take note that `keys` are where who comes next finds them; return those it had leased.

        Their leases are the caller's to end.
        """
        for key in keys:
            self._disembark(key)
            del self.seats[key]
        self._storing.difference_update(keys)
        leased = self._held.intersection(keys)
        self._held -= leased
        return leased

    async def _fly(self) -> None:
        try:
            await self._compete()
        except Exception as error:
            self._fail(tuple(self._left), error)
        finally:
            if self._renewal is not None:
                self._renewal.cancel()
            for key in self._left:
                self._disembark(key)
                del self.seats[key]
            self._left.clear()
            if self._asking is not None or not self._held <= self._storing:
                self._flights.start(self._let_go())

    async def _compete(self) -> None:
        """Make what is won, and wait for what others hold until it is there or won."""
        keys = tuple(self._left)
        self._renew_later()
        # Without a task of its own, which costs as much as all else here; see `cancel`.
        self._boarding = True
        try:
            await self._ask_for(keys)
        finally:
            self._boarding = False
        if self._called_off:
            return
        if self._held.issuperset(keys):
            await self._make(keys)
        else:
            await self._make_some(keys)

    async def _make_some(self, keys: tuple[CacheKey, ...]) -> None:
        """Make those of `keys` that were won, while the others are waited for."""
        missing, vain = dict.fromkeys(keys), Counter[CacheKey]()
        won = self._won(keys, vain)
        async with asyncio.TaskGroup() as making:
            while True:
                if won:
                    for key in won:
                        del missing[key]
                    making.create_task(self._make(won))
                if not missing:
                    return
                settled = await self._store.wait_any(tuple(missing), MOST_WAIT_SECONDS)
                free = {key: None for key in missing if key in settled}
                for key, value in (await self._flights.find(tuple(free))).items():
                    del missing[key], free[key]
                    self._land(Landed(key, value, Origin.SHARED))
                won = await self._won_later(tuple(free), vain)

    async def _won_later(
        self, keys: tuple[CacheKey, ...], vain: Counter[CacheKey]
    ) -> tuple[CacheKey, ...]:
        """Take the leases of `keys` while others are made; see `_won`."""
        if not keys:
            return ()
        # In a task of its own: who is cancelled meanwhile must let go of what was won.
        self._asking = self._flights.start(self._ask_for(keys))
        await asyncio.shield(self._asking)
        self._asking = None
        return self._won(keys, vain)

    def _won(self, keys: tuple[CacheKey, ...], vain: Counter[CacheKey]) -> tuple[CacheKey, ...]:
        """Return those of `keys`, just asked for, that this flight has to make, in their order."""
        lost = [key for key in keys if key not in self._held]
        vain.update(lost)
        given_up = {key for key in lost if vain[key] >= MOST_VAIN}
        return tuple(key for key in keys if key in self._held or key in given_up)

    async def _ask_for(self, keys: tuple[CacheKey, ...]) -> None:
        won = await self._store.acquire_many(keys, self.name, self._flights.lease_seconds)
        self._held.update(won)

    async def _let_go(self) -> None:
        """End the leases of what has not landed, those included that are being asked for."""
        if self._asking is not None:
            await asyncio.wait((self._asking,))
        held = self._held - self._storing
        if held:
            self._held -= held
            await self._store.release_many(held, self.name)

    async def _make(self, keys: tuple[CacheKey, ...]) -> None:
        """Do the work for `keys`; its failure is theirs and no other's."""
        try:
            async with aclosing(self._work(keys)) as results:
                async for made in results:
                    landed = Landed(made.key, made.value, Origin.COMPUTED, personal=made.personal)
                    self._land(landed, keep=made.keep)
        except Exception as error:
            self._fail(keys, error)
            return
        if not self._left.keys().isdisjoint(keys):
            problem = "the work ended without a result"
            self._fail(keys, Upstream(Reason.SERVICE_UNAVAILABLE, problem))

    def _fail(self, keys: tuple[CacheKey, ...], error: Exception) -> None:
        """Land `error` for those of `keys` that have not landed."""
        left = [key for key in keys if key in self._left]
        if left:
            personal = self._flights.is_personal(error)
            for key in left:
                self._land(Landed(key, None, Origin.COMPUTED, error, personal))

    def _land(self, landed: Landed[V], *, keep: bool = False) -> None:
        key = landed.key
        if key not in self._left:
            return
        del self._left[key]
        seat = self.seats[key]
        if keep and landed.value is not None:
            self._storing.add(key)
            self._flights.keep_landed(self, key, landed.value)
        else:
            # Before it is told, so that whoever tries again does not board what has landed.
            self._disembark(key)
            del self.seats[key]
            if key in self._held:
                self._held.discard(key)
                self._flights.start(self._store.release_many((key,), self.name))
        seat.land(landed)

    def _disembark(self, key: CacheKey) -> None:
        if self._flights.aboard.get(key) is self.seats[key]:
            del self._flights.aboard[key]

    def _renew_later(self) -> None:
        seconds = self._flights.lease_seconds / RENEWALS
        self._renewal = asyncio.get_running_loop().call_later(seconds, self._renew)

    def _renew(self) -> None:
        """Keep the leases while the work goes on; one that was lost costs doubled work at worst."""
        if self._held:
            self._flights.start(self._hold_on())
        self._renew_later()

    async def _hold_on(self) -> None:
        await self._store.renew_many(tuple(self._held), self.name, self._flights.lease_seconds)
