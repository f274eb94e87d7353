"""How fast futures end, and when there will be room for more."""

from __future__ import annotations

import math
from typing import Final

from foresight_services.core.ports import Clock

RATE_SECONDS: Final = 30.0
"""How far back the rate of endings is remembered, in seconds during which somebody waited."""

LEAST_RETRY_SECONDS: Final = 0.1
MOST_RETRY_SECONDS: Final = 30.0
FIRST_RETRY_SECONDS: Final = 1.0
"""What a refusal says before anything has ended, until as much time has passed."""


class EndingRate:
    """How fast futures end while others wait: what the simulator can do, not what it is asked for.

    Endings and the time that they took are both forgotten exponentially.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._endings = 0.0
        self._seconds = 0.0
        self._since: float | None = None

    def watch(self) -> None:
        """Somebody waits: time counts."""
        if self._since is None:
            self._since = self._clock.now()

    def rest(self) -> None:
        """Nobody waits: time does not count."""
        self._fade()
        self._since = None

    def ended(self) -> None:
        """Count a future that ended while somebody waited."""
        self._fade()
        self._endings += 1

    def seconds_for(self, endings: int) -> float:
        """Return when so many will have ended, within the bounds of what a refusal says."""
        self._fade()
        if self._endings > 0:
            seconds = endings * self._seconds / self._endings
        else:
            seconds = max(FIRST_RETRY_SECONDS, self._seconds)
        return min(max(seconds, LEAST_RETRY_SECONDS), MOST_RETRY_SECONDS)

    def _fade(self) -> None:
        if self._since is None:
            return
        now = self._clock.now()
        kept = math.exp((self._since - now) / RATE_SECONDS)
        self._endings *= kept
        self._seconds = self._seconds * kept + RATE_SECONDS * (1 - kept)
        self._since = now
