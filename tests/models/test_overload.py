"""A backend that is asked for more than it can do: limits, retries and breaker together.

The backend has eight workers that take a second for a call, and works off its line even where the
caller has stopped waiting, as servers do that do not notice. Callers time out after five seconds.
Two hundred callers without limits make it work for nobody: whatever it finishes was given up.
"""

from __future__ import annotations

import asyncio
import random

from foresight_services.core.ports import ChatModel, ChatReply, ChatRequest
from foresight_services.models.adaptive_limit import AdaptiveSettings
from foresight_services.models.breaker import BreakerModel, BreakerSettings, BreakerState
from foresight_services.models.faults import FaultKind, ModelFault
from foresight_services.models.limits import LimitedModel, LimitSettings
from foresight_services.models.retrying import RetryingModel, RetrySettings
from tests.fakes.faults import BehavingChat, ask, fault
from tests.fakes.virtual_time import LoopClock

WORKERS = 8
TIMEOUT_SECONDS = 5.0


class Server:
    """Eight workers and a line that forgets nobody; implements the port `ChatModel`."""

    def __init__(self) -> None:
        self._workers = asyncio.Semaphore(WORKERS)
        self._work: set[asyncio.Task[None]] = set()
        self.calls = 0

    async def complete(self, request: ChatRequest) -> ChatReply:
        """Answer within the timeout or not at all."""
        self.calls += 1
        work = asyncio.create_task(self._serve())
        self._work.add(work)
        work.add_done_callback(self._work.discard)
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                await asyncio.shield(work)
        except TimeoutError as error:
            raise fault(FaultKind.TIMEOUT) from error
        return ChatReply("yes", 1, 1)

    async def _serve(self) -> None:
        async with self._workers:
            await asyncio.sleep(1.0)

    async def stop(self) -> None:
        """Drop what is left of the work."""
        for work in self._work:
            work.cancel()
        await asyncio.gather(*self._work, return_exceptions=True)


async def answered_in(seconds: float, model: ChatModel, callers: int) -> int:
    """Return how many calls `callers` get answered, each asking again as soon as it may."""
    answered = 0

    async def caller() -> None:
        nonlocal answered
        while True:
            try:
                await model.complete(ask())
                answered += 1
            except ModelFault:
                await asyncio.sleep(0.1)

    callers_at_work = [asyncio.create_task(caller()) for _ in range(callers)]
    await asyncio.sleep(seconds)
    for one in callers_at_work:
        one.cancel()
    await asyncio.gather(*callers_at_work, return_exceptions=True)
    return answered


def stack(server: ChatModel, clock: LoopClock, **limits: object) -> RetryingModel:
    """Return `server` behind limits, a breaker and retries."""
    settings = LimitSettings(**{"max_concurrency": 200, **limits})  # type: ignore[arg-type]
    limited = LimitedModel(server, name="m", settings=settings, clock=clock)
    guarded = BreakerModel(limited, name="m", settings=BreakerSettings(), clock=clock)
    return RetryingModel(guarded, settings=RetrySettings(), clock=clock, rng=random.Random(0))


async def test_without_limits_it_collapses(clock: LoopClock) -> None:
    server = Server()
    answered = await answered_in(120.0, server, callers=200)
    await server.stop()
    assert answered < 0.1 * 120 * WORKERS


async def test_with_adaptive_limits_it_works_near_its_capacity(clock: LoopClock) -> None:
    server = Server()
    model = stack(server, clock, adaptive=AdaptiveSettings())
    answered = await answered_in(600.0, model, callers=200)
    await server.stop()
    assert answered > 0.8 * 600 * WORKERS
    assert server.calls < 1.3 * answered


async def test_an_outage_costs_time_and_few_calls(clock: LoopClock) -> None:
    calls_down = 0
    down = True

    async def behave(request: ChatRequest) -> ChatReply:
        nonlocal calls_down
        await asyncio.sleep(0.1)
        if down:
            calls_down += 1
            raise fault(FaultKind.CONNECTION)
        return ChatReply("yes", 1, 1)

    model = stack(BehavingChat(behave), clock)
    calls = [asyncio.create_task(model.complete(ask())) for _ in range(100)]
    await asyncio.sleep(120.0)
    assert not any(call.done() for call in calls)
    # The first wave, then a few probes in every pause of the breaker.
    assert calls_down <= 100 + 3 * 120 / 10
    down = False
    replies = await asyncio.gather(*calls)
    assert {reply.text for reply in replies} == {"yes"}


async def test_the_breaker_s_state_is_told_through_an_outage(clock: LoopClock) -> None:
    told: list[BreakerState] = []
    ends = clock.now() + 25.0

    async def behave(request: ChatRequest) -> ChatReply:
        if clock.now() < ends:
            raise fault(FaultKind.SERVER_ERROR)
        return ChatReply("yes", 1, 1)

    guarded = BreakerModel(
        BehavingChat(behave),
        name="m",
        settings=BreakerSettings(),
        clock=clock,
        on_state=told.append,
    )
    model = RetryingModel(guarded, settings=RetrySettings(), clock=clock, rng=random.Random(0))
    await asyncio.gather(*(model.complete(ask()) for _ in range(50)))
    assert told[0] is BreakerState.CLOSED
    assert told[-1] is BreakerState.CLOSED
    assert told.count(BreakerState.OPEN) == told.count(BreakerState.HALF_OPEN) >= 2
