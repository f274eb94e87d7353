"""Second calls for stragglers: when, who wins, and what they cost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from foresight_services.core.ports import ChatReply, ChatRequest
from foresight_services.core.usage import ModelUsage
from foresight_services.models.faults import FaultKind, ModelFault
from foresight_services.models.hedging import HedgedModel, HedgeSettings
from tests.fakes.faults import BehavingChat, ask, fault, spent
from tests.fakes.virtual_time import LoopClock, settle

WARM = 40
"""Calls of one second before a test begins; enough for the quantile and for hedges."""

Turn = Callable[[], Awaitable[ChatReply]]


class Racing:
    """A hedged model whose calls take one second, but for those of the seeds that a test scripts.

    A script gives what the first, second, ... call of one seed does.
    """

    def __init__(self, clock: LoopClock, **settings: Any) -> None:
        self.turns: dict[int, list[Turn]] = {}
        self.backend = BehavingChat(self._behave)
        chosen = HedgeSettings(**{"max_share": 0.05, "min_wait_seconds": 1.5, **settings})
        self.model = HedgedModel(self.backend, settings=chosen, clock=clock)

    async def _behave(self, request: ChatRequest) -> ChatReply:
        turns = self.turns.get(request.seed)
        if turns:
            return await turns.pop(0)()
        await asyncio.sleep(1.0)
        return ChatReply("usual", 10, 5)

    async def warm_up(self, calls: int = WARM) -> None:
        """Let the model see what is usual."""
        for _ in range(calls):
            await self.model.complete(ask())
        self.backend.requests.clear()

    def script(self, seed: int, *turns: Turn) -> None:
        """Say what the calls with this seed do, one after the other."""
        self.turns[seed] = list(turns)


def says(seconds: float, text: str, read: int = 10, written: int = 5) -> Turn:
    """Return what answers after some time."""

    async def turn() -> ChatReply:
        await asyncio.sleep(seconds)
        return ChatReply(text, read, written)

    return turn


def fails(seconds: float, kind: FaultKind) -> Turn:
    """Return what fails after some time."""

    async def turn() -> ChatReply:
        await asyncio.sleep(seconds)
        raise fault(kind)

    return turn


async def test_usual_calls_are_made_once(clock: LoopClock) -> None:
    racing = Racing(clock)
    await racing.warm_up()
    request = ask()
    assert (await racing.model.complete(request)).text == "usual"
    assert racing.backend.requests == [request]
    assert spent(request) == ModelUsage()


async def test_a_hedge_wins_and_the_straggler_is_cancelled_at_once(clock: LoopClock) -> None:
    racing = Racing(clock)
    await racing.warm_up()
    racing.script(7, says(100.0, "late"), says(2.0, "hedge"))
    request, start = ask(seed=7), clock.now()
    assert (await racing.model.complete(request)).text == "hedge"
    assert clock.now() - start == pytest.approx(1.5 + 2.0)
    assert (racing.backend.in_flight, racing.backend.cancelled) == (0, 1)
    assert racing.backend.requests == [request, request]


async def test_a_straggler_wins_and_the_hedge_is_cancelled_at_once(clock: LoopClock) -> None:
    racing = Racing(clock)
    await racing.warm_up()
    racing.script(7, says(3.0, "late"), says(100.0, "hedge"))
    start = clock.now()
    assert (await racing.model.complete(ask(seed=7))).text == "late"
    assert clock.now() - start == pytest.approx(3.0, abs=1e-3)
    assert (racing.backend.in_flight, racing.backend.cancelled) == (0, 1)


async def test_both_calls_are_written_down(clock: LoopClock) -> None:
    racing = Racing(clock)
    await racing.warm_up()
    racing.script(7, says(100.0, "late"), says(2.0, "hedge", read=30, written=8))
    request = ask(seed=7)
    reply = await racing.model.complete(request)
    # The winner is paid for by whoever gets its reply; the other one cost at most the same.
    assert (reply.prompt_tokens, reply.completion_tokens) == (30, 8)
    assert spent(request) == ModelUsage(calls=1, hedges=1, prompt_tokens=30, completion_tokens=8)


async def test_a_loser_that_replied_too_is_charged_as_it_said(clock: LoopClock) -> None:
    racing = Racing(clock)
    await racing.warm_up()
    both = asyncio.Event()

    def when_both(text: str, read: int) -> Turn:
        async def turn() -> ChatReply:
            await both.wait()
            return ChatReply(text, read, 1)

        return turn

    racing.script(7, when_both("first", 20), when_both("hedge", 90))
    request = ask(seed=7)
    call = asyncio.create_task(racing.model.complete(request))
    await asyncio.sleep(2.0)
    both.set()
    assert (await call).text == "first"
    assert spent(request) == ModelUsage(calls=1, hedges=1, prompt_tokens=90, completion_tokens=1)


async def test_a_hedge_that_fails_leaves_the_straggler_running(clock: LoopClock) -> None:
    racing = Racing(clock)
    await racing.warm_up()
    racing.script(7, says(5.0, "late"), fails(1.0, FaultKind.OVERLOADED))
    request = ask(seed=7)
    assert (await racing.model.complete(request)).text == "late"
    assert spent(request) == ModelUsage(calls=1, hedges=1)


async def test_a_straggler_that_fails_leaves_the_hedge_running(clock: LoopClock) -> None:
    racing = Racing(clock)
    await racing.warm_up()
    racing.script(7, fails(2.0, FaultKind.CONNECTION), says(5.0, "hedge"))
    assert (await racing.model.complete(ask(seed=7))).text == "hedge"


async def test_where_both_fail_the_call_s_own_fault_is_told(clock: LoopClock) -> None:
    racing = Racing(clock)
    await racing.warm_up()
    racing.script(7, fails(5.0, FaultKind.CONNECTION), fails(1.0, FaultKind.OVERLOADED))
    with pytest.raises(ModelFault) as failed:
        await racing.model.complete(ask(seed=7))
    assert failed.value.kind is FaultKind.CONNECTION
    assert racing.backend.in_flight == 0


async def test_a_call_that_fails_early_is_not_hedged(clock: LoopClock) -> None:
    racing = Racing(clock)
    await racing.warm_up()
    racing.script(7, fails(0.5, FaultKind.CONNECTION))
    request = ask(seed=7)
    with pytest.raises(ModelFault):
        await racing.model.complete(request)
    assert len(racing.backend.requests) == 1
    assert spent(request) == ModelUsage()


async def test_cancelling_the_race_cancels_both_calls_and_leaves_no_task(clock: LoopClock) -> None:
    racing = Racing(clock)
    await racing.warm_up()
    racing.script(7, says(100.0, "late"), says(100.0, "hedge"))
    tasks = asyncio.all_tasks()
    call = asyncio.create_task(racing.model.complete(ask(seed=7)))
    await asyncio.sleep(5.0)
    assert racing.backend.in_flight == 2
    before = clock.now()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert clock.now() == before
    assert (racing.backend.in_flight, racing.backend.cancelled) == (0, 2)
    assert asyncio.all_tasks() == tasks


async def test_cancelling_before_the_hedge_makes_none(clock: LoopClock) -> None:
    racing = Racing(clock)
    await racing.warm_up()
    racing.script(7, says(100.0, "late"))
    call = asyncio.create_task(racing.model.complete(ask(seed=7)))
    await settle()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert len(racing.backend.requests) == 1
    loop: Any = asyncio.get_running_loop()
    assert [timer for timer in loop._scheduled if not timer.cancelled()] == []


async def test_a_call_is_a_straggler_past_the_quantile_of_the_recent_ones(clock: LoopClock) -> None:
    racing = Racing(clock, max_share=1.0, min_calls=20, quantile=0.9)
    for seconds in range(20, 0, -1):
        racing.script(1, says(float(seconds), "usual"))
        await racing.model.complete(ask(seed=1))
    racing.script(7, says(100.0, "late"), says(1.0, "hedge"))
    start = clock.now()
    assert (await racing.model.complete(ask(seed=7))).text == "hedge"
    assert clock.now() - start == pytest.approx(18.0 + 1.0)


async def test_nothing_is_hedged_before_it_is_known_what_is_usual(clock: LoopClock) -> None:
    racing = Racing(clock, max_share=1.0)
    await racing.warm_up(31)
    racing.script(7, says(100.0, "late"))
    assert (await racing.model.complete(ask(seed=7))).text == "late"


async def test_roles_have_their_own_usual_latencies(clock: LoopClock) -> None:
    racing = Racing(clock, max_share=1.0)
    await racing.warm_up()
    racing.script(7, says(100.0, "late"))
    assert (await racing.model.complete(ask(seed=7, role="judge"))).text == "late"


async def test_a_share_of_nothing_turns_it_off(clock: LoopClock) -> None:
    racing = Racing(clock, max_share=0.0)
    await racing.warm_up(200)
    racing.script(7, says(100.0, "late"))
    assert (await racing.model.complete(ask(seed=7))).text == "late"
    assert len(racing.backend.requests) == 1


async def test_quick_calls_are_not_stragglers(clock: LoopClock) -> None:
    racing = Racing(clock, min_wait_seconds=4.0)
    await racing.warm_up()
    racing.script(7, says(3.9, "late"))
    assert (await racing.model.complete(ask(seed=7))).text == "late"
    assert len(racing.backend.requests) == 1


async def test_hedging_cuts_the_tail_of_a_backend_with_stragglers(clock: LoopClock) -> None:
    async def slowest(share: float) -> float:
        racing = Racing(clock, max_share=share)
        await racing.warm_up(400)
        taken = []
        for seed in range(1, 401):
            if seed % 50 == 0:
                racing.script(seed, says(60.0, "late"), says(1.0, "hedge"))
            before = clock.now()
            await racing.model.complete(replace(ask(), seed=seed))
            taken.append(clock.now() - before)
        return max(taken)

    assert await slowest(0.0) == pytest.approx(60.0, abs=1e-3)
    assert await slowest(0.05) == pytest.approx(1.5 + 1.0)
