"""Calls to a store that may be slow or gone: bounded in time, counted, and never an exception.

Every call runs in a task of its own, which ends with its answer or its time limit. A caller that is
cancelled leaves the task to its end, so that no connection is given up between a command and its
reply, and no file between a statement and its commit.

After several failures in a row the store is left alone for a while, which doubles up to a limit;
then one call tries it, and the others go on past it until that call has succeeded.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from foresight_services.core.cache import (
    BypassReason,
    CacheFault,
    CacheObserver,
    CacheOperation,
)
from foresight_services.core.ports import Clock

_log: Final = logging.getLogger(__name__)

T = TypeVar("T")

OUTAGES: Final = frozenset(
    {
        CacheFault.TIMEOUT,
        CacheFault.CONNECTION,
        CacheFault.LOADING,
        CacheFault.FAILOVER,
        CacheFault.REFUSED,
    }
)
"""Faults that tell that the store cannot be used; the others tell that it answers."""


@dataclass(frozen=True, slots=True)
class OutageSettings:
    """When a store counts as gone, and for how long."""

    failures: int = 5
    """Failures in a row after which it is left alone; at least 1."""
    pause_seconds: float = 0.5
    """How long the first time; it doubles with every attempt that fails."""
    longest_pause_seconds: float = 15.0
    """Longest time between attempts."""


class Outage:
    """Knows whether a store is worth asking."""

    def __init__(self, settings: OutageSettings, clock: Clock) -> None:
        """Begin with a store that is there."""
        self._settings = settings
        self._clock = clock
        self._failures = 0
        self._pause = settings.pause_seconds
        self._until: float | None = None
        self._trying = False

    @property
    def lasts(self) -> bool:
        """Whether the store has failed and no attempt has succeeded since."""
        return self._until is not None

    def enter(self) -> bool:
        """Return whether a call may be made; its end must be told."""
        if self._until is None:
            return True
        if self._trying or self._clock.now() < self._until:
            return False
        self._trying = True
        return True

    def succeeded(self) -> None:
        """Tell that a call was answered."""
        if self._until is not None:
            _log.warning("the cache is back")
        self._failures = 0
        self._pause = self._settings.pause_seconds
        self._until = None
        self._trying = False

    def failed(self) -> None:
        """Tell that a call found the store gone."""
        self._failures += 1
        if self._trying:
            self._pause = min(self._pause * 2, self._settings.longest_pause_seconds)
            self._trying = False
        elif self._until is not None or self._failures < self._settings.failures:
            return  # Calls from before the outage say nothing new.
        else:
            _log.warning("the cache is left alone: it failed %d times in a row", self._failures)
        self._until = self._clock.now() + self._pause


class StoreFailed(Exception):
    """A call failed as a whole, for a reason that has a name."""

    def __init__(self, fault: CacheFault) -> None:
        super().__init__(fault.value)
        self.fault = fault


class Guard:
    """Makes the calls of one store."""

    def __init__(
        self,
        *,
        timeout_seconds: float,
        settings: OutageSettings,
        clock: Clock,
        observer: CacheObserver,
        fault_of: Callable[[Exception], CacheFault | None],
        at_once: int | None = None,
    ) -> None:
        """Guard a store.

        Args:
            timeout_seconds: limit of one call, the wait for its place included.
            settings: when the store is left alone.
            clock: measures calls and pauses.
            observer: told of failures and times.
            fault_of: names what an exception of the store means; None for a defect.
            at_once: calls at once; more wait in line. None for no limit.
        """
        self._timeout = timeout_seconds
        self._clock = clock
        self._observer = observer
        self._fault_of = fault_of
        self._places = None if at_once is None else asyncio.Semaphore(at_once)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False
        self.outage = Outage(settings, clock)
        """Whether the store is worth asking."""

    async def call(
        self,
        operation: CacheOperation,
        keys: int,
        work: Callable[[], Awaitable[T]],
        otherwise: T,
    ) -> T:
        """Return what `work` returns, or `otherwise` where the store cannot be used.

        `work` raises what `fault_of` can name, or tells `note` of failures of single keys.
        """
        if self._closed:
            self._observer.bypassed(BypassReason.CLOSED, operation, keys)
            return otherwise
        if not self.outage.enter():
            self._observer.bypassed(BypassReason.OUTAGE, operation, keys)
            return otherwise
        return await asyncio.shield(self.start(self._bounded(operation, work, otherwise)))

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start a task that ends by itself and that `close` waits for."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def note(self, operation: CacheOperation, faults: set[CacheFault]) -> None:
        """Count failures of single keys in a call that was answered."""
        for fault in sorted(faults):
            self._observer.failed(fault, operation)

    async def close(self) -> bool:
        """Bypass all further calls and wait for those that run; return whether it was open."""
        first, self._closed = not self._closed, True
        while self._tasks:
            await asyncio.wait(tuple(self._tasks))
        return first

    async def _bounded(
        self, operation: CacheOperation, work: Callable[[], Awaitable[T]], otherwise: T
    ) -> T:
        start = self._clock.now()
        try:
            async with asyncio.timeout(self._timeout):
                if self._places is None:
                    result = await work()
                else:
                    async with self._places:
                        result = await work()
        except Exception as error:
            fault = self._name(error, operation)
            self._observer.failed(fault, operation)
            if fault in OUTAGES:
                self.outage.failed()
            else:
                self.outage.succeeded()
            return otherwise
        finally:
            self._observer.took(operation, self._clock.now() - start)
        self.outage.succeeded()
        return result

    def _name(self, error: Exception, operation: CacheOperation) -> CacheFault:
        if isinstance(error, StoreFailed):
            return error.fault
        if isinstance(error, TimeoutError):
            return CacheFault.TIMEOUT
        fault = self._fault_of(error)
        if fault is not None:
            return fault
        # A request must not fail because its cache has a defect. Messages of clients may quote
        # what was stored, so the log has the place only.
        place = "".join(traceback.format_tb(error.__traceback__)[-3:])
        _log.error("cache %s failed: %s at\n%s", operation.value, type(error).__name__, place)
        return CacheFault.UNEXPECTED
