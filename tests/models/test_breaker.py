"""The circuit breaker: what opens it, what passes it, what closes it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foresight_services.core.errors import DeadlinePassed
from foresight_services.core.ports import ChatModel, ChatReply, ChatRequest
from foresight_services.models.breaker import (
    FAILURES,
    BreakerModel,
    BreakerSettings,
    BreakerState,
)
from foresight_services.models.faults import FaultKind, ModelFault
from tests.fakes.chat import Gates
from tests.fakes.faults import BehavingChat, ask, fault, in_turn
from tests.fakes.virtual_time import LoopClock, settle, virtual_time

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN


class Guarded:
    """A model behind a breaker, and what the breaker told."""

    def __init__(self, model: ChatModel, clock: LoopClock, **settings: Any) -> None:
        self.told: list[BreakerState] = []
        chosen = BreakerSettings(**{"min_calls": 4, "open_seconds": 10.0, "probes": 2, **settings})
        self.breaker = BreakerModel(
            model, name="m", settings=chosen, clock=clock, on_state=self.told.append
        )
        self.complete = self.breaker.complete

    async def outcomes(self, calls: int) -> list[str]:
        """Make calls one after the other and return what came of them."""
        return [await self.outcome() for _ in range(calls)]

    async def outcome(self) -> str:
        """Make a call and return its text or kind of fault."""
        try:
            return (await self.complete(ask())).text
        except ModelFault as error:
            return error.kind


async def test_it_opens_when_enough_calls_fail(clock: LoopClock) -> None:
    backend = in_turn("yes", "yes", FaultKind.SERVER_ERROR, FaultKind.CONNECTION, "yes")
    guarded = Guarded(backend, clock)
    assert await guarded.outcomes(5) == ["yes", "yes", "server_error", "connection", "breaker_open"]
    assert len(backend.requests) == 4
    assert guarded.told == [CLOSED, OPEN]


async def test_a_few_calls_prove_nothing(clock: LoopClock) -> None:
    guarded = Guarded(in_turn(FaultKind.TIMEOUT), clock)
    assert await guarded.outcomes(3) == ["timeout"] * 3
    assert guarded.breaker.state is CLOSED
    await guarded.outcome()
    assert guarded.breaker.state is OPEN


async def test_a_share_below_the_threshold_keeps_it_closed(clock: LoopClock) -> None:
    backend = in_turn(*["yes", "yes", "yes", FaultKind.OVERLOADED] * 50, "yes")
    guarded = Guarded(backend, clock, min_calls=1, failure_share=0.5)
    assert (await guarded.outcomes(200)).count("overloaded") == 50
    assert guarded.told == [CLOSED]


async def test_failures_that_are_long_past_do_not_count(clock: LoopClock) -> None:
    guarded = Guarded(in_turn(FaultKind.TIMEOUT), clock, window_seconds=30.0)
    await guarded.outcomes(3)
    await asyncio.sleep(33.0)  # the window slides by tenths
    await guarded.outcomes(3)
    assert guarded.breaker.state is CLOSED
    await guarded.outcome()
    assert guarded.breaker.state is OPEN


async def test_an_open_breaker_says_when_to_come_back(clock: LoopClock) -> None:
    guarded = Guarded(in_turn(FaultKind.CONNECTION), clock)
    await guarded.outcomes(4)
    await asyncio.sleep(4.0)
    with pytest.raises(ModelFault) as refused:
        await guarded.complete(ask())
    assert refused.value.kind is FaultKind.BREAKER_OPEN
    assert refused.value.retry_after_seconds == pytest.approx(6.0)
    assert refused.value.metadata["model"] == "m"
    assert refused.value.retryable


@pytest.mark.parametrize("kind", FaultKind)
async def test_what_counts_as_a_failure(kind: FaultKind, clock: LoopClock) -> None:
    guarded = Guarded(in_turn(kind), clock)
    await guarded.outcomes(4)
    assert guarded.breaker.state is (OPEN if kind in FAILURES else CLOSED)


def test_the_failures_are_those_that_tell_that_the_backend_is_down() -> None:
    assert {
        FaultKind.TIMEOUT,
        FaultKind.RATE_LIMITED,
        FaultKind.OVERLOADED,
        FaultKind.SERVER_ERROR,
        FaultKind.CONNECTION,
    } == FAILURES


async def test_what_tells_nothing_does_not_count(clock: LoopClock) -> None:
    async def behave(request: ChatRequest) -> ChatReply:
        await asyncio.sleep(10.0)
        raise DeadlinePassed

    guarded = Guarded(BehavingChat(behave), clock, min_calls=1, failure_share=0.01)
    with pytest.raises(DeadlinePassed):
        await guarded.complete(ask())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.0):
            await guarded.complete(ask())
    assert guarded.told == [CLOSED]
    backend = in_turn("yes", FaultKind.TIMEOUT)
    guarded.breaker._model = backend
    await guarded.outcomes(2)
    assert guarded.told == [CLOSED, OPEN]


async def test_half_open_lets_a_few_calls_through_and_closes_when_they_succeed(
    clock: LoopClock,
) -> None:
    gates = Gates()
    guarded = Guarded(in_turn(FaultKind.CONNECTION), clock)
    await guarded.outcomes(4)
    await asyncio.sleep(10.0)

    async def behave(request: ChatRequest) -> ChatReply:
        return ChatReply(await gates.say("back", after=request.seed), 1, 1)

    guarded.breaker._model = backend = BehavingChat(behave)
    probes = [asyncio.create_task(guarded.complete(ask(seed=n))) for n in range(2)]
    await settle()
    assert guarded.breaker.state is HALF_OPEN
    with pytest.raises(ModelFault) as refused:
        await guarded.complete(ask(seed=2))
    assert refused.value.kind is FaultKind.BREAKER_OPEN
    assert refused.value.retry_after_seconds == 1.0
    gates.open(0)
    await probes[0]
    assert guarded.breaker.state is HALF_OPEN
    gates.open(1)
    await probes[1]
    assert guarded.told == [CLOSED, OPEN, HALF_OPEN, CLOSED]
    assert len(backend.requests) == 2


async def test_a_probe_that_fails_opens_it_again_for_as_long(clock: LoopClock) -> None:
    guarded = Guarded(in_turn(FaultKind.CONNECTION), clock)
    await guarded.outcomes(4)
    await asyncio.sleep(10.0)
    assert await guarded.outcomes(2) == ["connection", "breaker_open"]
    await asyncio.sleep(9.0)
    assert await guarded.outcome() == "breaker_open"
    await asyncio.sleep(1.0)
    assert await guarded.outcome() == "connection"
    assert guarded.told == [CLOSED, OPEN, HALF_OPEN, OPEN, HALF_OPEN, OPEN]


async def test_a_probe_that_is_cancelled_leaves_its_place_to_another(clock: LoopClock) -> None:
    guarded = Guarded(in_turn(FaultKind.CONNECTION), clock, probes=1)
    await guarded.outcomes(4)
    await asyncio.sleep(10.0)
    guarded.breaker._model = in_turn("back", seconds=5.0)
    probe = asyncio.create_task(guarded.complete(ask()))
    await settle()
    assert await guarded.outcome() == "breaker_open"
    probe.cancel()
    await settle()
    assert guarded.breaker.state is HALF_OPEN
    assert await guarded.outcome() == "back"
    assert guarded.breaker.state is CLOSED


async def test_a_reply_that_cannot_be_used_shows_that_the_backend_is_back(clock: LoopClock) -> None:
    guarded = Guarded(in_turn(*[FaultKind.CONNECTION] * 4, FaultKind.MALFORMED), clock, probes=1)
    await guarded.outcomes(4)
    await asyncio.sleep(10.0)
    assert await guarded.outcome() == "malformed"
    assert guarded.breaker.state is CLOSED


async def test_calls_that_began_before_it_opened_change_nothing(clock: LoopClock) -> None:
    gates = Gates()

    async def behave(request: ChatRequest) -> ChatReply:
        await gates[request.seed].wait()
        if request.seed % 2:
            raise fault(FaultKind.TIMEOUT)
        return ChatReply("late", 1, 1)

    guarded = Guarded(BehavingChat(behave), clock)
    late = [asyncio.create_task(guarded.complete(ask(seed=n))) for n in range(4)]
    await settle()
    guarded.breaker._model = in_turn(FaultKind.CONNECTION)
    await guarded.outcomes(4)
    gates.open(0, 1)
    await asyncio.wait(late[:2])
    assert guarded.told == [CLOSED, OPEN]
    await asyncio.sleep(10.0)
    guarded.breaker._model = in_turn("back", seconds=1.0)
    probe = asyncio.create_task(guarded.complete(ask()))
    await settle()
    gates.open(2, 3)
    await asyncio.gather(*late, probe, return_exceptions=True)
    assert guarded.told == [CLOSED, OPEN, HALF_OPEN]
    await guarded.outcome()
    assert guarded.breaker.state is CLOSED


Step = tuple[float, float, bool, bool]
"""Seconds until a call comes, seconds that it takes, whether it fails, whether it is cancelled."""


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0.0, 5.0), st.floats(0.0, 5.0), st.booleans(), st.booleans()),
        max_size=60,
    )
)
def test_probes_are_few_and_every_way_out_of_half_open_is_left(steps: list[Step]) -> None:
    async def body() -> None:
        with virtual_time() as clock:

            async def behave(request: ChatRequest) -> ChatReply:
                if guarded.breaker.state is HALF_OPEN:
                    assert guarded.breaker._probing <= 2
                _, takes, fails, _ = steps[request.seed]
                await asyncio.sleep(takes)
                if fails:
                    raise fault(FaultKind.TIMEOUT)
                return ChatReply("yes", 1, 1)

            guarded = Guarded(BehavingChat(behave), clock)

            async def play(number: int) -> None:
                takes, cancelled = steps[number][1], steps[number][3]
                async with asyncio.timeout(takes / 2 if cancelled else None):
                    await guarded.complete(ask(seed=number))

            calls = []
            for number, (pause, *_) in enumerate(steps):
                await asyncio.sleep(pause)
                calls.append(asyncio.create_task(play(number)))
            await asyncio.gather(*calls, return_exceptions=True)
            for before, after in zip(guarded.told, guarded.told[1:], strict=False):
                assert (before, after) in {
                    (CLOSED, OPEN),
                    (OPEN, HALF_OPEN),
                    (HALF_OPEN, OPEN),
                    (HALF_OPEN, CLOSED),
                }
            # A backend that works again is found to work.
            await asyncio.sleep(10.0)
            guarded.breaker._model = in_turn("yes")
            assert await guarded.outcomes(2) == ["yes", "yes"]
            assert guarded.breaker.state is CLOSED

    asyncio.run(body())


async def test_a_refusal_names_the_fault_that_opened_it(clock: LoopClock) -> None:
    guarded = Guarded(in_turn(FaultKind.TIMEOUT, FaultKind.CONNECTION), clock, min_calls=2)
    await guarded.outcomes(2)
    with pytest.raises(ModelFault, match="last fault: connection"):
        await guarded.complete(ask())
