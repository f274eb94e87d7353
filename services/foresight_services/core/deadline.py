"""Stop work at a deadline.

All work of one request has one deadline, and thousands of its pieces run at once. So a moment has
one timer, whoever waits for it: a piece of work costs its timer a place in a table and no more.
"""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Final

from foresight_services.core.errors import DeadlinePassed
from foresight_services.core.ports import Clock


def until(deadline: float | None, clock: Clock) -> AbstractAsyncContextManager[None]:
    """Cancel what runs inside at `deadline`, in the time of `clock`, and raise DeadlinePassed.

    A cancellation that comes from inside, and not from whoever waits for the task, is an error like
    any other: it must not pass for the caller's own.
    """
    return _Scope(deadline, clock)


class _Alarm:
    """Ends all scopes of one event loop that end at one moment."""

    __slots__ = ("_clock", "_key", "_scopes", "_timer")

    def __init__(self, key: _Key, clock: Clock) -> None:
        loop, _, deadline = key
        self._key = key
        # Kept, so that no other clock can come to have its identity.
        self._clock = clock
        self._scopes: dict[_Scope, None] = {}
        left = deadline - clock.now()
        self._timer: asyncio.Handle = (
            loop.call_later(left, self._ring) if left > 0 else loop.call_soon(self._ring)
        )

    def enter(self, scope: _Scope) -> None:
        """End `scope` too."""
        self._scopes[scope] = None

    def leave(self, scope: _Scope) -> None:
        """Let go of a scope that has ended by itself; without scopes there is no timer."""
        self._scopes.pop(scope, None)
        if not self._scopes and _ALARMS.get(self._key) is self:
            del _ALARMS[self._key]
            self._timer.cancel()

    def _ring(self) -> None:
        del _ALARMS[self._key]
        for scope in tuple(self._scopes):
            scope.expire()


_Key = tuple[asyncio.AbstractEventLoop, int, float]
"""Loop, identity of the clock, deadline."""

_ALARMS: Final[dict[_Key, _Alarm]] = {}
"""The alarms that anybody waits for, of every loop of the process."""


class _Scope:
    """One piece of work with a deadline; entered once."""

    __slots__ = ("_alarm", "_cancelling", "_clock", "_deadline", "_expired", "_task")

    def __init__(self, deadline: float | None, clock: Clock) -> None:
        self._deadline = deadline
        self._clock = clock
        self._alarm: _Alarm | None = None
        self._expired = False

    async def __aenter__(self) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a deadline is for work inside a task")
        self._task = task
        self._cancelling = task.cancelling()
        if self._deadline is None:
            return
        key = (task.get_loop(), id(self._clock), self._deadline)
        alarm = _ALARMS.get(key)
        if alarm is None:
            alarm = _ALARMS[key] = _Alarm(key, self._clock)
        alarm.enter(self)
        self._alarm = alarm

    def expire(self) -> None:
        """Cancel the work."""
        self._expired = True
        self._task.cancel()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._alarm is not None:
            self._alarm.leave(self)
        if self._expired:
            ours = self._task.uncancel() <= self._cancelling
            if isinstance(error, TimeoutError) or (
                ours and isinstance(error, asyncio.CancelledError)
            ):
                raise DeadlinePassed from error
        if isinstance(error, asyncio.CancelledError) and not self._task.cancelling():
            raise RuntimeError("a call was cancelled by what it called") from error
