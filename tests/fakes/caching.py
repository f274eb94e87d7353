"""Caches for tests, and a service in which calls of models can be counted."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from foresight_services.cache.entries import FutureCodec, MessageCodec, ScoreCodec
from foresight_services.cache.memory import MemoryCache
from foresight_services.core.cache import CacheStore, Lifetime, UnobservedCache
from foresight_services.core.cached_evaluator import CachedEvaluator, KeptScore
from foresight_services.core.cached_simulator import CachedSimulator, is_personal_error
from foresight_services.core.future import Future
from foresight_services.core.message_request import SampledMessage
from foresight_services.core.policies import PolicyRegistry
from foresight_services.core.ports import ChatModel, ChatRequest, Evaluator, Simulator
from foresight_services.core.published import PublishedPolicy
from foresight_services.core.reward import Rewards
from foresight_services.core.single_flight import SingleFlight
from foresight_services.core.task import PolicyRef
from tests.fakes.chat import Answer, ScriptedChat
from tests.fakes.evaluation import StubCatalog, StubMetric, make_evaluation
from tests.fakes.reward import make_rewards
from tests.fakes.simulation import make_simulation
from tests.fakes.telemetry import RecordingTelemetry
from tests.fakes.virtual_time import LoopClock


def memory_cache(max_bytes: int = 2**24, ttl_seconds: float = 1e9) -> MemoryCache:
    """Return an empty store of this process."""
    return MemoryCache(
        max_bytes=max_bytes,
        lifetime=Lifetime(ttl_seconds),
        clock=LoopClock(),
        rng=random.Random(0),
        observer=UnobservedCache(),
    )


def cached_simulator(
    simulator: Simulator, store: CacheStore, telemetry: RecordingTelemetry | None = None
) -> CachedSimulator:
    """Put a cache before `simulator`."""
    flights: SingleFlight[Future] = SingleFlight(
        store, FutureCodec(), is_personal=is_personal_error
    )
    messages: SingleFlight[SampledMessage] = SingleFlight(
        store, MessageCodec(), is_personal=is_personal_error
    )
    return CachedSimulator(
        simulator,
        flights,
        clock=LoopClock(),
        telemetry=telemetry or RecordingTelemetry(),
        messages=messages,
    )


def cached_evaluator(
    evaluator: Evaluator, store: CacheStore, telemetry: RecordingTelemetry | None = None
) -> CachedEvaluator:
    """Put a cache before `evaluator`."""
    flights: SingleFlight[KeptScore] = SingleFlight(
        store, ScoreCodec(), is_personal=is_personal_error
    )
    return CachedEvaluator(
        evaluator, flights, clock=LoopClock(), telemetry=telemetry or RecordingTelemetry()
    )


def identified(name: str, verdict: Any, **options: Any) -> StubMetric:
    """Return a metric whose scores can be cached."""
    return StubMetric(name, verdict, identity=f"{name} of the test", **options)


class AnyVersion:
    """Plays every published version by saying `a`; implements the port `PublishedModels`."""

    @asynccontextmanager
    async def open(self, policy: PublishedPolicy) -> AsyncIterator[ChatModel]:
        """Return the model."""
        yield ScriptedChat("a")


@dataclass
class Replica:
    """A reward service with a cache, and the models behind it."""

    rewards: Rewards
    """The use case."""
    user: ChatModel
    """Who plays the user."""
    telemetry: RecordingTelemetry = field(default_factory=RecordingTelemetry)
    """What its operator sees."""


def seeded(request: ChatRequest) -> str:
    """Say something else in every future and every turn."""
    return f"u{request.seed}"


def replica(
    store: CacheStore,
    *metrics: StubMetric,
    user: ChatModel | None = None,
    answer: Answer | str = seeded,
    fingerprint: str | Callable[[PolicyRef], str] = "fake",
    policies: PolicyRegistry | None = None,
) -> Replica:
    """Return a replica over `store`; its policy says `a`."""
    user = user or ScriptedChat(answer)
    telemetry = RecordingTelemetry()
    simulation = make_simulation(
        user=user,
        policy=ScriptedChat("a"),
        fingerprint=fingerprint,
        telemetry=telemetry,
        published=AnyVersion(),
    )
    evaluation = make_evaluation(catalog=StubCatalog(*metrics))
    rewards = make_rewards(
        cached_simulator(simulation, store, telemetry),
        evaluator=cached_evaluator(evaluation, store, telemetry),
        telemetry=telemetry,
        policies=policies,
    )
    return Replica(rewards, user, telemetry)
