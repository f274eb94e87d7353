"""Several processes with one store, some of which are killed."""

from __future__ import annotations

import random
import subprocess
import sys
from contextlib import contextmanager

import pytest

from foresight_services.cache.disk import open_disk_cache
from foresight_services.core.cache import Lifetime
from tests.cache.recording import key, keys, redis_cache
from tests.cache.worker import value_of
from tests.fakes.virtual_time import LoopClock

LONG = 1000.0


@contextmanager
def worker(place: str, what: str, number: float):
    """Run a worker, which is killed at the end."""
    command = [sys.executable, "-m", "tests.cache.worker", place, what, str(number)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


async def disk(folder, recorder):
    return await open_disk_cache(
        folder,
        max_bytes=2**26,
        lifetime=Lifetime(LONG),
        compress_above_bytes=512,
        clock=LoopClock(),
        rng=random.Random(0),
        observer=recorder,
    )


@pytest.fixture(params=["disk", "redis"])
async def place(request, tmp_path, recorder):
    """Return where the store is and the store."""
    if request.param == "disk":
        where, store = str(tmp_path / "cache"), await disk(tmp_path / "cache", recorder)
    else:
        server = request.getfixturevalue("own_server")
        where, store = server.url, redis_cache(server.url, recorder, prefix="foresight")
    yield where, store
    await store.close()
    assert not recorder.faults


async def test_a_killed_owner_loses_its_lease_to_a_waiter(place):
    where, store = place
    with worker(where, "hold", 0.5) as process:
        assert "renewed\n" in iter(process.stdout.readline, "")
        process.kill()
        process.wait()
    assert await store.wait_any(keys(0), LONG) == set(keys(0))
    assert await store.acquire_many(keys(0), "heir", LONG) == set(keys(0))


async def test_a_file_outlives_writers_that_are_killed(tmp_path, recorder):
    folder = str(tmp_path / "cache")
    kept = []
    for start in (0, 1000, 2000):
        # Two at once, the first of which also makes the file.
        with worker(folder, "put", start) as one, worker(folder, "put", start + 500) as other:
            kept += [int(process.stdout.readline()) for _ in range(40) for process in (one, other)]
    store = await disk(tmp_path / "cache", recorder)
    assert list(await store.get_many(keys(*kept))) == [value_of(number) for number in kept]
    await store.put_many({key(1): b"value"})
    assert list(await store.get_many(keys(1))) == [b"value"]
    await store.close()
    assert not recorder.faults
