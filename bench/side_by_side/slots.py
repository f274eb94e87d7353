"""The slots of the model server: some calls at once, the others first come, first served.

A call whose client has gone gives its slot back at once, or leaves the line.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(eq=False, slots=True)
class Place:
    """A call in line or in a slot."""

    seconds: float
    """How long it is served."""
    on_end: Callable[[float, float], None]
    """Called with start and end when it has been served."""
    start: float = 0.0
    """When it got its slot."""
    timer: asyncio.TimerHandle | None = field(default=None)
    """Runs while it is served; None before and after."""
    gone: bool = False
    """Whether its client has left."""


class Slots:
    """Serves calls."""

    def __init__(self, count: int, now: Callable[[], float]) -> None:
        """Serve `count` calls at once, 0 for any number, by the clock `now`."""
        self._count = count
        self._now = now
        self._line: deque[Place] = deque()
        self.busy = 0
        """Calls that are being served."""

    @property
    def waiting(self) -> int:
        """Calls in line."""
        return sum(not place.gone for place in self._line)

    def enter(self, place: Place) -> None:
        """Serve `place` now, or when its turn comes."""
        if self._count and self.busy >= self._count:
            self._line.append(place)
        else:
            self._begin(place)

    def leave(self, place: Place) -> None:
        """Give up `place`, whose client has gone."""
        place.gone = True
        if place.timer is not None:
            place.timer.cancel()
            place.timer = None
            self._free()

    def _begin(self, place: Place) -> None:
        self.busy += 1
        place.start = self._now()
        loop = asyncio.get_running_loop()
        place.timer = loop.call_later(place.seconds, self._end, place)

    def _end(self, place: Place) -> None:
        place.timer = None
        self._free()
        place.on_end(place.start, self._now())

    def _free(self) -> None:
        self.busy -= 1
        while self._line:
            place = self._line.popleft()
            if not place.gone:
                self._begin(place)
                return
