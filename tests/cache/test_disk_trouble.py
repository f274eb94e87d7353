"""A file that is damaged, locked or without room costs what it cannot keep, and nothing else."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from pathlib import Path

import pytest

from foresight_services.cache.disk import FILE_NAME
from tests.cache.disk_folder import on_file, opened
from tests.cache.recording import key, keys

LONG = 1000.0


def noise(number: int) -> bytes:
    """Return a value that takes pages of its own."""
    return random.Random(number).randbytes(3000)


async def written(folder: Path, recorder, wall, count: int) -> None:
    """Leave a file with so many values."""
    store = await opened(folder, recorder, wall)
    await store.put_many({key(number): noise(number) for number in range(count)})
    await store.close()


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def overwritten(content: bytes) -> bytes:
    return content[:8192] + bytes(len(content) - 8192)


async def read_until_it_keeps(store) -> None:
    """Read values that may be damaged, until the store has a file that keeps what it is given."""
    async with asyncio.timeout(60):
        while True:
            for number in range(100):
                (found,) = await store.get_many(keys(number))
                assert found in (None, noise(number))
            await store.put_many({key(1000): b"new"})
            if list(await store.get_many(keys(1000))) == [b"new"]:
                return


@pytest.mark.parametrize("harm", [cut, overwritten])
async def test_a_file_that_was_damaged_between_runs_is_put_aside(folder, recorder, wall, harm):
    await written(folder, recorder, wall, 100)
    file = folder / FILE_NAME
    file.write_bytes(harm(file.read_bytes()))
    store = await opened(folder, recorder, wall)
    await read_until_it_keeps(store)
    await store.close()
    assert set(recorder.faults) == {"garbage"}
    # What comes next begins with a good file.
    recorder.faults.clear()
    later = await opened(folder, recorder, wall)
    assert list(await later.get_many(keys(1000))) == [b"new"]
    await later.close()
    assert not recorder.faults


@pytest.mark.parametrize("harm", [cut, overwritten, lambda content: b""])
async def test_a_file_that_is_damaged_in_use_is_put_aside(folder, recorder, wall, harm):
    await written(folder, recorder, wall, 100)
    store = await opened(folder, recorder, wall)
    await store.get_many(keys(1))
    file = folder / FILE_NAME
    file.write_bytes(harm(file.read_bytes()))
    await read_until_it_keeps(store)
    await store.close()
    assert set(recorder.faults) <= {"garbage"}
    later = await opened(folder, recorder, wall)
    assert list(await later.get_many(keys(1000))) == [b"new"]
    await later.close()


async def test_who_finds_a_damaged_file_leaves_the_one_that_took_its_place(folder, recorder, wall):
    await written(folder, recorder, wall, 100)
    first = await opened(folder, recorder, wall)
    second = await opened(folder, recorder, wall)
    file = folder / FILE_NAME
    file.write_bytes(overwritten(file.read_bytes()))
    await read_until_it_keeps(first)
    inode = file.stat().st_ino
    await read_until_it_keeps(second)
    assert file.stat().st_ino == inode
    assert list(await first.get_many(keys(1000))) == [b"new"]
    await first.close()
    await second.close()


async def test_another_process_that_keeps_it_locked_costs_a_write(folder, recorder, wall):
    store = await opened(folder, recorder, wall)
    await store.put_many({key(1): b"value"})
    other = sqlite3.connect(folder / FILE_NAME, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    await store.put_many({key(2): b"value"})
    assert await store.acquire_many(keys(3), "me", LONG) == set(keys(3))
    assert list(await store.get_many(keys(1, 2))) == [b"value", None]
    assert recorder.faults == {"timeout": 2}
    other.execute("ROLLBACK")
    other.close()
    await store.put_many({key(2): b"value"})
    assert list(await store.get_many(keys(2))) == [b"value"]
    await store.close()


async def test_what_is_read_is_good_though_its_use_cannot_be_written_down(folder, recorder, wall):
    store = await opened(folder, recorder, wall)
    await store.put_many({key(1): b"value"})
    wall.time += 90
    other = sqlite3.connect(folder / FILE_NAME, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert list(await store.get_many(keys(1))) == [b"value"]
    assert recorder.faults == {"timeout": 1}
    other.execute("ROLLBACK")
    other.close()
    await store.get_many(keys(1))
    assert on_file(folder, "SELECT used_at FROM entries") == [(wall.time,)]
    await store.close()


async def test_another_process_in_the_middle_of_writing_keeps_nobody_from_opening(
    folder, recorder, wall
):
    await written(folder, recorder, wall, 1)
    other = sqlite3.connect(folder / FILE_NAME, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    store = await opened(folder, recorder, wall)
    assert list(await store.get_many(keys(0))) == [noise(0)]
    other.execute("ROLLBACK")
    other.close()
    await store.close()
    assert not recorder.faults


async def test_a_full_disk_costs_writes_and_no_reads(folder, recorder, wall):
    store = await opened(folder, recorder, wall)
    await store.put_many({key(1): b"value"})

    def bound(pages: int) -> None:
        # SQLite tells that the disk is full where its file may not grow.
        store._file._db.execute(f"PRAGMA max_page_count = {pages}")

    await store._in_thread(lambda: bound(1))
    wall.time += 90
    for number in range(2, 8):
        await store.put_many({key(number): noise(number) * 10})
        assert list(await store.get_many(keys(1, number))) == [b"value", None]
    assert set(recorder.faults) == {"full"}
    assert not recorder.bypasses
    await store._in_thread(lambda: bound(2**30))
    await store.put_many({key(2): noise(2)})
    assert list(await store.get_many(keys(2))) == [noise(2)]
    await store.close()
