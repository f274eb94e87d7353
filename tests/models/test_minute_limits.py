"""Limits of one backend over time: requests and tokens of a minute, and pauses."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foresight_services.core.errors import DeadlinePassed
from foresight_services.core.ports import ChatReply, ChatRequest
from foresight_services.models.faults import FaultKind, ModelFault
from foresight_services.models.limits import TICK, MinuteWindow
from tests.fakes.decorated import begin, limited
from tests.fakes.faults import BehavingChat, ask, fault, in_turn
from tests.fakes.virtual_time import LoopClock


async def test_requests_of_any_minute_keep_to_their_limit(clock: LoopClock) -> None:
    begun: list[float] = []

    async def behave(request: ChatRequest) -> ChatReply:
        begun.append(clock.now())
        return ChatReply("yes", 1, 1)

    model, start = limited(BehavingChat(behave), clock, requests_per_minute=3), clock.now()
    await model.complete(ask())
    await asyncio.sleep(20.0)
    await asyncio.gather(*begin(model, *[ask() for _ in range(7)]))
    expected = [0, 20, 20, 60, 80, 80, 120, 140]
    assert [when - start for when in begun] == pytest.approx(expected, abs=1e-4)


async def test_tokens_are_charged_when_they_are_known_and_an_overdrawn_minute_waits(
    clock: LoopClock,
) -> None:
    begun: list[float] = []

    async def behave(request: ChatRequest) -> ChatReply:
        begun.append(clock.now())
        await asyncio.sleep(1.0)
        return ChatReply("yes", 500, 200)

    model = limited(BehavingChat(behave), clock, max_concurrency=1, tokens_per_minute=1000)
    start = clock.now()
    await asyncio.gather(*begin(model, *[ask(max_tokens=10**6) for _ in range(5)]))
    # The second call overdraws the minute, and the third waits until the first one's tokens, known
    # at second 1, are a minute old.
    assert [when - start for when in begun] == pytest.approx([0, 1, 61, 62, 122], abs=1e-4)


async def test_a_failed_call_is_charged_no_tokens(clock: LoopClock) -> None:
    model = limited(in_turn(FaultKind.SERVER_ERROR, "yes"), clock, tokens_per_minute=1)
    start = clock.now()
    with pytest.raises(ModelFault):
        await model.complete(ask())
    await model.complete(ask())
    assert clock.now() == start


async def test_a_minute_that_frees_too_late_for_the_deadline_is_not_waited_for(
    clock: LoopClock,
) -> None:
    model, start = limited(in_turn("yes"), clock, requests_per_minute=1), clock.now()
    await model.complete(ask())
    with pytest.raises(DeadlinePassed):
        await model.complete(ask(deadline=start + 59.0))
    assert clock.now() == start
    await model.complete(ask(deadline=start + 61.0))
    assert clock.now() - start == pytest.approx(60.0, abs=1e-4)


async def test_a_newcomer_does_not_overtake_who_waits_for_the_minute(clock: LoopClock) -> None:
    backend = in_turn("yes")
    model = limited(backend, clock, requests_per_minute=1)

    async def newcomer() -> None:
        # In the instant in which the minute is over, just before the alarm that watches for it.
        await asyncio.sleep(60.0 - TICK / 2)
        await model.complete(ask(seed=2))

    late = asyncio.create_task(newcomer())
    await asyncio.sleep(0)
    calls = begin(model, ask(seed=0), ask(seed=1))
    await asyncio.gather(late, *calls)
    assert [request.seed for request in backend.requests] == [0, 1, 2]


async def test_retry_after_stops_every_call_to_the_backend(clock: LoopClock) -> None:
    backend = in_turn(fault(FaultKind.RATE_LIMITED, 12.0), "yes")
    model, start = limited(backend, clock), clock.now()
    with pytest.raises(ModelFault):
        await model.complete(ask())
    await asyncio.gather(*begin(model, ask(), ask()))
    assert clock.now() - start == pytest.approx(12.0, abs=1e-4)


async def test_no_backend_stops_calls_for_longer_than_configured(clock: LoopClock) -> None:
    backend = in_turn(fault(FaultKind.OVERLOADED, 86400.0), "yes")
    model, start = limited(backend, clock, max_pause_seconds=30.0), clock.now()
    with pytest.raises(ModelFault):
        await model.complete(ask())
    await model.complete(ask())
    assert clock.now() - start == pytest.approx(30.0, abs=1e-4)


async def test_calls_in_flight_go_on_through_a_pause(clock: LoopClock) -> None:
    async def behave(request: ChatRequest) -> ChatReply:
        await asyncio.sleep(1.0)
        if request.seed == 0:
            raise fault(FaultKind.RATE_LIMITED, 50.0)
        await asyncio.sleep(1.0)
        return ChatReply("yes", 1, 1)

    model, start = limited(BehavingChat(behave), clock), clock.now()
    _, other = begin(model, ask(seed=0), ask(seed=1))
    await other
    assert clock.now() - start == pytest.approx(2.0)


@settings(deadline=None)
@given(
    limit=st.integers(1, 50),
    steps=st.lists(st.tuples(st.floats(0.0, 50.0), st.integers(0, 80)), max_size=80),
)
def test_a_window_knows_when_it_has_room(limit: int, steps: list[tuple[float, int]]) -> None:
    window, now = MinuteWindow(limit), 1000.0
    spent: list[tuple[float, int]] = []

    def total(when: float) -> int:
        return sum(amount for begun, amount in spent if begun > when - 60.0)

    for pause, amount in steps:
        now += pause
        wait = window.wait_seconds(now)
        assert (wait == 0.0) == (total(now - 1e-6) < limit) or total(now) < limit
        assert wait <= 60.0 + 1e-9
        if wait > 0:
            assert total(now + wait - 1e-5) >= limit
            now += wait + 1e-5
            assert total(now) < limit
            assert window.wait_seconds(now) == 0.0
        window.spend(now, amount)
        spent.append((now, amount))
