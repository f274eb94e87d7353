"""How many second calls there are, and how long a straggler takes."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foresight_services.core.ports import ChatReply, ChatRequest
from foresight_services.models.hedging import HedgedModel, HedgeSettings, LatencyWindow
from tests.fakes.faults import BehavingChat, ask
from tests.fakes.virtual_time import virtual_time


@settings(deadline=None)
@given(
    seconds=st.lists(st.floats(0.01, 100.0), min_size=1, max_size=150),
    share=st.floats(0.0, 1.0),
    at_once=st.integers(1, 20),
)
def test_hedges_keep_to_their_share_of_the_calls(
    seconds: list[float], share: float, at_once: int
) -> None:
    async def body() -> None:
        with virtual_time() as clock:
            hedges = begun = 0

            async def behave(request: ChatRequest) -> ChatReply:
                await asyncio.sleep(seconds[request.seed])
                return ChatReply("yes", 1, 1)

            backend = BehavingChat(behave)
            settings = HedgeSettings(max_share=share, min_calls=1, quantile=0.5)
            model = HedgedModel(backend, settings=settings, clock=clock)
            work = iter(range(len(seconds)))

            async def worker() -> None:
                nonlocal hedges, begun
                for number in work:
                    begun += 1
                    await model.complete(ask(seed=number))
                    assert len(backend.requests) - begun <= share * begun + 1e-9

            await asyncio.gather(*(worker() for _ in range(at_once)))
            assert backend.in_flight == 0

    asyncio.run(body())


@settings(deadline=None)
@given(st.integers(1, 30), st.lists(st.floats(0.0, 1e6), min_size=1, max_size=120), st.floats(0, 1))
def test_quantiles_are_those_of_the_latest(size: int, seen: list[float], share: float) -> None:
    window = LatencyWindow(size)
    for seconds in seen:
        window.add(seconds)
    latest = sorted(seen[-size:])
    assert len(window) == len(latest)
    assert window.quantile(share) == latest[max(0, math.ceil(share * len(latest)) - 1)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"quantile": 1.0},
        {"max_share": 1.5},
        {"min_calls": 0},
        {"min_calls": 300},
        {"min_wait_seconds": -1.0},
    ],
)
def test_settings_that_cannot_be_used_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        HedgeSettings(**wrong)
