"""Limits on what one backend is asked to do at once and in a minute.

Calls wait in one line, first come, first served, until they may begin: a place is free (the
adaptive limit on concurrency), the last minute's requests and tokens are below their limits, and
the backend has not asked to be left alone (Retry-After). A call takes its place when it begins and
gives it back when it ends, however it ends; while it waits it holds nothing.

Tokens are charged when the reply tells what they were, so nothing is estimated and nothing is
reserved: calls already in flight may overdraw the minute, and then nothing begins until it is
made good. Calls that fail are charged as requests alone, for what they cost is not known.

Why not aiolimiter (measured: 1.3 µs for each limit and call, which is fine): its bucket cannot be
overdrawn, so actual tokens would have to be reserved before they are known; newcomers may overtake
calls that wait; and it would be a line of its own, so that a call would hold its place among the
concurrent ones while it waits for the minute. It also lets two minutes' worth begin within one
minute after a pause, which a server that counts by the minute answers with 429.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from foresight_services.core.errors import DeadlinePassed
from foresight_services.core.ports import ChatModel, ChatReply, ChatRequest, Clock
from foresight_services.models.adaptive_limit import AdaptiveLimit, AdaptiveSettings, Ticket
from foresight_services.models.faults import LOAD, ModelFault

MINUTE: Final = 60.0
"""Seconds."""

TICK: Final = 1e-6
"""Seconds; waits shorter than this are over, because no timer is that fine."""


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """What one backend may be asked to do."""

    max_concurrency: int = 64
    """Calls in flight, at least 1; where `adaptive` is given, its upper bound."""
    requests_per_minute: int | None = None
    """Calls that begin within any 60 seconds, at least 1; None for no limit."""
    tokens_per_minute: int | None = None
    """Tokens read and written within any 60 seconds, at least 1; None for no limit."""
    max_pause_seconds: float = 60.0
    """The longest that a backend's Retry-After stops all calls to it."""
    adaptive: AdaptiveSettings | None = field(default_factory=AdaptiveSettings)
    """How the limit on concurrency yields to load; None keeps it fixed."""

    def __post_init__(self) -> None:
        """Raise ValueError where a setting cannot be used."""
        if self.max_concurrency < 1:
            raise ValueError("max_concurrency must be at least 1")
        if self.requests_per_minute is not None and self.requests_per_minute < 1:
            raise ValueError("requests_per_minute must be at least 1")
        if self.tokens_per_minute is not None and self.tokens_per_minute < 1:
            raise ValueError("tokens_per_minute must be at least 1")
        if not self.max_pause_seconds >= 0:
            raise ValueError("max_pause_seconds must be 0 or more")


