"""Worker processes: what they return, how they fail, and that nothing outlives its caller."""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import AsyncIterator, Callable
from typing import cast

import pytest

from foresight_services.core.errors import Reason, Upstream
from foresight_services.metrics import fenced, json_schema, math_equal, offload_worker
from foresight_services.metrics.offload import Workers, in_thread
from tests.fakes.sandbox import processes_with
from tests.fakes.waiting import eventually

ENDLESS = "$9^{9^{9^{9}}}$"
NAME = offload_worker.__name__


@pytest.fixture
async def one() -> AsyncIterator[Workers]:
    """Return workers of which there is one at a time."""
    workers = Workers(1)
    yield workers
    workers.close()


async def test_a_worker_returns_what_the_function_does(one: Workers) -> None:
    text = "ä\n\u2028" * 100_000
    assert await one.call(fenced.longest_block, 60, "m", text, ("py",)) == text
    assert await one.call(math_equal.has_answer, 60, "m", "5") is True


async def test_a_worker_is_kept_for_the_next_call(one: Workers) -> None:
    others = children()
    await one.call(fenced.longest_block, 60, "m", "a", ())
    first = children() - others
    assert len(first) == 1
    await one.call(fenced.longest_block, 60, "m", "b", ())
    assert children() - others == first


async def test_what_fails_is_told_without_its_text(one: Workers) -> None:
    with pytest.raises(Upstream) as caught:
        await one.call(json_schema.satisfies, 60, "m", "[" * 200_000, "{}")
    assert caught.value.message == "m: raised RecursionError"
    assert caught.value.reason is Reason.METRIC_FAILED
    assert await one.call(fenced.longest_block, 60, "m", "a", ()) == "a"


async def test_what_takes_too_long_is_killed(one: Workers) -> None:
    others = children()
    await one.call(math_equal.has_answer, 60, "m", "5")
    mine = children() - others
    assert len(mine) == 1
    with pytest.raises(Upstream, match=r"m: took longer than 0\.2 s"):
        await one.call(math_equal.answers_agree, 0.2, "m", ENDLESS, "2")
    assert not children() & mine
    assert await one.call(math_equal.has_answer, 60, "m", "5") is True


async def test_who_gives_up_ends_the_work(one: Workers) -> None:
    others = children()
    await one.call(math_equal.answers_agree, 60, "m", "2", "2")
    (mine,) = children() - others
    before = computed(mine)
    call = asyncio.create_task(one.call(math_equal.answers_agree, 3600, "m", ENDLESS, "2"))
    await eventually(lambda: computed(mine) > before + 10)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    # The only worker's place is free again.
    assert await one.call(math_equal.has_answer, 60, "m", "5") is True
    assert mine not in children()


async def test_a_worker_that_is_killed_from_outside_is_replaced(one: Workers) -> None:
    others = children()
    await one.call(fenced.longest_block, 60, "m", "a", ())
    (worker,) = children() - others
    os.kill(worker, 9)
    with pytest.raises(Upstream, match="m: its worker ended"):
        await one.call(fenced.longest_block, 60, "m", "a", ())
    assert await one.call(fenced.longest_block, 60, "m", "a", ()) == "a"


async def test_a_worker_calls_functions_of_metrics_only(one: Workers) -> None:
    with pytest.raises(Upstream, match="m: raised ValueError"):
        await one.call(cast(Callable[[float], float], math.sqrt), 60, "m", 4.0)


async def test_closing_ends_the_workers() -> None:
    others = children()
    workers = Workers(1)
    await workers.call(fenced.longest_block, 60, "m", "a", ())
    mine = children() - others
    assert len(mine) == 1
    workers.close()
    assert not children() & mine


async def test_a_thread_returns_what_the_function_does() -> None:
    assert await in_thread(math.gcd, 12, 18) == 6


def children() -> set[int]:
    """Return the workers of this process that run."""
    return {pid for pid in processes_with(NAME) if parent(pid) == os.getpid()}


def computed(worker: int) -> int:
    """Return for how long `worker` has computed, in ticks of the kernel's clock."""
    return sum(map(int, stat(worker)[11:13]))


def parent(pid: int) -> int:
    return int(stat(pid)[1])


def stat(pid: int) -> list[str]:
    """Return state, parent and so on of a process; nothing of one that has ended."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ["", "0"]
