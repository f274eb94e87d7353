"""One flight: the values of some keys on their way.

It takes the leases of its keys, makes what it won, and waits for the replicas that hold the others.
A lease ends when its value is stored or has failed; that of a replica that died ends by itself, and
whoever waits takes its keys over.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Final, Generic, Protocol, TypeVar

from foresight_services.core.cache import CacheKey, CacheStore
from foresight_services.core.cache_use import Origin
from foresight_services.core.errors import Reason, Upstream
from foresight_services.core.landed import IsPersonal, Landed, Work

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

    async def keep(self, entries: Mapping[CacheKey, V]) -> None:
        """Store values."""
        ...

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start a task that ends by itself or is cancelled."""
        ...


class Waiter(Protocol[V]):
    """Whoever waits for keys."""

    waits_for: dict[CacheKey, Seat[V]]
    """The keys that have not landed yet."""

    def tell(self, landed: Landed[V], *, owner: bool) -> None:
        """Hand over what became of a key; `owner` where it was made for this waiter."""
        ...


class Seat(Generic[V]):
    """The place of one key on its flight, and who waits for it."""

    def __init__(self, key: CacheKey, flight: Flight[V]) -> None:
        self.key = key
        """Which key."""
        self.flight = flight
        """Who makes its value."""
        self.waiting: dict[Waiter[V], None] = {}
        """Who waits for it, in the order of their coming."""
        self.landed: Landed[V] | None = None
        """What became of it; None while it is in flight."""

    def take(self, passenger: Waiter[V]) -> None:
        """Let `passenger` have the value when it lands, or now."""
        if self.landed is not None:
            passenger.tell(_for(passenger, self.flight, self.landed), owner=False)
            return
        self.waiting[passenger] = None
        passenger.waits_for[self.key] = self

    def land(self, landed: Landed[V]) -> None:
        """Hand the value to all who wait."""
        self.landed = landed
        for passenger in tuple(self.waiting):
            owner = passenger is self.flight.owner
            passenger.tell(_for(passenger, self.flight, landed), owner=owner)
        self.waiting.clear()


def _for(passenger: Waiter[V], flight: Flight[V], landed: Landed[V]) -> Landed[V]:
    """Return `landed` as `passenger` sees it: only the owner of the work computed the value."""
    if landed.origin is Origin.COMPUTED and passenger is not flight.owner:
        return replace(landed, origin=Origin.SHARED)
    return landed


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
        """Its keys."""
        self._flights = flights
        self._store = flights.store
        self._work = work
        self._name = uuid.uuid4().hex
        self._left = dict.fromkeys(keys)
        self._held: set[CacheKey] = set()
        self._outbox: dict[CacheKey, V] = {}
        self._storing = False
        self._task: asyncio.Task[None] | None = None
        self._asking: asyncio.Task[None] | None = None

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
        """Cancel what has not landed; return the task that ends."""
        # At once, so that whoever comes next does not board what ends.
        for key in self._left:
            self._disembark(key)
        if self._task is not None:
            self._task.cancel()
        return self._task

    async def _fly(self) -> None:
        renewal = asyncio.create_task(self._renew())
        try:
            await self._compete()
        except Exception as error:
            self._fail(tuple(self._left), error)
        finally:
            renewal.cancel()
            for key in self._left:
                self._disembark(key)
            self._flights.start(self._let_go())
            await asyncio.gather(renewal, return_exceptions=True)

    async def _compete(self) -> None:
        """Make what is won, and wait for what others hold until it is there or won."""
        missing, free = dict(self._left), dict(self._left)
        vain: Counter[CacheKey] = Counter()
        async with asyncio.TaskGroup() as making:
            while missing:
                won = await self._won(tuple(free), vain)
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

    async def _won(
        self, keys: tuple[CacheKey, ...], vain: Counter[CacheKey]
    ) -> tuple[CacheKey, ...]:
        """Take the leases of `keys`; return those that this flight has to make, in their order."""
        if not keys:
            return ()
        # In a task of its own: who is cancelled meanwhile must let go of what was won.
        self._asking = self._flights.start(self._ask_for(keys))
        await asyncio.shield(self._asking)
        won = self._held.intersection(keys)
        lost = [key for key in keys if key not in won]
        vain.update(lost)
        given_up = {key for key in lost if vain[key] >= MOST_VAIN}
        return tuple(key for key in keys if key in won or key in given_up)

    async def _ask_for(self, keys: tuple[CacheKey, ...]) -> None:
        won = await self._store.acquire_many(keys, self._name, self._flights.lease_seconds)
        self._held.update(won)

    async def _let_go(self) -> None:
        """End the leases of what has not landed, those included that are being asked for."""
        if self._asking is not None:
            await asyncio.wait((self._asking,))
        held = self._held.difference(self._outbox)
        if held:
            self._held -= held
            await self._store.release_many(held, self._name)

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
        self._fail(keys, Upstream(Reason.SERVICE_UNAVAILABLE, "the work ended without a result"))

    def _fail(self, keys: tuple[CacheKey, ...], error: Exception) -> None:
        """Land `error` for those of `keys` that have not landed."""
        personal = self._flights.is_personal(error)
        for key in keys:
            if key in self._left:
                self._land(Landed(key, None, Origin.COMPUTED, error, personal))

    def _land(self, landed: Landed[V], *, keep: bool = False) -> None:
        key = landed.key
        if key not in self._left:
            return
        del self._left[key]
        if keep and landed.value is not None:
            self._outbox[key] = landed.value
            if not self._storing:
                self._storing = True
                self._flights.start(self._keep())
        else:
            # Before it is told, so that whoever tries again does not board what has landed.
            self._disembark(key)
            if key in self._held:
                self._held.discard(key)
                self._flights.start(self._store.release_many((key,), self._name))
        self.seats[key].land(landed)

    async def _keep(self) -> None:
        """Store what has landed, all that is there at once, and end its leases."""
        try:
            while self._outbox:
                entries = dict(self._outbox)
                try:
                    await self._flights.keep(entries)
                finally:
                    for key in entries:
                        del self._outbox[key]
                        self._disembark(key)
                    held = self._held.intersection(entries)
                    self._held -= held
                    if held:
                        await self._store.release_many(held, self._name)
        finally:
            self._storing = False
            if self._outbox:
                # What landed while something could not be stored is not left behind.
                self._storing = True
                self._flights.start(self._keep())

    def _disembark(self, key: CacheKey) -> None:
        if self._flights.aboard.get(key) is self.seats[key]:
            del self._flights.aboard[key]

    async def _renew(self) -> None:
        """Keep the leases while the work goes on; one that was lost costs doubled work at worst."""
        seconds = self._flights.lease_seconds
        while True:
            await asyncio.sleep(seconds / RENEWALS)
            if self._held:
                await self._store.renew_many(tuple(self._held), self._name, seconds)
