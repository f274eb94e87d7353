"""Second tries: how often, after how long, with which seed, and never past the deadline."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foresight_services.core.errors import DeadlinePassed, Family
from foresight_services.core.seeds import derive_seed
from foresight_services.core.usage import ModelUsage
from foresight_services.models.faults import RETRYABLE, FaultKind, ModelFault
from foresight_services.models.retrying import REDRAWN, RETRIES, RetrySettings
from tests.fakes.decorated import Recorder
from tests.fakes.faults import BehavingChat, ask, fault, in_turn, spent
from tests.fakes.virtual_time import LoopClock, virtual_time

FINAL = [kind for kind in FaultKind if kind not in RETRYABLE]


async def test_a_call_that_succeeds_is_made_once_and_waits_for_nothing(clock: LoopClock) -> None:
    model = in_turn("yes")
    recorder, request, start = Recorder(model, clock), ask(), clock.now()
    assert (await recorder.complete(request)).text == "yes"
    assert model.requests == [request]
    assert clock.now() == start
    assert recorder.retries == []
    assert spent(request) == ModelUsage()


async def test_waits_are_full_jitter_and_exact_for_a_seed(clock: LoopClock) -> None:
    model = in_turn(*[FaultKind.SERVER_ERROR] * 5, "yes")
    recorder = Recorder(model, clock, seed=7, base_seconds=1.0, cap_seconds=6.0)
    start = clock.now()
    await recorder.complete(ask())
    rng = random.Random(7)
    expected = [rng.uniform(0.0, ceiling) for ceiling in (1.0, 2.0, 4.0, 6.0, 6.0)]
    assert recorder.waits == expected
    assert clock.now() - start == pytest.approx(sum(expected))


@settings(deadline=None)
@given(st.integers(0, 2**32), st.floats(0.001, 10.0), st.floats(0.001, 100.0), st.integers(1, 60))
def test_no_wait_is_negative_or_above_its_ceiling(
    seed: int, base: float, cap: float, retries: int
) -> None:
    async def body() -> None:
        with virtual_time() as clock:
            recorder = Recorder(
                in_turn(*[FaultKind.SERVER_ERROR] * retries, "yes"),
                clock,
                seed,
                base_seconds=base,
                cap_seconds=cap,
                retries={FaultKind.SERVER_ERROR: retries},
                retries_per_request=retries,
                budget_max=retries,
            )
            await recorder.complete(ask())
            for number, wait in enumerate(recorder.waits):
                assert 0.0 <= wait <= min(cap, base * 2.0**number)

    asyncio.run(body())


@pytest.mark.parametrize("kind", RETRIES)
async def test_every_kind_has_its_own_number_of_retries(kind: FaultKind, clock: LoopClock) -> None:
    model = in_turn(kind)
    recorder = Recorder(model, clock)
    with pytest.raises(ModelFault) as failed:
        await recorder.complete(ask())
    assert failed.value.kind is kind
    assert len(model.requests) == 1 + RETRIES[kind]


async def test_kinds_are_counted_apart(clock: LoopClock) -> None:
    kinds = [FaultKind.SERVER_ERROR, FaultKind.CONNECTION, FaultKind.TIMEOUT] * 2
    model = in_turn(*kinds, "yes")
    retries = dict.fromkeys(kinds, 2)
    assert (await Recorder(model, clock, retries=retries).complete(ask())).text == "yes"
    assert len(model.requests) == 7


@pytest.mark.parametrize("kind", FINAL)
async def test_what_another_try_cannot_mend_is_raised_at_once(
    kind: FaultKind, clock: LoopClock
) -> None:
    model, request, start = in_turn(kind), ask(), clock.now()
    with pytest.raises(ModelFault) as failed:
        await Recorder(model, clock).complete(request)
    assert failed.value.kind is kind
    assert len(model.requests) == 1
    assert clock.now() == start


@pytest.mark.parametrize("kind", FINAL)
async def test_what_another_try_cannot_mend_ends_the_retries(
    kind: FaultKind, clock: LoopClock
) -> None:
    model = in_turn(FaultKind.TIMEOUT, kind)
    with pytest.raises(ModelFault) as failed:
        await Recorder(model, clock).complete(ask())
    assert failed.value.kind is kind
    assert len(model.requests) == 2


async def test_errors_that_are_no_fault_of_the_model_pass_through(clock: LoopClock) -> None:
    for error in (DeadlinePassed(), ValueError("a defect")):
        model = in_turn(error)
        with pytest.raises(type(error)) as failed:
            await Recorder(model, clock).complete(ask())
        assert failed.value is error
        assert len(model.requests) == 1


async def test_retry_after_is_waited_out_before_the_jitter(clock: LoopClock) -> None:
    model = in_turn(fault(FaultKind.RATE_LIMITED, 20.0), "yes")
    recorder = Recorder(model, clock, seed=3)
    await recorder.complete(ask())
    assert recorder.retries == [
        (FaultKind.RATE_LIMITED, 20.0 + random.Random(3).uniform(0.0, 0.5)),
    ]


async def test_a_backend_that_asks_for_too_long_is_not_asked_again(clock: LoopClock) -> None:
    model = in_turn(fault(FaultKind.RATE_LIMITED, 301.0), "yes")
    with pytest.raises(ModelFault):
        await Recorder(model, clock).complete(ask())
    assert len(model.requests) == 1


async def test_no_wait_begins_that_would_pass_the_deadline(clock: LoopClock) -> None:
    model = in_turn(fault(FaultKind.OVERLOADED, 30.0))
    start = clock.now()
    with pytest.raises(ModelFault) as failed:
        await Recorder(model, clock).complete(ask(deadline=start + 30.0))
    assert failed.value.kind is FaultKind.OVERLOADED
    assert clock.now() == start


@settings(deadline=None)
@given(st.integers(0, 2**32), st.floats(0.0, 60.0), st.sampled_from(sorted(RETRIES)))
def test_no_retry_begins_at_or_after_the_deadline(seed: int, left: float, kind: FaultKind) -> None:
    async def body() -> None:
        with virtual_time() as clock:
            deadline = clock.now() + left
            begun: list[float] = []
            model = in_turn(kind)

            async def behave(request: Any) -> Any:
                begun.append(clock.now())
                raise fault(kind)

            model.behaviour = behave
            with pytest.raises(ModelFault):
                await Recorder(model, clock, seed).complete(ask(deadline=deadline))
            assert all(when <= deadline for when in begun[1:])
            assert clock.now() <= max(deadline, begun[0])

    asyncio.run(body())


@pytest.mark.parametrize("kind", sorted(REDRAWN))
async def test_an_unusable_reply_is_drawn_anew_with_another_seed(
    kind: FaultKind, clock: LoopClock
) -> None:
    model, request = in_turn(kind, kind, "yes"), ask(seed=11)
    await Recorder(model, clock).complete(request)
    seeds = [asked.seed for asked in model.requests]
    assert seeds == [11, derive_seed(11, 0, "retry", 1), derive_seed(11, 0, "retry", 2)]
    assert [replace(asked, seed=11) for asked in model.requests] == [request] * 3


async def test_any_other_retry_keeps_the_seed(clock: LoopClock) -> None:
    kinds = [kind for kind in RETRIES if kind not in REDRAWN]
    model = in_turn(*kinds, FaultKind.MALFORMED, FaultKind.TIMEOUT, "yes")
    await Recorder(model, clock).complete(ask(seed=11))
    changed = derive_seed(11, 0, "retry", 1)
    assert [asked.seed for asked in model.requests] == [11] * (len(kinds) + 1) + [changed] * 2


async def test_a_redraw_mends_a_deterministic_server_that_cannot_answer_one_seed(
    clock: LoopClock,
) -> None:
    async def behave(request: Any) -> Any:
        if request.seed == 11:
            raise fault(FaultKind.MALFORMED)
        return await in_turn("yes").complete(request)

    reply = await Recorder(BehavingChat(behave), clock).complete(ask(seed=11))
    assert reply.text == "yes"


async def test_the_last_fault_is_told_and_has_its_family(clock: LoopClock) -> None:
    last = fault(FaultKind.SERVER_ERROR)
    model = in_turn(FaultKind.TIMEOUT, last)
    with pytest.raises(ModelFault) as failed:
        await Recorder(model, clock).complete(ask())
    assert failed.value is last
    assert failed.value.family is Family.UPSTREAM


async def test_no_exponent_is_too_large(clock: LoopClock) -> None:
    recorder = Recorder(
        in_turn(*[FaultKind.SERVER_ERROR] * 1100, "yes"),
        clock,
        retries={FaultKind.SERVER_ERROR: 1100},
        retries_per_request=1100,
    )
    await recorder.complete(ask())
    assert max(recorder.waits) <= 30.0


@pytest.mark.parametrize(
    "wrong",
    [
        {"base_seconds": -1.0},
        {"budget_share": float("nan")},
        {"retries": {FaultKind.CONTEXT: 1}},
        {"retries": {FaultKind.TIMEOUT: -1}},
    ],
)
def test_settings_that_cannot_be_used_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        RetrySettings(**wrong)
