"""The SQLite file behind the disk store: what one thread of one process does with it.

Several processes may use one file. Every method is one transaction, so a process that is killed
leaves either all or nothing of what it was doing. Times are seconds of the wall clock, for other
processes and later runs read them. Values come and go as bytes; nothing is ever unpickled.

`used_at` moves only when it is older than a while, or else every read would be a write.

A file that turns out to be damaged is put aside, and an empty one begun in its place.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Final

from foresight_services.cache.disk_opening import (
    fault_of,
    inode_of,
    opening_of,
    put_aside,
)
from foresight_services.cache.disk_schema import prepare, transaction
from foresight_services.core.cache import CacheFault, CacheKey

ENTRY_BYTES: Final = 200
"""What a row and its places in the indexes take beside the value."""
USED_SECONDS: Final = 60.0
"""How exactly the last use of an entry is known."""
EVICTED_AT_ONCE: Final = 64
"""Entries that one step of an eviction removes."""


class DiskFile:
    """An open file, for one thread."""

    def __init__(
        self, path: Path, *, max_bytes: int, wait_seconds: float, wall_clock: Callable[[], float]
    ) -> None:
        """Open or make the file.

        Args:
            path: the file; its folder is made if need be, for this user alone.
            max_bytes: bound on values and rows; the file itself stays close to it.
            wait_seconds: how long to wait for another process's transaction.
            wall_clock: seconds since 1970.

        Raises:
            Precondition: the file is another program's database.
            sqlite3.Error: it cannot be opened.
        """
        self._path = path
        self._max_bytes = max_bytes
        self._wait_seconds = wait_seconds
        self._wall_clock = wall_clock
        self._used: list[int] = []
        self.damaged = 0
        """How many files were put aside, the one included that was there at first; read only."""
        self._db = self._opened()

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def begin_anew(self) -> None:
        """Open what is at the path now; the file that was open is put aside if it is still there.

        Raises:
            Precondition: the file is another program's database.
            sqlite3.Error, OSError: it cannot be opened; the store stays as it was, of no use.
        """
        self._db.close()
        self._db = self._opened(damaged=self._inode)

    def get(self, keys: Sequence[CacheKey]) -> list[bytes | None]:
        """Return what is stored, in order; `tidy` writes down that it was used."""
        now, values, used = self._wall_clock(), list[bytes | None](), list[int]()
        for key in keys:
            row = self._db.execute(
                "SELECT rowid, value, used_at FROM entries"
                " WHERE namespace = ? AND digest = ? AND expires_at > ?",
                (*key, now),
            ).fetchone()
            values.append(None if row is None else row[1])
            if row is not None and row[2] < now - USED_SECONDS:
                used.append(row[0])
        self._used = used
        return values

    def tidy(self, damaged: Collection[CacheKey]) -> None:
        """Write down the last use of what was got, and remove `damaged`; waits for nobody."""
        used, self._used = self._used, []
        if not used and not damaged:
            return
        self._db.execute("PRAGMA busy_timeout = 0")
        try:
            with transaction(self._db):
                self._delete(damaged)
                now = self._wall_clock()
                self._db.executemany(
                    "UPDATE entries SET used_at = ? WHERE rowid = ?", [(now, row) for row in used]
                )
        finally:
            self._db.execute(f"PRAGMA busy_timeout = {round(self._wait_seconds * 1000)}")

    def put(self, entries: Mapping[CacheKey, tuple[bytes, float]]) -> None:
        """Store values with their lifetimes in seconds, and make room."""
        now = self._wall_clock()
        with transaction(self._db):
            self._delete(entries)
            self._db.executemany(
                "INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?)",
                [
                    (*key, value, len(value) + ENTRY_BYTES, now + lifetime, now)
                    for key, (value, lifetime) in entries.items()
                ],
            )
            self._make_room(now)

    def acquire(self, keys: Collection[CacheKey], owner: str, seconds: float) -> set[CacheKey]:
        """Return the keys that are `owner`'s now; a stored one is not, nor any longer."""
        now = self._wall_clock()
        with transaction(self._db):
            self._db.execute("DELETE FROM leases WHERE expires_at <= ?", (now,))
            free = {key for key in keys if self._holder(key, now) in (None, owner)}
            stored = {key for key in free if self._stored(key, now)}
            self._let_go(stored, owner)
            won = free - stored
            self._hold(won, owner, now + seconds)
        return won

    def renew(self, keys: Collection[CacheKey], owner: str, seconds: float) -> set[CacheKey]:
        """Return the keys that are still `owner`'s, for longer now."""
        now = self._wall_clock()
        with transaction(self._db):
            held = {key for key in keys if self._holder(key, now) == owner}
            self._hold(held, owner, now + seconds)
        return held

    def release(self, keys: Collection[CacheKey], owner: str) -> None:
        """End leases of `owner`."""
        with transaction(self._db):
            self._let_go(keys, owner)

    def held(self, keys: Collection[CacheKey]) -> dict[CacheKey, float]:
        """Return the seconds left of those that are held and not stored."""
        now, held = self._wall_clock(), dict[CacheKey, float]()
        for key in keys:
            row = self._db.execute(
                "SELECT expires_at FROM leases"
                " WHERE namespace = ? AND digest = ? AND expires_at > ?",
                (*key, now),
            ).fetchone()
            if row is not None and not self._stored(key, now):
                held[key] = row[0] - now
        return held

    @property
    def size(self) -> int:
        """Bytes of values and rows."""
        (size,) = self._db.execute("SELECT size FROM totals").fetchone()
        return int(size)

    def _opened(self, damaged: tuple[int, int] | None = None) -> sqlite3.Connection:
        """Return a connection to the file, which is put aside first if it is `damaged`."""
        with opening_of(self._path):
            if damaged is not None and inode_of(self._path) == damaged:
                self._put_aside()
            self._inode = inode_of(self._path)
            try:
                return self._connected()
            except sqlite3.DatabaseError as error:
                if fault_of(error) is not CacheFault.GARBAGE:
                    raise
            self._put_aside()
            self._inode = inode_of(self._path)
            return self._connected()

    def _put_aside(self) -> None:
        put_aside(self._path)
        self.damaged += 1

    def _connected(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, timeout=self._wait_seconds, isolation_level=None)
        try:
            prepare(db, self._path.name)
        except BaseException:
            db.close()
            raise
        return db

    def _make_room(self, now: float) -> None:
        if self.size <= self._max_bytes:
            return
        self._db.execute("DELETE FROM entries WHERE expires_at <= ?", (now,))
        while self.size > self._max_bytes:
            oldest = self._db.execute(
                "SELECT rowid, size FROM entries ORDER BY used_at, rowid LIMIT ?",
                (EVICTED_AT_ONCE,),
            ).fetchall()
            excess = self.size - self._max_bytes
            for row, size in oldest:
                if excess <= 0:
                    break
                self._db.execute("DELETE FROM entries WHERE rowid = ?", (row,))
                excess -= size

    def _delete(self, keys: Collection[CacheKey]) -> None:
        self._db.executemany(
            "DELETE FROM entries WHERE namespace = ? AND digest = ?", [tuple(key) for key in keys]
        )

    def _stored(self, key: CacheKey, now: float) -> bool:
        row = self._db.execute(
            "SELECT 1 FROM entries WHERE namespace = ? AND digest = ? AND expires_at > ?",
            (*key, now),
        ).fetchone()
        return row is not None

    def _holder(self, key: CacheKey, now: float) -> str | None:
        row = self._db.execute(
            "SELECT owner FROM leases WHERE namespace = ? AND digest = ? AND expires_at > ?",
            (*key, now),
        ).fetchone()
        return None if row is None else str(row[0])

    def _let_go(self, keys: Collection[CacheKey], owner: str) -> None:
        self._db.executemany(
            "DELETE FROM leases WHERE namespace = ? AND digest = ? AND owner = ?",
            [(*key, owner) for key in keys],
        )

    def _hold(self, keys: Collection[CacheKey], owner: str, until: float) -> None:
        self._db.executemany(
            "INSERT OR REPLACE INTO leases VALUES (?, ?, ?, ?)",
            [(*key, owner, until) for key in keys],
        )
