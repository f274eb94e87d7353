"""Measure what each decorator of a model adds to a call in which nothing fails and nothing waits.

The model inside answers at once, so that what is measured is the decorators' own code. CPU time of
one call after the other on uvloop; medians over the rounds, and their extremes. The libraries that
were looked at for the same work stand below, each around a function that does nothing.

    python -m bench.decorator_cpu --rounds 9 --calls 20000
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator

import aiolimiter
import tenacity
import uvloop

from foresight_services.bootstrap import MonotonicClock
from foresight_services.core.conversation import Message
from foresight_services.core.ports import ChatModel, ChatReply, ChatRequest
from foresight_services.core.task import Task
from foresight_services.core.usage import Ledger
from foresight_services.models.breaker import BreakerModel, BreakerSettings
from foresight_services.models.hedging import HedgedModel, HedgeSettings
from foresight_services.models.limits import LimitedModel, LimitSettings
from foresight_services.models.retrying import RetryingModel, RetrySettings

Call = Callable[[], Awaitable[object]]

REPLY = ChatReply("yes", 1, 1)
MANY = 10**12
"""A limit that is never reached."""


class Instant:
    """Answers at once; implements the port `ChatModel`."""

    async def complete(self, request: ChatRequest) -> ChatReply:
        """Answer."""
        return REPLY


def stacks() -> Iterator[tuple[str, ChatModel]]:
    """Yield models by what stands around them."""
    clock, instant = MonotonicClock(), Instant()

    def limited(model: ChatModel, settings: LimitSettings) -> LimitedModel:
        return LimitedModel(model, name="m", settings=settings, clock=clock)

    def guarded(model: ChatModel) -> BreakerModel:
        return BreakerModel(model, name="m", settings=BreakerSettings(), clock=clock)

    def retrying(model: ChatModel) -> RetryingModel:
        rng = random.Random(0)
        return RetryingModel(model, settings=RetrySettings(), clock=clock, rng=rng)

    def hedged(model: ChatModel) -> HedgedModel:
        return HedgedModel(model, settings=HedgeSettings(), clock=clock)

    yield "nothing", instant
    yield "limits: concurrency", limited(instant, LimitSettings())
    minute = LimitSettings(requests_per_minute=MANY, tokens_per_minute=MANY)
    yield "limits: and per minute", limited(instant, minute)
    yield "breaker", guarded(instant)
    yield "retries", retrying(instant)
    yield "retries, breaker, limits", retrying(guarded(limited(instant, minute)))
    yield "hedges", hedged(instant)


def libraries() -> Iterator[tuple[str, Call]]:
    """Yield what the libraries do around nothing."""

    async def nothing() -> None:
        return None

    limiter = aiolimiter.AsyncLimiter(MANY)

    async def within() -> None:
        async with limiter:
            await nothing()

    yield "aiolimiter, one limit", within
    retry = tenacity.retry(
        stop=tenacity.stop_after_attempt(5), wait=tenacity.wait_random_exponential()
    )
    yield "tenacity", retry(nothing)


async def microseconds(call: Call, calls: int) -> float:
    """Return the CPU time of a call."""
    start = time.process_time()
    for _ in range(calls):
        await call()
    return (time.process_time() - start) / calls * 1e6


async def measure(rounds: int, calls: int) -> dict[str, list[float]]:
    """Return the CPU times of every row, one for each round."""
    request = ChatRequest(
        "policy", Task(), (Message("user", "hi"),), seed=0, max_tokens=9, ledger=Ledger()
    )

    def call_of(model: ChatModel) -> Call:
        return lambda: model.complete(request)

    rows = [(name, call_of(model)) for name, model in stacks()] + list(libraries())
    found: dict[str, list[float]] = {name: [] for name, _ in rows}
    for number in range(rounds + 1):  # the first one warms up
        for name, call in rows:
            spent = await microseconds(call, calls)
            if number:
                found[name].append(spent)
    return found


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--calls", type=int, default=20_000)
    arguments = parser.parse_args()
    found = uvloop.run(measure(arguments.rounds, arguments.calls))
    print(f"{os.cpu_count()} cores, Python {platform.python_version()}; CPU time of a call in µs")
    print(f"{'around the call':26} {'median':>8} {'lowest':>8} {'highest':>8}")
    for name, spent in found.items():
        median = statistics.median(spent)
        print(f"{name:26} {median:8.2f} {min(spent):8.2f} {max(spent):8.2f}")


if __name__ == "__main__":
    main()
