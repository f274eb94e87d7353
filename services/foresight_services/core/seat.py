"""The places of keys on their flights, and who waits for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from foresight_services.core.cache import CacheKey
from foresight_services.core.cache_use import Origin
from foresight_services.core.landed import Landed

if TYPE_CHECKING:
    from foresight_services.core.flight import Flight

V = TypeVar("V")


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
        return Landed(landed.key, landed.value, Origin.SHARED, landed.error, landed.personal)
    return landed
