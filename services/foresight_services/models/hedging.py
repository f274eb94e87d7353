"""Second calls that race stragglers (Dean and Barroso, "The tail at scale", CACM 2013).

A call that has taken longer than a high quantile of the recent ones is made once more, with the
same seed; the first success wins and the other call is cancelled at once. Hedges are a small share
of the calls, so that a backend that is slow because it has too much to do is not asked for twice as
much. Off by default: the composition root adds this decorator only where it is configured.

Where the backend does not honour seeds the two replies differ, and the one that wins is likelier to
be the shorter one. The share bounds this bias; leave hedging off where none is wanted.
"""

from __future__ import annotations

import asyncio
import math
from bisect import bisect_left, insort
from collections import deque
from dataclasses import dataclass
from typing import Final, TypeVar

from foresight_services.core.ports import ChatModel, ChatReply, ChatRequest, Clock, ModelRole
from foresight_services.core.usage import ModelUsage

T = TypeVar("T")

MAX_SAVED: Final = 10.0
"""Hedges that quiet times can save up for a burst of stragglers."""


@dataclass(frozen=True, slots=True)
class HedgeSettings:
    """Which calls are made twice."""

    quantile: float = 0.95
    """Quantile of the recent latencies past which a call is a straggler; above 0, below 1."""
    max_share: float = 0.05
    """Hedges, as a share of the calls; 0 to 1."""
    window_calls: int = 256
    """How many of a role's latest calls are the recent ones."""
    min_calls: int = 32
    """How many a role must have made before any is hedged; at most `window_calls`."""
    min_wait_seconds: float = 0.05
    """No call is a straggler before."""

    def __post_init__(self) -> None:
        """Raise ValueError where a setting cannot be used."""
        if not 0 < self.quantile < 1:
            raise ValueError("quantile must be between 0 and 1")
        if not 0 <= self.max_share <= 1:
            raise ValueError("max_share must be 0 to 1")
        if not 1 <= self.min_calls <= self.window_calls:
            raise ValueError("min_calls must be at least 1 and at most window_calls")
        if not self.min_wait_seconds >= 0:
            raise ValueError("min_wait_seconds must be 0 or more")


class LatencyWindow:
    """The latest latencies, in order of time and of size."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._latest: deque[float] = deque()
        self._sorted: list[float] = []

    def __len__(self) -> int:
        return len(self._sorted)

    def add(self, seconds: float) -> None:
        """Add the latest one and forget the oldest beyond the window's size."""
        self._latest.append(seconds)
        insort(self._sorted, seconds)
        if len(self._latest) > self._size:
            del self._sorted[bisect_left(self._sorted, self._latest.popleft())]

    def quantile(self, share: float) -> float:
        """Return the smallest latency that at least `share` of them do not exceed."""
        return self._sorted[max(0, math.ceil(share * len(self._sorted)) - 1)]


class HedgedModel:
    """Decorates a `ChatModel` with second calls for stragglers."""

    def __init__(self, model: ChatModel, *, settings: HedgeSettings, clock: Clock) -> None:
        self._model = model
        self._settings = settings
        self._clock = clock
        self._latencies: dict[ModelRole, LatencyWindow] = {}
        """By role, because a judge's verdict and a policy's message take different times."""
        self._balance = 0.0

    async def complete(self, request: ChatRequest) -> ChatReply:
        """Return the first success of the call and, where it is made, its hedge.

        Raises:
            Exception: the call's own, where it fails before it is hedged, or both do.
        """
        settings = self._settings
        # The budget begins empty, so that hedges keep to their share at every moment.
        self._balance = min(self._balance + settings.max_share, MAX_SAVED)
        window = self._latencies.get(request.role)
        if window is None:
            window = self._latencies[request.role] = LatencyWindow(settings.window_calls)
        start = self._clock.now()
        if len(window) < settings.min_calls or self._balance < 1.0:
            reply = await self._model.complete(request)
        else:
            patience = max(settings.min_wait_seconds, window.quantile(settings.quantile))
            reply = await self._race(request, patience)
        # Of a straggler that lost to its hedge this is less than it would have taken; leaving it
        # out would make the quantile fall from hedge to hedge.
        window.add(self._clock.now() - start)
        return reply

    async def _race(self, request: ChatRequest, patience: float) -> ChatReply:
        calls = [asyncio.create_task(self._model.complete(request))]
        try:
            await asyncio.wait(calls, timeout=patience)
            if calls[0].done() or self._balance < 1.0:
                return await calls[0]
            self._balance -= 1.0
            request.ledger.record(request.role, ModelUsage(calls=1, hedges=1))
            calls.append(asyncio.create_task(self._model.complete(request)))
            winner = await _first_success(calls)
            if winner is None:
                return calls[0].result()
            _charge(request, winner.result(), calls[1 - calls.index(winner)])
            return winner.result()
        finally:
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)


async def _first_success(calls: list[asyncio.Task[T]]) -> asyncio.Task[T] | None:
    """Return the first call that succeeds, the earlier one if both have; None if all fail."""
    running = set(calls)
    while running:
        _, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        for call in calls:
            if call.done() and not call.cancelled() and call.exception() is None:
                return call
    return None


def _charge(request: ChatRequest, won: ChatReply, lost: asyncio.Task[ChatReply]) -> None:
    """Write down what the call that lost cost.

    A call that is cancelled does not tell; it asked for the winner's reply, so it cost at most as
    much. One that failed is charged nothing, as failed calls are everywhere.
    """
    if not lost.done():
        reply = won
    elif lost.cancelled() or lost.exception() is not None:
        return
    else:
        reply = lost.result()
    request.ledger.record(
        request.role,
        ModelUsage(
            prompt_tokens=reply.prompt_tokens,
            completion_tokens=reply.completion_tokens,
            cached_tokens=reply.cached_tokens,
        ),
    )
