"""The SQLite file behind the disk store: what one thread of one process does with it.

Several processes may use one file. Every method is one transaction, so a process that is killed
leaves either all or nothing of what it was doing. Times are seconds of the wall clock, for other
processes and later runs read them. Values come and go as bytes; nothing is ever unpickled.

`used_at` moves only when it is older than a while, or else every read would be a write.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from foresight_services.core.cache import CacheKey
from foresight_services.core.errors import Precondition, Reason

APPLICATION_ID: Final = 0x46535445
"""Marks a file as this store's; any other database is left alone."""
SCHEMA_VERSION: Final = 1
"""A file with another one is emptied: it is a cache."""
ENTRY_BYTES: Final = 200
"""What a row and its places in the indexes take beside the value."""
USED_SECONDS: Final = 60.0
"""How exactly the last use of an entry is known."""
EVICTED_AT_ONCE: Final = 64
"""Entries that one step of an eviction removes."""

_SCHEMA: Final = f"""
DROP TABLE IF EXISTS entries;
DROP TABLE IF EXISTS leases;
DROP TABLE IF EXISTS totals;
CREATE TABLE entries (
    namespace TEXT NOT NULL, digest BLOB NOT NULL, value BLOB NOT NULL, size INTEGER NOT NULL,
    expires_at REAL NOT NULL, used_at REAL NOT NULL, UNIQUE (namespace, digest)
);
CREATE INDEX entries_by_use ON entries (used_at);
CREATE INDEX entries_by_end ON entries (expires_at);
CREATE TABLE leases (
    namespace TEXT NOT NULL, digest BLOB NOT NULL, owner TEXT NOT NULL, expires_at REAL NOT NULL,
    PRIMARY KEY (namespace, digest)
) WITHOUT ROWID;
CREATE TABLE totals (size INTEGER NOT NULL);
INSERT INTO totals VALUES (0);
CREATE TRIGGER entry_added AFTER INSERT ON entries
    BEGIN UPDATE totals SET size = size + NEW.size; END;
CREATE TRIGGER entry_removed AFTER DELETE ON entries
    BEGIN UPDATE totals SET size = size - OLD.size; END;
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
"""


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
        self._max_bytes = max_bytes
        self._wall_clock = wall_clock
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Made here, because SQLite would make it readable for everybody.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        self._db = sqlite3.connect(path, timeout=wait_seconds, isolation_level=None)
        try:
            self._prepare(path)
        except BaseException:
            self._db.close()
            raise

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def get(self, keys: Sequence[CacheKey]) -> list[bytes | None]:
        """Return what is stored, in order."""
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
        if used:
            with self._transaction():
                self._db.executemany(
                    "UPDATE entries SET used_at = ? WHERE rowid = ?", [(now, row) for row in used]
                )
        return values

    def put(self, entries: Mapping[CacheKey, tuple[bytes, float]]) -> None:
        """Store values with their lifetimes in seconds, and make room."""
        now = self._wall_clock()
        with self._transaction():
            self._delete(entries)
            self._db.executemany(
                "INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?)",
                [
                    (*key, value, len(value) + ENTRY_BYTES, now + lifetime, now)
                    for key, (value, lifetime) in entries.items()
                ],
            )
            self._make_room(now)

    def delete(self, keys: Collection[CacheKey]) -> None:
        """Remove values."""
        with self._transaction():
            self._delete(keys)

    def acquire(self, keys: Collection[CacheKey], owner: str, seconds: float) -> set[CacheKey]:
        """Return the keys that are `owner`'s now; a stored one is not, nor any longer."""
        now = self._wall_clock()
        with self._transaction():
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
        with self._transaction():
            held = {key for key in keys if self._holder(key, now) == owner}
            self._hold(held, owner, now + seconds)
        return held

    def release(self, keys: Collection[CacheKey], owner: str) -> None:
        """End leases of `owner`."""
        with self._transaction():
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

    def _prepare(self, path: Path) -> None:
        (application,) = self._db.execute("PRAGMA application_id").fetchone()
        (tables,) = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if tables and application != APPLICATION_ID:
            raise Precondition(
                Reason.INVALID_REQUEST, f"{path.name} in the cache's folder is not a cache"
            )
        self._db.execute("PRAGMA journal_mode = WAL")
        # A crash of the machine may lose the last values, and never damages the file.
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.execute(f"PRAGMA journal_size_limit = {16 * 2**20}")
        with self._transaction():
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            if version != SCHEMA_VERSION:
                for statement in _statements(_SCHEMA):
                    self._db.execute(statement)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        # IMMEDIATE, because one that began by reading could not wait for another writer.
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

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


def _statements(script: str) -> Iterator[str]:
    """Yield the statements of `script`; `executescript` would end the transaction."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
