"""What retries may cost, and what they leave behind when they are cancelled."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
import weakref
from typing import Any

import pytest

from foresight_services.core.usage import Ledger, ModelUsage
from foresight_services.models.faults import FaultKind, ModelFault
from foresight_services.models.retrying import (
    RETRIES,
    RetryBudget,
    RetryingModel,
    RetrySettings,
)
from tests.fakes.decorated import Recorder
from tests.fakes.faults import BehavingChat, ask, fault, in_turn, spent
from tests.fakes.virtual_time import LoopClock, settle


async def test_retries_are_written_into_the_ledger_as_calls(clock: LoopClock) -> None:
    request = ask()
    await Recorder(in_turn(FaultKind.TIMEOUT, FaultKind.EMPTY, "yes"), clock).complete(request)
    assert spent(request) == ModelUsage(calls=2, retries=2)


async def test_a_call_that_the_breaker_kept_back_is_no_retry(clock: LoopClock) -> None:
    request = ask()
    model = in_turn(FaultKind.BREAKER_OPEN, FaultKind.TIMEOUT, FaultKind.BREAKER_OPEN, "yes")
    await Recorder(model, clock, budget_max=1.0, budget_per_second=0.0).complete(request)
    assert spent(request) == ModelUsage(calls=1, retries=1)


async def test_a_ledger_pays_for_so_many_retries_of_all_its_calls(clock: LoopClock) -> None:
    ledger, model = Ledger(), in_turn(FaultKind.TIMEOUT, "yes", FaultKind.TIMEOUT, "yes")
    recorder = Recorder(model, clock, retries_per_request=1)
    await recorder.complete(ask(ledger=ledger, role="user"))
    with pytest.raises(ModelFault):
        await recorder.complete(ask(ledger=ledger))
    await recorder.complete(ask(ledger=ledger))
    assert len(model.requests) == 4


async def test_the_backend_s_budget_is_a_share_of_its_calls(clock: LoopClock) -> None:
    model = in_turn("yes")
    recorder = Recorder(
        model, clock, budget_share=0.25, budget_per_second=0.0, budget_max=2.0, base_seconds=0.0
    )
    model.behaviour = in_turn(FaultKind.CONNECTION).behaviour
    for _ in range(1000):
        with pytest.raises(ModelFault) as failed:
            await recorder.complete(ask())
        assert failed.value.kind is FaultKind.CONNECTION
    assert len(recorder.retries) == 2 + 1000 // 4 - 1  # what it holds cannot be exceeded at first


async def test_the_budget_grows_with_time_up_to_its_bound(clock: LoopClock) -> None:
    model = in_turn(FaultKind.CONNECTION)
    recorder = Recorder(
        model,
        clock,
        budget_share=0.0,
        budget_per_second=0.5,
        budget_max=3.0,
        base_seconds=0.0,
        retries={FaultKind.CONNECTION: 1},
    )

    async def retried() -> bool:
        before = len(recorder.retries)
        with pytest.raises(ModelFault):
            await recorder.complete(ask())
        return len(recorder.retries) > before

    assert [await retried() for _ in range(4)] == [True, True, True, False]
    await asyncio.sleep(2.0)
    assert [await retried() for _ in range(2)] == [True, False]
    await asyncio.sleep(1000.0)
    assert [await retried() for _ in range(4)] == [True, True, True, False]


async def test_a_cancelled_wait_ends_at_once_and_makes_no_call(clock: LoopClock) -> None:
    model, request = in_turn(fault(FaultKind.OVERLOADED, 10.0), "yes"), ask()
    call = asyncio.create_task(Recorder(model, clock).complete(request))
    await settle()
    before = clock.now()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert clock.now() == before
    assert len(model.requests) == 1
    assert spent(request) == ModelUsage()


async def test_a_cancelled_retry_cancels_its_call(clock: LoopClock) -> None:
    model = in_turn(FaultKind.TIMEOUT, "yes", seconds=5.0)
    call = asyncio.create_task(Recorder(model, clock, base_seconds=0.0).complete(ask()))
    await asyncio.sleep(7.0)
    assert model.in_flight == 1
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert (model.in_flight, model.cancelled) == (0, 1)


async def test_faults_are_not_kept_alive_by_their_own_traceback(clock: LoopClock) -> None:
    faults: list[weakref.ref[ModelFault]] = []

    async def behave(request: Any) -> Any:
        error = fault(FaultKind.TIMEOUT)
        faults.append(weakref.ref(error))
        try:
            raise error
        finally:
            del error

    recorder = Recorder(BehavingChat(behave), clock, base_seconds=0.0)
    gc.disable()
    try:
        with contextlib.suppress(ModelFault):
            await recorder.complete(ask())
        assert [known() for known in faults] == [None] * (1 + RETRIES[FaultKind.TIMEOUT])
    finally:
        gc.enable()


async def test_models_at_one_place_share_its_budget(clock: LoopClock) -> None:
    settings = RetrySettings(
        budget_share=0.0, budget_per_second=0.0, budget_max=3.0, base_seconds=0.0
    )
    budget = RetryBudget(settings, clock)
    backends = [in_turn(FaultKind.CONNECTION), in_turn(FaultKind.CONNECTION)]
    for backend in backends:
        model = RetryingModel(
            backend, settings=settings, clock=clock, rng=random.Random(1), budget=budget
        )
        with pytest.raises(ModelFault):
            await model.complete(ask())
    assert [len(backend.requests) for backend in backends] == [1 + 3, 1]
