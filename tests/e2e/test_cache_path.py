"""`cache: {path: ...}`: what one run of the command computed, no later run computes again."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from foresight_services.cache.disk import FILE_NAME
from tests.e2e.cli_process import CLEAN, PATIENCE, ROOT, foresight, started
from tests.e2e.stage import CALLS, CALLS_OF_A_FUTURE, FUTURES, MODELS, REQUEST, Stage
from tests.fakes.openai_server import OpenAIServer, openai_server
from tests.fakes.waiting import eventually

pytestmark = pytest.mark.e2e

LIMITED = """
import resource, runpy, sys
limit = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
runpy.run_module("foresight_services.cli", run_name="__main__", alter_sys=True)
"""
"""The command with a limit on the length of files, at which writing fails as on a full disk."""


@dataclass
class Desk:
    """Where runs take place."""

    stage: Stage
    server: OpenAIServer
    arguments: tuple[str, ...]
    file: Path

    @property
    def calls(self) -> int:
        """How many calls the models have had."""
        return len(self.server.calls)

    async def run(self) -> list[Any]:
        """Score the request in a process of its own; return what it told of every candidate."""
        return scored(await asyncio.to_thread(foresight, *self.arguments))

    def stored(self, namespace: str) -> int:
        """Return how many values of a kind the file holds."""
        if not self.file.exists():
            return 0
        with closing(sqlite3.connect(self.file)) as db:
            (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
            if not tables:
                return 0
            statement = "SELECT count(*) FROM entries WHERE namespace = ?"
            (count,) = db.execute(statement, (namespace,)).fetchone()
        return int(count)


def scored(ran: subprocess.CompletedProcess[str]) -> list[Any]:
    assert (ran.returncode, ran.stderr) == (0, "")
    candidates = json.loads(ran.stdout)["candidates"]
    assert [one["status"] for one in candidates] == ["complete", "complete"]
    return [(one["value"], [future["messages"] for future in one["futures"]]) for one in candidates]


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    stage = Stage()
    async with openai_server(stage.play) as server:
        folder, config, request = (tmp_path / name for name in ("cache", "c.yaml", "r.json"))
        cache = f'cache: {{path: "{folder}"}}\n'
        config.write_text(MODELS.format(url=server.base_url) + cache)
        request.write_text(json.dumps(REQUEST))
        arguments = ("score", str(request), "--config", str(config), "--json")
        yield Desk(stage, server, arguments, folder / FILE_NAME)


async def test_a_second_process_asks_no_model(desk: Desk) -> None:
    first = await desk.run()
    assert desk.calls == CALLS
    assert await desk.run() == first
    assert desk.calls == CALLS


async def test_two_processes_at_once_cost_what_one_does(desk: Desk) -> None:
    one, other = await asyncio.gather(desk.run(), desk.run())
    assert one == other
    assert desk.calls == CALLS


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


@pytest.mark.parametrize(
    "harm",
    [cut, lambda content: b"no database at all" * 999, lambda content: content[:8192] + b"\0" * 99],
    ids=["truncated", "garbage", "zeroed"],
)
async def test_a_damaged_file_costs_its_values_and_no_run(
    desk: Desk, harm: Callable[[bytes], bytes]
) -> None:
    first = await desk.run()
    desk.file.write_bytes(harm(desk.file.read_bytes()))
    assert await desk.run() == first
    before = desk.calls
    assert before <= 2 * CALLS
    # The file that took its place is kept.
    assert await desk.run() == first
    assert await desk.run() == first
    assert desk.calls == before


async def test_processes_that_find_a_damaged_file_together_share_a_new_one(desk: Desk) -> None:
    desk.file.parent.mkdir()
    desk.file.write_bytes(b"no database at all" * 999)
    first, *others = await asyncio.gather(*(desk.run() for _ in range(3)))
    assert others == [first, first]
    assert desk.calls == CALLS
    assert await desk.run() == first
    assert desk.calls == CALLS


async def test_a_disk_that_is_full_costs_what_it_cannot_keep(desk: Desk) -> None:
    command = [sys.executable, "-c", LIMITED, str(64 * 1024), *desk.arguments]

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, env=CLEAN, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE
        )

    first = scored(await asyncio.to_thread(run))
    assert desk.calls == CALLS
    # Whatever it could keep is whole, and the next run adds the rest.
    kept = desk.stored("future")
    assert kept + desk.stored("score") < 2 * FUTURES
    assert await desk.run() == first
    assert desk.calls <= 2 * CALLS - CALLS_OF_A_FUTURE * kept
    before = desk.calls
    assert await desk.run() == first
    assert desk.calls == before


async def test_a_run_that_is_killed_leaves_what_it_finished(desk: Desk) -> None:
    # All but two calls of the last user message: some futures end, and none is judged before.
    desk.stage.most = FUTURES * CALLS_OF_A_FUTURE - 2
    with started(*desk.arguments) as running:
        await eventually(lambda: desk.stored("future") > 0)
        running.process.kill()
        await asyncio.to_thread(running.process.wait)
    kept = desk.stored("future")
    assert 0 < kept < FUTURES
    begun = desk.calls
    desk.stage.go_on()
    first = await desk.run()
    again = desk.calls - begun
    assert again <= CALLS - CALLS_OF_A_FUTURE * kept
    assert await desk.run() == first
    assert desk.calls == begun + again


async def test_only_the_user_can_read_what_is_kept(desk: Desk) -> None:
    await desk.run()
    assert desk.file.parent.stat().st_mode & 0o777 == 0o700
    modes = {entry.name: os.stat(entry).st_mode & 0o777 for entry in desk.file.parent.iterdir()}
    assert set(modes.values()) == {0o600}, modes
