"""How the disk store's file is opened, and begun anew where it is damaged.

One process at a time opens the file, by a lock beside it: a file that another process has just
begun must not be taken for the damaged one that was there before.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from foresight_services.core.cache import CacheFault

LOCK_SECONDS: Final = 10.0
"""How long to wait for another process that opens the file."""
LOCK_AGAIN_SECONDS: Final = 0.02
"""Time between two attempts to get the lock."""


def fault_of(error: Exception) -> CacheFault | None:
    """Name what SQLite or the operating system tells; None for a defect of ours."""
    if isinstance(error, sqlite3.Error):
        match getattr(error, "sqlite_errorname", "").split("_"):
            case ["SQLITE", "BUSY" | "LOCKED", *_]:
                return CacheFault.TIMEOUT
            # Quotas and limits on the length of files are no `FULL` to SQLite. Reads go on.
            case ["SQLITE", "FULL"] | ["SQLITE", "IOERR", "WRITE"]:
                return CacheFault.FULL
            case ["SQLITE", "IOERR" | "CANTOPEN" | "READONLY" | "PERM" | "AUTH", *_]:
                return CacheFault.CONNECTION
            # All statements are fixed, so one that is refused has not met the tables it is for.
            case ["SQLITE", "CORRUPT" | "NOTADB" | "ERROR", *_]:
                return CacheFault.GARBAGE
            case _:
                return None
    return CacheFault.CONNECTION if isinstance(error, OSError) else None


@contextmanager
def opening_of(path: Path) -> Iterator[None]:
    """Be the only process that opens `path`; BlockingIOError where another takes too long."""
    # Made here, because SQLite would make the files readable for everybody.
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _lock(lock)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        yield
    finally:
        os.close(lock)  # ends the lock too


def _lock(file: int) -> None:
    end = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                raise
            time.sleep(LOCK_AGAIN_SECONDS)
        else:
            return


def inode_of(path: Path) -> tuple[int, int] | None:
    """Return what tells the file at `path` from others that may take its place; None for none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def put_aside(path: Path) -> None:
    """Rename the file, less what was not yet written into it, and leave an empty one."""
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    path.replace(path.with_name(path.name + ".damaged"))
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
