"""Folders of disk stores for tests, and their files past the store."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path

from foresight_services.cache.disk import FILE_NAME, open_disk_cache
from foresight_services.core.cache import Lifetime
from tests.fakes.virtual_time import LoopClock


class Wall:
    """A wall clock that a test sets."""

    def __init__(self) -> None:
        self.time = 1e9

    def __call__(self) -> float:
        return self.time


async def opened(folder: Path, observer, wall, *, max_bytes: int = 2**24):
    return await open_disk_cache(
        folder,
        max_bytes=max_bytes,
        lifetime=Lifetime(100.0),
        compress_above_bytes=10**9,
        clock=LoopClock(),
        rng=random.Random(0),
        observer=observer,
        wall_clock=wall,
    )


def on_file(folder: Path, statement: str, *values: object) -> list:
    """Run a statement on the file, past the store."""
    connection = sqlite3.connect(folder / FILE_NAME)
    try:
        with connection:
            return connection.execute(statement, values).fetchall()
    finally:
        connection.close()
