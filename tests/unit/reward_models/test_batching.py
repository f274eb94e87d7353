"""A model in its own thread: loaded once, given what waits, and let go of."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence

import pytest

from foresight_services.core.errors import DomainError, Precondition, Reason, Upstream
from foresight_services.reward_models.batching import Batching, Loaded, Purpose
from tests.fakes.waiting import PATIENCE_SECONDS, eventually

PURPOSE = Purpose("the reward model 'helpful'", "rm_score", "reward-model")
ODD = Upstream(Reason.METRIC_FAILED, "odd")


class Doubling(Loaded[int, int]):
    """Doubles even numbers, after `go` is set."""

    def __init__(self, batch_size: int = 4) -> None:
        self.batch_size = batch_size
        self.batches: list[list[int]] = []
        self.threads: set[int] = {threading.get_ident()}
        self.go = threading.Event()

    def score(self, items: Sequence[int]) -> list[int | DomainError]:
        """Return what became of each number."""
        self.batches.append(list(items))
        self.threads.add(threading.get_ident())
        assert self.go.wait(PATIENCE_SECONDS)
        if 13 in items:
            raise ZeroDivisionError("the model fell over")
        return [ODD if item % 2 else 2 * item for item in items]


def batching(load: Callable[[], Doubling], max_concurrency: int = 64) -> Batching[int, int]:
    return Batching[int, int](PURPOSE, load, max_concurrency=max_concurrency)


async def loaded(batch_size: int = 4, max_concurrency: int = 64):
    """Return a line and the model at its end, loaded in the model's thread."""
    made: list[Doubling] = []

    def load() -> Doubling:
        made.append(Doubling(batch_size))
        return made[-1]

    line = batching(load, max_concurrency)
    await asyncio.gather(*(line.prepare() for _ in range(3)))
    (model,) = made
    return line, model


async def test_it_is_loaded_once_and_works_in_one_thread_that_is_not_the_loop_s() -> None:
    line, model = await loaded()
    model.go.set()
    assert await asyncio.gather(*(line.score(n) for n in (2, 4, 6, 8, 10, 12))) == [
        4,
        8,
        12,
        16,
        20,
        24,
    ]
    assert len(model.threads) == 1
    assert threading.get_ident() not in model.threads
    await line.aclose()


async def test_a_batch_is_what_waits_when_the_last_one_ends() -> None:
    line, model = await loaded(batch_size=3)
    first = asyncio.create_task(line.score(2))
    await eventually(lambda: model.batches == [[2]])
    others = [asyncio.create_task(line.score(n)) for n in (4, 6, 8, 10)]
    await asyncio.sleep(0)
    model.go.set()
    assert await asyncio.gather(first, *others) == [4, 8, 12, 16, 20]
    assert model.batches == [[2], [4, 6, 8], [10]]
    await line.aclose()


async def test_a_failure_of_one_item_is_that_item_s_alone() -> None:
    line, model = await loaded()
    model.go.set()
    first, second, third = await asyncio.gather(
        *(line.score(n) for n in (2, 3, 4)), return_exceptions=True
    )
    assert (first, second, third) == (4, ODD, 8)
    await line.aclose()


async def test_after_a_batch_that_fell_over_the_next_is_scored() -> None:
    line, model = await loaded(batch_size=1)
    model.go.set()
    with pytest.raises(ZeroDivisionError):
        await line.score(13)
    assert await line.score(2) == 4
    await line.aclose()


async def test_who_gives_up_leaves_the_line() -> None:
    line, model = await loaded(batch_size=1)
    first = asyncio.create_task(line.score(2))
    await eventually(lambda: model.batches == [[2]])
    second, third = (asyncio.create_task(line.score(n)) for n in (4, 6))
    await asyncio.sleep(0)
    for task in (first, second):
        task.cancel()
    await asyncio.wait((first, second))
    model.go.set()
    assert await third == 12
    assert model.batches == [[2], [6]]
    assert first.cancelled()
    assert second.cancelled()
    await line.aclose()


async def test_the_line_is_bounded() -> None:
    line, model = await loaded(batch_size=8, max_concurrency=2)
    tasks = [asyncio.create_task(line.score(n)) for n in (2, 4, 6, 8)]
    await eventually(lambda: bool(model.batches))
    model.go.set()
    assert await asyncio.gather(*tasks) == [4, 8, 12, 16]
    assert max(map(len, model.batches)) <= 2
    await line.aclose()


async def test_loading_is_left_to_those_who_still_wait() -> None:
    began, go = threading.Event(), threading.Event()

    def load() -> Doubling:
        began.set()
        assert go.wait(PATIENCE_SECONDS)
        return Doubling()

    line = batching(load)
    first, second = (asyncio.create_task(line.prepare()) for _ in range(2))
    await eventually(began.is_set)
    first.cancel()
    await asyncio.wait((first,))
    go.set()
    await second
    assert first.cancelled()
    await line.aclose()


async def test_a_model_that_could_not_be_loaded_is_loaded_anew() -> None:
    problems: list[Exception] = [OSError("/secret/path"), ImportError("torch")]

    def load() -> Doubling:
        if problems:
            raise problems.pop()
        return Doubling()

    line = batching(load)
    with pytest.raises(Precondition) as library:
        await line.prepare()
    with pytest.raises(Precondition) as other:
        await line.score(2)
    await line.prepare()
    await line.aclose()
    assert library.value.reason is other.value.reason is Reason.METRIC_UNAVAILABLE
    assert library.value.metadata == {"metric": "rm_score", "needs": "foresight[reward-model]"}
    assert "pip install 'foresight[reward-model]'" in library.value.message
    assert "/secret/path" not in other.value.message
    assert "'helpful' cannot be loaded (OSError)" in other.value.message


async def test_at_the_end_whoever_waits_is_told() -> None:
    line, model = await loaded(batch_size=1)
    tasks = [asyncio.create_task(line.score(n)) for n in (2, 4)]
    await eventually(lambda: model.batches == [[2]])
    await line.aclose()
    model.go.set()
    for ended in await asyncio.gather(*tasks, return_exceptions=True):
        assert isinstance(ended, RuntimeError)
    with pytest.raises(RuntimeError, match="was closed"):
        await line.score(6)
