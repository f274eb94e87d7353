"""The tables of the disk store's file, and how statements are put together to transactions."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from foresight_services.core.errors import Precondition, Reason

APPLICATION_ID: Final = 0x46535445
"""Marks a file as this store's; any other database is left alone."""
SCHEMA_VERSION: Final = 1
"""A file with another one is emptied: it is a cache."""

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


def prepare(db: sqlite3.Connection, name: str) -> None:
    """Make sure that `db` has our tables."""
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if tables and application != APPLICATION_ID:
        raise Precondition(Reason.INVALID_REQUEST, f"{name} in the cache's folder is not a cache")
    db.execute("PRAGMA journal_mode = WAL")
    # A crash of the machine may lose the last values, and never damages the file.
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute(f"PRAGMA journal_size_limit = {16 * 2**20}")
    (version,) = db.execute("PRAGMA user_version").fetchone()
    # Nothing is written where all is there: another process may be in the middle of writing.
    if version != SCHEMA_VERSION:
        with transaction(db):
            for statement in _statements(_SCHEMA):
                db.execute(statement)
    db.execute("SELECT size FROM totals").fetchone()


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Do all of what is inside, or nothing."""
    # IMMEDIATE, because one that began by reading could not wait for another writer.
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _statements(script: str) -> Iterator[str]:
    """Yield the statements of `script`; `executescript` would end the transaction."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
