"""A circuit breaker: calls to a backend that is down fail at once instead of adding to its load.

    closed ── enough calls in the window failed ──▶ open
      ▲                                              │ after a while
      └── as many probes succeeded ── half-open ◀────┘
                                          └── a probe failed ──▶ open

Only what tells that the backend is down or overloaded counts as a failure. A reply that cannot be
used or a request that was turned down shows that the backend answers, and counts as a success. What
tells nothing (a cancelled call, a caller's deadline) does not count, nor does a call that ends in
another state than it began in.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from foresight_services.core.ports import ChatModel, ChatReply, ChatRequest, Clock
from foresight_services.models.faults import LOAD, FaultKind, ModelFault

FAILURES: Final = LOAD | {FaultKind.CONNECTION, FaultKind.SERVER_ERROR}
"""Kinds that tell that the backend is down or overloaded."""

SLOTS: Final = 10
"""Parts of the window; it slides by one part at a time."""


class BreakerState(StrEnum):
    """Whether calls pass."""

    CLOSED = "closed"
    """All do."""
    OPEN = "open"
    """None does."""
    HALF_OPEN = "half_open"
    """A few do, to see whether the backend is back."""


@dataclass(frozen=True, slots=True)
class BreakerSettings:
    """When a backend counts as down, and for how long."""

    window_seconds: float = 30.0
    """How far back calls count."""
    min_calls: int = 20
    """Calls in the window below which nothing is concluded; at least 1."""
    failure_share: float = 0.5
    """Share of failed calls in the window at which the breaker opens; above 0, at most 1."""
    open_seconds: float = 10.0
    """How long no call passes."""
    probes: int = 3
    """Calls that pass at once when half open, and that must succeed to close; at least 1."""
    probe_wait_seconds: float = 1.0
    """Retry-After of the calls that do not pass when half open."""

    def __post_init__(self) -> None:
        """Raise ValueError where a setting cannot be used."""
        if not self.window_seconds > 0:
            raise ValueError("window_seconds must be longer than 0 s")
        if self.min_calls < 1 or self.probes < 1:
            raise ValueError("min_calls and probes must be at least 1")
        if not 0 < self.failure_share <= 1:
            raise ValueError("failure_share must be above 0 and at most 1")
        if not (self.open_seconds >= 0 and self.probe_wait_seconds >= 0):
            raise ValueError("open_seconds and probe_wait_seconds must be 0 or more")


class FailureWindow:
    """Calls and failures of the last seconds."""

    def __init__(self, seconds: float) -> None:
        self._slot_seconds = seconds / SLOTS
        self._slots: deque[tuple[int, int, int]] = deque()
        self.calls = 0
        """Calls in the window; read only."""
        self.failures = 0
        """Failed calls in the window; read only."""

    def add(self, now: float, failed: bool) -> None:
        """Count a call that ended now."""
        slots, number = self._slots, int(now // self._slot_seconds)
        while slots and slots[0][0] <= number - SLOTS:
            _, calls, failures = slots.popleft()
            self.calls -= calls
            self.failures -= failures
        if slots and slots[-1][0] == number:
            _, calls, failures = slots.pop()
        else:
            calls = failures = 0
        slots.append((number, calls + 1, failures + failed))
        self.calls += 1
        self.failures += failed


class BreakerModel:
    """Decorates the `ChatModel` of one backend with a circuit breaker."""

    def __init__(
        self,
        model: ChatModel,
        *,
        name: str,
        settings: BreakerSettings,
        clock: Clock,
        on_state: Callable[[BreakerState], None] | None = None,
    ) -> None:
        """Guard `model`.

        Args:
            model: the backend with its limits.
            name: the configuration's name of the model.
            settings: when it counts as down.
            clock: measures window and waits.
            on_state: told the state, at once and whenever it changes.
        """
        self._model = model
        self._name = name
        self._settings = settings
        self._clock = clock
        self._on_state = on_state
        self._open_until = 0.0
        self._opened_by: FaultKind | None = None
        self._generation = 0
        """How many states there have been; a call's outcome counts within its own only."""
        self._enter(BreakerState.CLOSED)

    @property
    def state(self) -> BreakerState:
        """Whether calls pass; open until a call finds that its time is over."""
        return self._state

    async def complete(self, request: ChatRequest) -> ChatReply:
        """Let the call through to the model; see `through`."""
        return await self.through(self._model, request)

    async def through(self, model: ChatModel, request: ChatRequest) -> ChatReply:
        """Return the reply.

        Raises:
            ModelFault: of kind BREAKER_OPEN, with a Retry-After, where the call does not pass.
        """
        if self._state is not BreakerState.CLOSED:
            self._knock()
        generation = self._generation
        failed: bool | None = None
        try:
            reply = await model.complete(request)
            failed = False
            return reply
        except ModelFault as fault:
            failed = fault.kind in FAILURES
            if failed and generation == self._generation:
                self._opened_by = fault.kind
            raise
        finally:
            if generation == self._generation:
                self._ended(failed)

    def _knock(self) -> None:
        """Take a probe's place, or raise."""
        if self._state is BreakerState.OPEN:
            left = self._open_until - self._clock.now()
            if left > 0:
                raise self._refusal("is failing; no call is made for now", left)
            self._enter(BreakerState.HALF_OPEN)
        if self._probing >= self._settings.probes:
            wait = self._settings.probe_wait_seconds
            raise self._refusal("was failing; a few calls try whether it is back", wait)
        self._probing += 1

    def _refusal(self, what: str, retry_after: float) -> ModelFault:
        cause = f"{what} (last fault: {self._opened_by})" if self._opened_by else what
        return ModelFault(
            FaultKind.BREAKER_OPEN, self._name, cause, retry_after_seconds=retry_after
        )

    def _ended(self, failed: bool | None) -> None:
        """Draw the conclusions from a call of this state; None tells nothing."""
        if self._state is BreakerState.HALF_OPEN:
            self._probing -= 1
            if failed:
                self._open()
            elif failed is False:
                self._succeeded += 1
                if self._succeeded >= self._settings.probes:
                    self._enter(BreakerState.CLOSED)
        elif failed is not None:
            window, settings = self._window, self._settings
            window.add(self._clock.now(), failed)
            if (
                failed
                and window.calls >= settings.min_calls
                and window.failures >= settings.failure_share * window.calls
            ):
                self._open()

    def _open(self) -> None:
        self._open_until = self._clock.now() + self._settings.open_seconds
        self._enter(BreakerState.OPEN)

    def _enter(self, state: BreakerState) -> None:
        self._state = state
        self._generation += 1
        self._window = FailureWindow(self._settings.window_seconds)
        self._probing = 0
        self._succeeded = 0
        if self._on_state is not None:
            self._on_state(state)