class MinuteWindow:
    """What was spent in the last 60 seconds, against a limit.

    A sliding window keeps to the limit in every 60 seconds, whenever they begin, and therefore
    also to whatever a server measures: fixed minutes, or a bucket that refills.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._spent: deque[tuple[float, int]] = deque()
        self._total = 0

    def spend(self, now: float, amount: int) -> None:
        """Note that `amount` was spent now; more than is left is allowed and overdraws."""
        self._spent.append((now, amount))
        self._total += amount

    def wait_seconds(self, now: float) -> float:
        """Return how long until less than the limit was spent; 0 if that is so now."""
        spent = self._spent
        while spent and spent[0][0] <= now - MINUTE + TICK:
            self._total -= spent.popleft()[1]
        if self._total < self._limit:
            return 0.0
        left = self._total
        for when, amount in spent:
            left -= amount
            if left < self._limit:
                return when + MINUTE - now
        raise AssertionError("a limit is at least 1, so an empty window is below it")


class LimitedModel:
    """Decorates the `ChatModel` of one backend with its limits."""

    def __init__(
        self,
        model: ChatModel,
        *,
        name: str,
        settings: LimitSettings,
        clock: Clock,
        on_limit: Callable[[int], None] | None = None,
    ) -> None:
        """Limit `model`.

        Args:
            model: the backend; all calls to it should come through this one decorator.
            name: the configuration's name of the model.
            settings: the limits.
            clock: the clock that deadlines are in.
            on_limit: told the limit on concurrency, at once and whenever it changes.
        """
        self._model = model
        self._name = name
        self._clock = clock
        adaptive = settings.adaptive or AdaptiveSettings(min_concurrency=settings.max_concurrency)
        self._limit = AdaptiveLimit(settings.max_concurrency, adaptive, on_limit)
        self._requests = _window(settings.requests_per_minute)
        self._tokens = _window(settings.tokens_per_minute)
        self._max_pause = settings.max_pause_seconds
        self._paused_until = float("-inf")
        self._in_flight = 0
        self._line: OrderedDict[asyncio.Future[None], None] = OrderedDict()
        self._alarm: asyncio.TimerHandle | None = None

    @property
    def in_flight(self) -> int:
        """Calls that have begun and not ended."""
        return self._in_flight

    @property
    def waiting(self) -> int:
        """Calls that wait for their turn."""
        return len(self._line)

    async def complete(self, request: ChatRequest) -> ChatReply:
        """Let the call through to the model; see `through`."""
        return await self.through(self._model, request)

    async def through(self, model: ChatModel, request: ChatRequest) -> ChatReply:
        """Wait for the call's turn and return the reply.

        Raises:
            DeadlinePassed: when the turn does not come before the request's deadline, at once
                where that is known before.
        """
        if self._line or self._in_flight >= self._limit.places or self._wait_seconds() > 0:
            await self._wait_in_line(request.deadline)
        else:
            self._take_place()
        try:
            ticket = self._limit.begin(self._in_flight)
            try:
                reply = await model.complete(request)
            except ModelFault as fault:
                self._heed(fault, ticket)
                raise
            self._limit.succeeded(ticket)
            if self._tokens is not None:
                used = reply.prompt_tokens + reply.completion_tokens
                self._tokens.spend(self._clock.now(), used)
            return reply
        finally:
            self._in_flight -= 1
            if self._line:
                self._admit()

    def _heed(self, fault: ModelFault, ticket: Ticket) -> None:
        """Slow down, if `fault` says so."""
        if fault.kind not in LOAD:
            return
        self._limit.overloaded(ticket)
        if fault.retry_after_seconds:
            pause = min(fault.retry_after_seconds, self._max_pause)
            self._paused_until = max(self._paused_until, self._clock.now() + pause)

    def _wait_seconds(self) -> float:
        """Return for how long nothing may begin, however many places are free."""
        now = self._clock.now()
        wait = self._paused_until - now
        if self._requests is not None:
            wait = max(wait, self._requests.wait_seconds(now))
        if self._tokens is not None:
            wait = max(wait, self._tokens.wait_seconds(now))
        return wait if wait > TICK else 0.0

    def _take_place(self) -> None:
        self._in_flight += 1
        if self._requests is not None:
            self._requests.spend(self._clock.now(), 1)

    async def _wait_in_line(self, deadline: float | None) -> None:
        """Return with a place when it is this call's turn."""
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        expiry = None
        if deadline is not None:
            left = deadline - self._clock.now()
            if left <= self._wait_seconds():
                raise self._too_late()
            expiry = loop.call_later(left, self._expire, turn)
        self._line[turn] = None
        self._admit()
        try:
            await turn
        except BaseException:
            self._line.pop(turn, None)
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._in_flight -= 1  # Its turn came, and it was cancelled before it could begin.
            self._admit()
            raise
        finally:
            if expiry is not None:
                expiry.cancel()

    def _expire(self, turn: asyncio.Future[None]) -> None:
        if not turn.done():
            turn.set_exception(self._too_late())

    def _too_late(self) -> DeadlinePassed:
        return DeadlinePassed(
            f"model {self._name!r}: its limits leave no room for the call before the deadline"
        )

    def _admit(self) -> None:
        """Let calls begin that may; set the alarm for when the next one may by the time."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        while self._line and self._in_flight < self._limit.places:
            wait = self._wait_seconds()
            if wait > 0:
                self._alarm = asyncio.get_running_loop().call_later(wait, self._admit)
                return
            turn, _ = self._line.popitem(last=False)
            if not turn.done():
                self._take_place()
                turn.set_result(None)


def _window(limit: int | None) -> MinuteWindow | None:
    return None if limit is None else MinuteWindow(limit)
