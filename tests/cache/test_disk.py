"""The file: bounded, private, checked, and nobody else's."""

from __future__ import annotations

import asyncio
import pickle
import random
import stat

import pytest

from foresight_services.cache.disk import FILE_NAME
from foresight_services.cache.disk_file import ENTRY_BYTES
from foresight_services.core.errors import Precondition
from tests.cache.disk_folder import on_file, opened
from tests.cache.recording import key, keys

LONG = 1000.0


async def test_values_are_there_in_the_next_run_until_their_time_ends(folder, recorder, wall):
    first = await opened(folder, recorder, wall)
    await first.put_many({key(1): b"value"})
    await first.close()
    wall.time += 99
    second = await opened(folder, recorder, wall)
    assert list(await second.get_many(keys(1))) == [b"value"]
    wall.time += 2
    assert list(await second.get_many(keys(1))) == [None]
    assert await second.acquire_many(keys(1), "me", LONG) == set(keys(1))
    await second.close()


async def test_the_one_used_least_recently_goes_first(folder, recorder, wall):
    room = 10 * (1000 + ENTRY_BYTES + 14)
    store = await opened(folder, recorder, wall, max_bytes=room)
    for number in range(10):
        await store.put_many({key(number): bytes(1000)})
        wall.time += 1
    wall.time += 61
    await store.get_many(keys(0, 1))
    await store.put_many({key(n): bytes(1000) for n in (10, 11, 12)})
    found = await store.get_many(keys(*range(13)))
    kept = [number for number, value in enumerate(found) if value is not None]
    assert kept == [0, 1, 5, 6, 7, 8, 9, 10, 11, 12]
    assert on_file(folder, "SELECT size FROM totals") == [(room,)]
    await store.close()


async def test_what_has_ended_makes_room_before_what_lives(folder, recorder, wall):
    store = await opened(folder, recorder, wall, max_bytes=3 * (1000 + ENTRY_BYTES + 14))
    await store.put_many({key(1): bytes(1000)})
    wall.time += 90
    await store.put_many({key(2): bytes(1000), key(3): bytes(1000)})
    wall.time += 20
    await store.put_many({key(4): bytes(1000)})
    found = await store.get_many(keys(1, 2, 3, 4))
    assert [value is not None for value in found] == [False, True, True, True]
    await store.close()


async def test_the_file_stays_near_its_bound(folder, recorder, wall):
    store = await opened(folder, recorder, wall, max_bytes=2**20)
    rng = random.Random(0)
    for start in range(0, 3000, 10):
        await store.put_many({key(start + n): rng.randbytes(3000) for n in range(10)})
    await store.close()
    assert (folder / FILE_NAME).stat().st_size < 2 * 2**20
    assert not recorder.faults


async def test_a_value_larger_than_the_store_is_left_out(folder, recorder, wall):
    store = await opened(folder, recorder, wall, max_bytes=10_000)
    await store.put_many({key(1): bytes(20_000), key(2): b"value"})
    assert list(await store.get_many(keys(1, 2))) == [None, b"value"]
    await store.close()
    assert recorder.bypasses == {"too_large": 1}


async def test_only_the_user_can_read_it(folder, recorder, wall):
    store = await opened(folder, recorder, wall)
    await store.put_many({key(1): b"value"})
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for file in folder.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file.name
    await store.close()


@pytest.mark.parametrize(
    "content", [b"no database at all" * 500, b"SQLite format 3\0" + b"x" * 9000]
)
async def test_a_damaged_file_is_put_aside(folder, recorder, wall, content):
    folder.mkdir(parents=True)
    (folder / FILE_NAME).write_bytes(content)
    store = await opened(folder, recorder, wall)
    await store.put_many({key(1): b"value"})
    assert list(await store.get_many(keys(1))) == [b"value"]
    await store.close()
    assert recorder.faults == {"garbage": 1}
    assert (folder / f"{FILE_NAME}.damaged").read_bytes() == content


async def test_another_programs_database_is_left_alone(folder, recorder, wall):
    folder.mkdir(parents=True)
    on_file(folder, "CREATE TABLE entries (theirs TEXT)")
    before = (folder / FILE_NAME).read_bytes()
    with pytest.raises(Precondition, match="not a cache"):
        await opened(folder, recorder, wall)
    assert (folder / FILE_NAME).read_bytes() == before


async def test_a_folder_that_cannot_be_made_is_told(tmp_path, recorder, wall):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Precondition, match="folder cannot be used"):
        await opened(tmp_path / "file" / "cache", recorder, wall)


async def test_another_version_is_emptied(folder, recorder, wall):
    first = await opened(folder, recorder, wall)
    await first.put_many({key(1): b"value"})
    await first.close()
    on_file(folder, "PRAGMA user_version = 99")
    second = await opened(folder, recorder, wall)
    assert list(await second.get_many(keys(1))) == [None]
    await second.close()


class Trap:
    """Tells when it is unpickled."""

    sprung = False

    def __reduce__(self):
        return (setattr, (Trap, "sprung", True))


async def test_nothing_is_ever_unpickled(folder, recorder, wall):
    store = await opened(folder, recorder, wall)
    await store.put_many({key(1): b"value", key(2): b"value", key(3): b"value"})
    update = "UPDATE entries SET value = ? WHERE digest = ?"
    on_file(folder, update, pickle.dumps(Trap()), key(1).digest)
    on_file(folder, update, "text", key(2).digest)
    assert list(await store.get_many(keys(1, 2, 3))) == [None, None, b"value"]
    assert not Trap.sprung
    assert recorder.faults == {"garbage": 1}
    assert on_file(folder, "SELECT count(*) FROM entries") == [(1,)]
    await store.close()


async def test_a_cancelled_caller_leaves_the_file_whole(folder, recorder, wall):
    store = await opened(folder, recorder, wall)
    rng = random.Random(0)
    for number in range(50):
        entries = {key(number * 10 + n): bytes([number]) * 500 for n in range(10)}
        task = asyncio.create_task(store.put_many(entries))
        for _ in range(rng.randrange(4)):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        found = await store.get_many(list(entries))
        assert set(found) in ({None}, set(entries.values()))
    await store.close()
    assert not recorder.faults
