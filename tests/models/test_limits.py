"""Limits of one backend: places that are kept, and one fair line for them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foresight_services.core.errors import DeadlinePassed
from foresight_services.core.ports import ChatReply, ChatRequest
from foresight_services.models.adaptive_limit import AdaptiveSettings
from foresight_services.models.faults import LOAD, FaultKind, ModelFault
from foresight_services.models.limits import LimitSettings
from tests.fakes.chat import Gates
from tests.fakes.decorated import begin, limited
from tests.fakes.faults import BehavingChat, answers_in, ask, in_turn
from tests.fakes.virtual_time import LoopClock, settle, virtual_time


def seeds(model: BehavingChat) -> list[int]:
    """Return the seeds of the calls that began, in order."""
    return [request.seed for request in model.requests]


async def test_so_many_calls_are_in_flight_and_the_others_wait(clock: LoopClock) -> None:
    backend = answers_in(10.0)
    model, start = limited(backend, clock, max_concurrency=3), clock.now()
    calls = begin(model, *[ask(seed=n) for n in range(8)])
    await settle()
    assert (model.in_flight, model.waiting) == (3, 5)
    await asyncio.gather(*calls)
    assert clock.now() - start == pytest.approx(30.0, abs=1e-5)
    assert backend.most_in_flight == 3
    assert (model.in_flight, model.waiting) == (0, 0)


async def test_calls_begin_in_the_order_in_which_they_came(clock: LoopClock) -> None:
    backend = answers_in(1.0)
    model = limited(backend, clock, max_concurrency=2, requests_per_minute=5)
    await asyncio.gather(*begin(model, *[ask(seed=n) for n in range(17)]))
    assert seeds(backend) == list(range(17))


async def test_a_newcomer_does_not_overtake_who_waits(clock: LoopClock) -> None:
    gates = Gates()

    async def behave(request: ChatRequest) -> ChatReply:
        return ChatReply(await gates.say("yes", after=request.seed), 1, 1)

    backend = BehavingChat(behave)
    model = limited(backend, clock, max_concurrency=1)
    begin(model, ask(seed=0), ask(seed=1))
    await settle()
    gates.open(0)
    # The place is handed to call 1 before call 2, which comes in the same instant, can see it.
    (newcomer,) = begin(model, ask(seed=2))
    await settle()
    assert seeds(backend) == [0, 1]
    gates.open(1, 2)
    await newcomer
    assert seeds(backend) == [0, 1, 2]


@pytest.mark.parametrize(
    "error", [FaultKind.SERVER_ERROR, ValueError("a defect"), DeadlinePassed(), FaultKind.TIMEOUT]
)
async def test_a_call_that_fails_gives_its_place_back(error: Any, clock: LoopClock) -> None:
    model = limited(in_turn(error), clock, max_concurrency=1)
    for _ in range(3):
        with pytest.raises((ModelFault, ValueError, DeadlinePassed)):
            await model.complete(ask())
    assert model.in_flight == 0


async def test_a_cancelled_call_gives_its_place_to_the_next(clock: LoopClock) -> None:
    backend = answers_in(10.0)
    model = limited(backend, clock, max_concurrency=1)
    first, second = begin(model, ask(seed=0), ask(seed=1))
    await settle()
    before = clock.now()
    first.cancel()
    await settle()
    assert backend.cancelled == 1
    assert seeds(backend) == [0, 1]
    await second
    assert clock.now() - before == pytest.approx(10.0, abs=1e-5)


async def test_a_cancelled_wait_gives_up_its_turn(clock: LoopClock) -> None:
    backend = answers_in(10.0)
    model = limited(backend, clock, max_concurrency=1)
    calls = begin(model, *[ask(seed=n) for n in range(4)])
    await settle()
    calls[1].cancel()
    await settle()
    assert model.waiting == 2
    await asyncio.gather(calls[0], *calls[2:])
    assert seeds(backend) == [0, 2, 3]


async def test_a_call_that_is_cancelled_when_its_turn_comes_passes_it_on(clock: LoopClock) -> None:
    gates = Gates()

    async def behave(request: ChatRequest) -> ChatReply:
        return ChatReply(await gates.say("yes", after=request.seed), 1, 1)

    backend = BehavingChat(behave)
    model = limited(backend, clock, max_concurrency=1)

    async def first() -> None:
        await model.complete(ask(seed=0))
        second.cancel()  # In the very step that handed it the place.

    ends = asyncio.create_task(first())
    second, third = begin(model, ask(seed=1), ask(seed=2))
    await settle()
    gates.open(0, 1, 2)
    await asyncio.gather(ends, second, third, return_exceptions=True)
    assert second.cancelled()
    assert seeds(backend) == [0, 2]
    assert (model.in_flight, model.waiting) == (0, 0)


async def test_a_wait_ends_at_the_deadline(clock: LoopClock) -> None:
    backend = answers_in(10.0)
    model, start = limited(backend, clock, max_concurrency=1), clock.now()
    _, late, patient = begin(
        model, ask(seed=0), ask(seed=1, deadline=start + 4.0), ask(seed=2, deadline=start + 20.0)
    )
    with pytest.raises(DeadlinePassed, match="'m'"):
        await late
    assert clock.now() - start == pytest.approx(4.0)
    assert model.waiting == 1
    await patient
    assert seeds(backend) == [0, 2]


@pytest.mark.parametrize("kind", FaultKind)
async def test_faults_of_load_alone_shrink_the_limit(kind: FaultKind, clock: LoopClock) -> None:
    told: list[int] = []
    model = limited(
        in_turn(kind, seconds=1.0),
        clock,
        told.append,
        max_concurrency=8,
        adaptive=AdaptiveSettings(),
    )
    await asyncio.gather(*begin(model, *[ask() for _ in range(8)]), return_exceptions=True)
    assert told == ([8, 4] if kind in LOAD else [8])


async def test_the_limit_shrinks_and_grows_with_what_the_backend_takes(clock: LoopClock) -> None:
    told: list[int] = []
    backend = in_turn(FaultKind.OVERLOADED, seconds=1.0)
    model = limited(backend, clock, told.append, max_concurrency=8, adaptive=AdaptiveSettings())
    await asyncio.gather(*begin(model, *[ask() for _ in range(8)]), return_exceptions=True)
    backend.behaviour = answers_in(1.0).behaviour
    backend.most_in_flight = 0
    await asyncio.gather(*begin(model, *[ask() for _ in range(4)]))
    assert backend.most_in_flight == 4
    await asyncio.gather(*begin(model, *[ask() for _ in range(100)]))
    assert backend.most_in_flight == 8
    assert told == [8, 4, 5, 6, 7, 8]


async def test_nothing_is_left_behind_by_calls_that_waited(clock: LoopClock) -> None:
    model = limited(answers_in(1.0), clock, max_concurrency=1, requests_per_minute=2)
    calls = begin(model, *[ask(deadline=clock.now() + 1000.0) for _ in range(6)])
    await asyncio.sleep(30.0)
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    assert (model.in_flight, model.waiting) == (0, 0)
    loop: Any = asyncio.get_running_loop()
    assert [timer for timer in loop._scheduled if not timer.cancelled()] == []


Plan = tuple[float, float, float | None, float | None]
"""When a call comes, how long it takes, when it is cancelled, and its deadline; seconds."""

moments = st.floats(0.0, 20.0)


@settings(deadline=None)
@given(
    plans=st.lists(
        st.tuples(moments, moments, st.none() | moments, st.none() | moments), max_size=30
    ),
    places=st.integers(1, 5),
    requests=st.none() | st.integers(1, 5),
    outcomes=st.lists(st.sampled_from(["yes", FaultKind.TIMEOUT, FaultKind.REFUSED]), min_size=1),
    adaptive=st.none() | st.just(AdaptiveSettings()),
)
def test_limits_hold_and_places_are_kept_whatever_is_cancelled(
    plans: list[Plan],
    places: int,
    requests: int | None,
    outcomes: list[Any],
    adaptive: AdaptiveSettings | None,
) -> None:
    async def body() -> None:
        with virtual_time() as clock:
            begun: list[float] = []

            async def behave(request: ChatRequest) -> ChatReply:
                begun.append(clock.now())
                assert backend.in_flight <= model.in_flight <= places
                await asyncio.sleep(plans[request.seed][1])
                return await in_turn(outcomes[request.seed % len(outcomes)]).complete(request)

            backend = BehavingChat(behave)
            model = limited(
                backend,
                clock,
                max_concurrency=places,
                requests_per_minute=requests,
                adaptive=adaptive,
            )

            async def play(number: int, plan: Plan) -> None:
                comes, _, cancelled, deadline = plan
                await asyncio.sleep(comes)
                until = None if deadline is None else clock.now() + deadline
                async with asyncio.timeout(cancelled):
                    await model.complete(ask(seed=number, deadline=until))

            results = await asyncio.gather(
                *(play(number, plan) for number, plan in enumerate(plans)), return_exceptions=True
            )
            assert (model.in_flight, model.waiting, backend.in_flight) == (0, 0, 0)
            for result in results:
                assert result is None or isinstance(
                    result, TimeoutError | DeadlinePassed | ModelFault
                )
            if requests is not None:
                for early, late in zip(begun, begun[requests:], strict=False):
                    assert late - early >= 60.0 - 1e-3
            # Whatever became of the others, a last call gets its turn.
            backend.behaviour = in_turn("yes").behaviour
            assert (await model.complete(ask())).text == "yes"
            loop: Any = asyncio.get_running_loop()
            assert [timer for timer in loop._scheduled if not timer.cancelled()] == []

    asyncio.run(body())


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_concurrency": 0},
        {"requests_per_minute": 0},
        {"tokens_per_minute": 0},
        {"max_pause_seconds": -1.0},
    ],
)
def test_settings_that_cannot_be_used_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        LimitSettings(**wrong)
