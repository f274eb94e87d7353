"""Values in a file of this machine, kept between runs and shared by its processes.

One thread does all the work, so that the event loop never waits for the disk; `disk_file` says what
it does. What is read is checked like what comes from a network: a file can be damaged too.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from foresight_services.cache.disk_file import ENTRY_BYTES, DiskFile
from foresight_services.cache.disk_opening import fault_of
from foresight_services.cache.envelope import MAX_VALUE_BYTES, Envelope, NotAValue
from foresight_services.cache.guard import Guard, OutageSettings
from foresight_services.cache.waiting import Waiting
from foresight_services.core.cache import (
    BypassReason,
    CacheFault,
    CacheKey,
    CacheObserver,
    CacheOperation,
    Lifetime,
    count_lookup,
    count_stored,
)
from foresight_services.core.errors import DomainError, Precondition, Reason
from foresight_services.core.ports import Clock

FILE_NAME: Final = "foresight-cache.sqlite3"
"""The file in the folder that the configuration names."""
POLL_SECONDS: Final = 0.1
"""How soon a key that another process settled is noticed."""
WAIT_SECONDS: Final = 1.0
"""How long one transaction waits for another process's."""
TIMEOUT_SECONDS: Final = 5.0
"""Limit of one call: a file system that stalls is left alone."""

T = TypeVar("T")


class DiskCache:
    """Implements the port `CacheStore` on one folder. Made by `open_disk_cache`."""

    def __init__(
        self,
        file: DiskFile,
        thread: ThreadPoolExecutor,
        *,
        max_bytes: int,
        lifetime: Lifetime,
        envelope: Envelope,
        clock: Clock,
        rng: random.Random,
        observer: CacheObserver,
        outage: OutageSettings,
    ) -> None:
        """Use `file`, which `thread`, of one worker, has opened."""
        self._file = file
        self._thread = thread
        self._max_bytes = max_bytes
        self._lifetime = lifetime
        self._envelope = envelope
        self._rng = rng
        self._observer = observer
        self._guard = Guard(
            timeout_seconds=TIMEOUT_SECONDS,
            settings=outage,
            clock=clock,
            observer=observer,
            fault_of=fault_of,
        )
        self._waiting = Waiting(self._look, poll_seconds=POLL_SECONDS)

    async def get_many(self, keys: Sequence[CacheKey]) -> Sequence[bytes | None]:
        """Implement `Cache.get_many`."""
        nothing: list[bytes | None] = [None] * len(keys)
        work = partial(self._in_thread, partial(self._get, keys))
        values, faults = await self._guard.call(
            CacheOperation.GET, len(keys), work, (nothing, set[CacheFault]())
        )
        self._guard.note(CacheOperation.GET, faults)
        count_lookup(self._observer, keys, values)
        return values

    async def put_many(self, entries: Mapping[CacheKey, bytes]) -> None:
        """Implement `Cache.put_many`."""
        largest = min(self._max_bytes - ENTRY_BYTES, MAX_VALUE_BYTES)
        fitting = {key: value for key, value in entries.items() if len(value) <= largest}
        if len(fitting) < len(entries):
            left_out = len(entries) - len(fitting)
            self._observer.bypassed(BypassReason.TOO_LARGE, CacheOperation.PUT, left_out)
        lifetimes = {key: self._lifetime.draw(self._rng) for key in fitting}
        work = partial(self._in_thread, partial(self._put, fitting, lifetimes))
        nothing: dict[CacheKey, int] = {}
        sizes = await self._guard.call(CacheOperation.PUT, len(fitting), work, nothing)
        count_stored(self._observer, sizes)
        self._waiting.hint(sizes)

    async def acquire_many(
        self, keys: Collection[CacheKey], owner: str, ttl_seconds: float
    ) -> frozenset[CacheKey]:
        """Implement `Leases.acquire_many`."""
        work = partial(self._in_thread, partial(self._file.acquire, keys, owner, ttl_seconds))
        return frozenset(await self._guard.call(CacheOperation.ACQUIRE, len(keys), work, set(keys)))

    async def renew_many(
        self, keys: Collection[CacheKey], owner: str, ttl_seconds: float
    ) -> frozenset[CacheKey]:
        """Implement `Leases.renew_many`."""
        work = partial(self._in_thread, partial(self._file.renew, keys, owner, ttl_seconds))
        return frozenset(await self._guard.call(CacheOperation.RENEW, len(keys), work, set(keys)))

    async def release_many(self, keys: Collection[CacheKey], owner: str) -> None:
        """Implement `Leases.release_many`."""
        work = partial(self._in_thread, partial(self._file.release, keys, owner))
        await self._guard.call(CacheOperation.RELEASE, len(keys), work, None)
        self._waiting.hint(keys)

    async def wait_any(
        self, keys: Collection[CacheKey], timeout_seconds: float
    ) -> frozenset[CacheKey]:
        """Implement `Leases.wait_any`."""
        return await self._waiting.wait_any(keys, timeout_seconds)

    async def close(self) -> None:
        """Implement `CacheStore.close`."""
        await self._waiting.close()
        if not await self._guard.close():
            return
        await self._in_thread(self._file.close)
        self._thread.shutdown(wait=False)

    def _get(self, keys: Sequence[CacheKey]) -> tuple[list[bytes | None], set[CacheFault]]:
        values, damaged = list[bytes | None](), list[CacheKey]()
        for key, stored in zip(keys, self._file.get(keys), strict=True):
            try:
                values.append(None if stored is None else self._envelope.unpack(key, stored))
            except NotAValue:
                values.append(None)
                damaged.append(key)
        faults = {CacheFault.GARBAGE} if damaged else set()
        try:
            self._file.tidy(damaged)
        except sqlite3.Error as error:
            # What was read is good, though the disk is full or another process writes.
            faults.add(fault_of(error) or CacheFault.UNEXPECTED)
        return values, faults

    def _put(
        self, entries: Mapping[CacheKey, bytes], lifetimes: Mapping[CacheKey, float]
    ) -> dict[CacheKey, int]:
        packed = {
            key: (self._envelope.pack(key, value), lifetimes[key]) for key, value in entries.items()
        }
        self._file.put(packed)
        return {key: len(value) for key, (value, _) in packed.items()}

    async def _look(self, keys: Sequence[CacheKey]) -> Mapping[CacheKey, float]:
        work = partial(self._in_thread, partial(self._file.held, keys))
        held = await self._guard.call(CacheOperation.WATCH, len(keys), work, None)
        if held is not None:
            return held
        return {} if self._guard.outage.lasts else dict.fromkeys(keys, POLL_SECONDS)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, partial(self._on_a_good_file, work))

    def _on_a_good_file(self, work: Callable[[], T]) -> T:
        """Do `work`, which fails as a whole where the file is damaged; the next has another."""
        try:
            return work()
        except sqlite3.Error as error:
            if fault_of(error) is CacheFault.GARBAGE:
                self._file.begin_anew()
            raise


