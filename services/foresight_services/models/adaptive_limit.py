"""A limit on concurrency that yields to an overloaded backend and grows back.

Additive increase, multiplicative decrease (Chiu and Jain, "Analysis of the increase and decrease
algorithms for congestion avoidance in computer networks", 1989), as TCP does it (RFC 5681): faults
that tell of load shrink the limit at most once for each round trip, and calls that found the limit
full and then succeed grow it by one for each round trip. A limit that nobody reaches says nothing
about the backend and stays where it is (RFC 7661).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class AdaptiveSettings:
    """How the limit moves."""

    min_concurrency: int = 1
    """The limit never falls below; at least 1."""
    decrease_factor: float = 0.5
    """What a round trip with a load fault multiplies the limit by; between 0 and 1."""
    increase_per_round_trip: float = 1.0
    """What a round trip at the limit without one adds to it; 0 or more calls."""

    def __post_init__(self) -> None:
        """Raise ValueError where a setting cannot be used."""
        if self.min_concurrency < 1:
            raise ValueError("min_concurrency must be at least 1")
        if not 0 < self.decrease_factor < 1:
            raise ValueError("decrease_factor must be between 0 and 1")
        if not self.increase_per_round_trip >= 0:
            raise ValueError("increase_per_round_trip must be 0 or more")


class Ticket(NamedTuple):
    """What a call remembers of the limit at its start."""

    round_trip: int
    """How many decreases there had been."""
    filled: bool
    """Whether it took the last place."""


class AdaptiveLimit:
    """How many calls a backend may have in flight."""

    def __init__(
        self,
        max_concurrency: int,
        settings: AdaptiveSettings,
        on_change: Callable[[int], None] | None = None,
    ) -> None:
        """Start at the upper bound.

        Args:
            max_concurrency: the upper bound, at least 1.
            settings: how the limit moves.
            on_change: told the limit now, and whenever it changes.
        """
        self.places = max_concurrency
        """Calls that may be in flight now; read only."""
        self._limit = float(max_concurrency)
        self._highest = float(max_concurrency)
        self._lowest = float(min(settings.min_concurrency, max_concurrency))
        self._factor = settings.decrease_factor
        self._step = settings.increase_per_round_trip
        self._on_change = on_change
        self._round_trip = 0
        if on_change is not None:
            on_change(self.places)

    def begin(self, in_flight: int) -> Ticket:
        """Return the ticket of a call that begins, `in_flight` counting it."""
        return Ticket(self._round_trip, in_flight >= self.places)

    def succeeded(self, ticket: Ticket) -> None:
        """Grow, if the call found the limit full: `places` such calls make one round trip."""
        if ticket.filled and self._limit < self._highest:
            self._set(min(self._highest, self._limit + self._step / self._limit))

    def overloaded(self, ticket: Ticket) -> None:
        """Shrink, unless the limit has shrunk since the call began.

        A backend that has too much to do fails many calls at once; those that began under the old
        limit tell nothing about the new one.
        """
        if ticket.round_trip == self._round_trip:
            self._round_trip += 1
            self._set(max(self._lowest, self._limit * self._factor))

    def _set(self, limit: float) -> None:
        self._limit = limit
        # A hair of slack, so that a limit of 3.9999999999 reached by adding up counts as 4.
        places = int(limit + 1e-9)
        if places != self.places:
            self.places = places
            if self._on_change is not None:
                self._on_change(places)
