"""One model in one thread: loaded there, and given whatever waits, a batch at a time.

A batch is what waits at the moment the last one ends, up to a limit: nothing waits for a batch to
fill. Who gives up waiting leaves the line; a batch that has begun cannot be stopped.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from foresight_services.core.errors import DomainError, Precondition, Reason
from foresight_services.reward_models.once import Once

_log: Final = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")


class Loaded(Generic[Item, Result]):
    """A model that was loaded. All of its methods run in the model's own thread."""

    batch_size: int
    """Most items of a batch, at least 1."""

    def score(self, items: Sequence[Item]) -> list[Result | DomainError]:
        """Return the result of every item, or why it has none, in order."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Purpose:
    """What a model is for, in the words of errors."""

    what: str
    """The model, such as `the reward model 'helpful'`."""
    metric: str
    """The metric that asks it."""
    extra: str
    """The extra of the package foresight that brings its libraries."""

    def unavailable(self, problem: str, needs: str) -> Precondition:
        """Return the error that says why the metric cannot be had."""
        return Precondition(
            Reason.METRIC_UNAVAILABLE,
            f"{self.what} {problem}",
            metadata={"metric": self.metric, "needs": needs},
        )


class Batching(Generic[Item, Result]):
    """A model's thread and the line before it. Close it with `aclose`."""

    def __init__(
        self, purpose: Purpose, load: Callable[[], Loaded[Item, Result]], *, max_concurrency: int
    ) -> None:
        """Prepare the line; nothing is loaded yet.

        Args:
            purpose: what the model is for.
            load: loads it; runs in its thread.
            max_concurrency: most items in the line; further ones wait to join it.
        """
        self._purpose = purpose
        self._load = load
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=f"foresight-{purpose.metric}")
        self._model = Once(self._start)
        self._places = asyncio.Semaphore(max_concurrency)
        self._line: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self._serving: asyncio.Task[None] | None = None
        self._closed = False

    async def prepare(self) -> None:
        """Load the model, unless that was done before.

        Raises:
            Precondition: METRIC_UNAVAILABLE where a library is missing or the model cannot be used.
        """
        await self._loaded()

    async def aclose(self) -> None:
        """End the line; whoever is still in it gets a RuntimeError."""
        self._closed = True
        if self._serving is not None:
            self._serving.cancel()
            await asyncio.gather(self._serving, return_exceptions=True)
        while self._line:
            _, waiting = self._line.popleft()
            if not waiting.done():
                waiting.set_exception(self._over())
        await self._model.aclose()
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def score(self, item: Item) -> Result:
        """Return the model's result for `item`.

        Raises:
            DomainError: why there is none.
        """
        model = await self._loaded()
        async with self._places:
            if self._closed:
                raise self._over()
            waiting: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
            self._line.append((item, waiting))
            if self._serving is None or self._serving.done():
                self._serving = asyncio.create_task(self._serve(model))
            return await waiting

    async def _loaded(self) -> Loaded[Item, Result]:
        if self._closed:
            raise self._over()
        return await self._model.get()

    async def _start(self) -> Loaded[Item, Result]:
        loop = asyncio.get_running_loop()
        purpose = self._purpose
        try:
            return await loop.run_in_executor(self._executor, self._load)
        except DomainError:
            raise
        except ImportError as error:
            package = f"foresight[{purpose.extra}]"
            problem = f"needs a library that cannot be imported: pip install '{package}'"
            _log.error("%s: a library cannot be imported", purpose.what, exc_info=error)
            raise purpose.unavailable(problem, package) from error
        except Exception as error:
            _log.error("%s cannot be loaded", purpose.what, exc_info=error)
            problem = (
                f"cannot be loaded ({type(error).__name__}); the service's log has the details"
            )
            raise purpose.unavailable(problem, "model") from error

    async def _serve(self, model: Loaded[Item, Result]) -> None:
        """Score until nobody waits."""
        while batch := self._next_batch(model.batch_size):
            items = [item for item, _ in batch]
            loop = asyncio.get_running_loop()
            try:
                outcomes = await loop.run_in_executor(self._executor, model.score, items)
            except asyncio.CancelledError:
                _tell(batch, [self._over()] * len(batch))
                raise
            except Exception as error:
                _tell(batch, [error] * len(batch))
            else:
                _tell(batch, outcomes)

    def _next_batch(self, limit: int) -> list[tuple[Item, asyncio.Future[Result]]]:
        batch: list[tuple[Item, asyncio.Future[Result]]] = []
        while self._line and len(batch) < limit:
            item, waiting = self._line.popleft()
            if not waiting.done():
                batch.append((item, waiting))
        return batch

    def _over(self) -> RuntimeError:
        return RuntimeError(f"{self._purpose.what} was closed")


def _tell(
    batch: Sequence[tuple[Item, asyncio.Future[Result]]], outcomes: Sequence[Result | Exception]
) -> None:
    for (_, waiting), outcome in zip(batch, outcomes, strict=True):
        if waiting.done():
            continue
        if isinstance(outcome, Exception):
            waiting.set_exception(outcome)
        else:
            waiting.set_result(outcome)