async def open_disk_cache(
    folder: Path,
    *,
    max_bytes: int,
    lifetime: Lifetime,
    compress_above_bytes: int,
    clock: Clock,
    rng: random.Random,
    observer: CacheObserver,
    wall_clock: Callable[[], float] = time.time,
) -> DiskCache:
    """Open the store in `folder`; a damaged file is put aside and a new one begun.

    Raises:
        Precondition: the folder cannot be used, or the file is another program's.
    """
    thread = ThreadPoolExecutor(1, thread_name_prefix="cache")
    path = folder / FILE_NAME
    open_file = partial(
        DiskFile, path, max_bytes=max_bytes, wait_seconds=WAIT_SECONDS, wall_clock=wall_clock
    )
    loop = asyncio.get_running_loop()
    try:
        file = await loop.run_in_executor(thread, open_file)
    except (sqlite3.Error, OSError) as error:
        thread.shutdown(wait=False)
        problem = f"the cache's folder cannot be used: {type(error).__name__}"
        raise Precondition(Reason.INVALID_REQUEST, problem) from error
    except DomainError:
        thread.shutdown(wait=False)
        raise
    if file.damaged:
        observer.failed(CacheFault.GARBAGE, CacheOperation.GET)
    return DiskCache(
        file,
        thread,
        max_bytes=max_bytes,
        lifetime=lifetime,
        envelope=Envelope(compress_above_bytes=compress_above_bytes),
        clock=clock,
        rng=rng,
        observer=observer,
        outage=OutageSettings(),
    )
