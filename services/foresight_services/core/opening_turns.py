"""First user turns that several futures draw by one call of the model.

The first turns of a candidate's futures ask the same question where goal and persona are the same,
and differ by their seeds alone. Such futures, of sample indices that follow each other, form a run.
The one that comes first asks for the choices of all, also for those that have no place yet; the
others take what it was answered.

Seeds make this a matter of cost and not of results. The turn of sample k has the seed `base` + k,
and choice j of a call with seed s is the draw of seed s + j, as vLLM's engine has it and as rules
do it here. So a future is the same in whatever run it is, or in none: asked for with others, alone,
or after others that came from a cache. A server whose seeds are best effort gives draws of its own
either way.

A call belongs to the future that makes it, whose ledger, purse and deadline it has. Where that one
is cancelled, another one that waits makes the call; where the call fails, all fail that wait for
it, and those that come later ask for themselves. A call that only the budget forbids is made one by
one, so that money that does not do for all goes to some.

Invariants: who waits is told when the call ends, however it ends; a run keeps at most
`MOST_CHOICES` - 1 texts, and only until their futures begin or the request ends.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import groupby
from typing import Final

from foresight_services.core.errors import DomainError, Reason, error_from
from foresight_services.core.future import FutureId
from foresight_services.core.ports import ChatModel, ChatReply, ChatRequest
from foresight_services.core.seeds import derive_seed

MOST_CHOICES: Final = 8
"""Choices of one call at most. One call of 8 saves 7 of 8 prompts and one of 16 hardly more, while
a failure takes all of a call, one server of several draws them all, and a budget must have their
worst case at once."""

_SEEDS: Final = 2**64


def opening_seed(seed: int, sample: int) -> int:
    """Return the seed of the first user turn of sample `sample`; neighbours have neighbours."""
    return (derive_seed(seed, 0, "user") + sample) % _SEEDS


class OpeningTurns:
    """The first user turns of one request's futures."""

    def __init__(self, futures: Iterable[FutureId], alike: Callable[[int, int], bool]) -> None:
        """Find the runs.

        Args:
            futures: all that are asked for, each once.
            alike: whether the users of two samples are told the same.
        """
        self._runs: dict[int, list[range]] = {}
        # Those that have begun and are not complete; there may be very many that have not begun.
        self._begun: dict[tuple[int, int], _Run] = {}
        in_order = sorted(futures, key=lambda which: (which.candidate, which.sample))
        for candidate, of_candidate in groupby(in_order, key=lambda which: which.candidate):
            runs = _runs((which.sample for which in of_candidate), alike)
            self._runs[candidate] = [run for run in runs if len(run) > 1]

    def of(self, which: FutureId) -> SharedDraw | None:
        """Return how the first turn of `which` is drawn; None where it shares it with no other.

        Call it once for each future, when it begins.
        """
        runs = self._runs[which.candidate]
        place = bisect_right(runs, which.sample, key=lambda run: run.start) - 1
        if place < 0 or which.sample not in runs[place]:
            return None
        samples = runs[place]
        key = (which.candidate, samples.start)
        run = self._begun.get(key)
        if run is None:
            run = self._begun[key] = _Run(len(samples))
        run.members += 1
        if run.members == len(samples):
            del self._begun[key]
        return SharedDraw(run, which.sample - samples.start)


def _runs(samples: Iterable[int], alike: Callable[[int, int], bool]) -> Iterator[range]:
    """Yield the runs of ascending `samples`."""
    run: range | None = None
    for sample in samples:
        if run is None:
            run = range(sample, sample + 1)
        elif sample == run.stop and len(run) < MOST_CHOICES and alike(run[-1], sample):
            run = range(run.start, sample + 1)
        else:
            yield run
            run = range(sample, sample + 1)
    if run is not None:
        yield run


class _Run:
    """Futures whose first turns one call draws."""

    __slots__ = ("_asking", "_ended", "_left", "_size", "_waiting", "members")

    def __init__(self, size: int) -> None:
        self.members = 0
        """Futures of it that have begun."""
        self._size = size
        self._asking = False
        self._ended = False
        # Choices that nobody has taken yet, by their position.
        self._left: dict[int, str] = {}
        self._waiting: list[asyncio.Future[Exception | None]] = []

    async def draw(self, position: int, model: ChatModel, request: ChatRequest) -> ChatReply:
        """Return the choice at `position`; `request` asks for it alone."""
        while self._asking:
            await self._end_of_call()
        if not self._ended:
            return await self._ask(position, model, request)
        text = self._left.pop(position, None)
        return await model.complete(request) if text is None else ChatReply(text, 0, 0)

    async def _end_of_call(self) -> None:
        """Return when the call of another has ended; raise what it failed by."""
        ended: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(ended)
        failed = await ended
        if isinstance(failed, DomainError):
            # One of its own, because every raise adds to the traceback.
            raise error_from(failed.failure) from failed
        if failed is not None:
            raise failed

    async def _ask(self, position: int, model: ChatModel, request: ChatRequest) -> ChatReply:
        """Draw for all; return the choice at `position`."""
        first = (request.seed - position) % _SEEDS
        self._asking = True
        failed: Exception | None = None
        try:
            reply = await model.complete(replace(request, seed=first, choices=self._size))
            self._left = dict(enumerate((reply.text, *reply.others)))
            self._ended = True
        except Exception as error:
            self._ended = True
            if not (isinstance(error, DomainError) and error.reason is Reason.BUDGET_EXHAUSTED):
                failed = error
                raise
        finally:
            # Also where it was cancelled: then one of those that wait makes the call.
            self._asking = False
            waiting, self._waiting = self._waiting, []
            for ended in waiting:
                if not ended.done():
                    ended.set_result(failed)
            # Its traceback holds this frame; without this they would keep each other.
            del failed
        text = self._left.pop(position, None)
        # Left out by a model that gives fewer choices, or not to be paid together with others.
        if text is None:
            return await model.complete(request)
        return replace(
            reply, text=text, finish=reply.finish if position == 0 else "stop", others=()
        )


class SharedDraw:
    """One choice of a run."""

    __slots__ = ("_position", "_run")

    def __init__(self, run: _Run, position: int) -> None:
        self._run = run
        self._position = position

    async def from_model(self, model: ChatModel, request: ChatRequest) -> ChatReply:
        """Return the reply to `request`, which asks for it alone.

        Whoever comes first has `model` called for all; what that costs is in its ledger.

        Raises:
            DomainError: where the call fails, whoever made it.
        """
        return await self._run.draw(self._position, model, replace(request, shared=None))
