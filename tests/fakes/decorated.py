"""Models with retries or limits around them, as tests want them."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from foresight_services.core.ports import ChatModel, ChatReply, ChatRequest
from foresight_services.models.faults import FaultKind
from foresight_services.models.limits import LimitedModel, LimitSettings
from foresight_services.models.retrying import RetryingModel, RetrySettings
from tests.fakes.virtual_time import LoopClock


class Recorder:
    """A retrying model and the waits before its retries."""

    def __init__(self, model: ChatModel, clock: LoopClock, seed: int = 0, **settings: Any) -> None:
        self.retries: list[tuple[FaultKind, float]] = []
        self.model = RetryingModel(
            model,
            settings=RetrySettings(**settings),
            clock=clock,
            rng=random.Random(seed),
            on_retry=lambda kind, wait: self.retries.append((kind, wait)),
        )
        self.complete = self.model.complete

    @property
    def waits(self) -> list[float]:
        """Seconds before each retry."""
        return [wait for _, wait in self.retries]


def limited(model: ChatModel, clock: LoopClock, on_limit: Any = None, **settings: Any) -> Any:
    """Return `model` with limits, fixed ones unless `adaptive` is given."""
    given = {"adaptive": None, **settings}
    return LimitedModel(
        model, name="m", settings=LimitSettings(**given), clock=clock, on_limit=on_limit
    )


def begin(model: ChatModel, *requests: ChatRequest) -> list[asyncio.Task[ChatReply]]:
    """Begin calls in this order."""
    return [asyncio.create_task(model.complete(request)) for request in requests]
