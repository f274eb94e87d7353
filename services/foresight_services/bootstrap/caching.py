"""The cache of a reward service, and what uses it."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from foresight_services.cache.entries import FutureCodec, MessageCodec, ScoreCodec
from foresight_services.cache.opening import open_cache
from foresight_services.config import Config
from foresight_services.core.cache import CacheObserver, CacheStore
from foresight_services.core.cached_evaluator import CachedEvaluator, KeptScore
from foresight_services.core.cached_simulator import CachedSimulator, is_personal_error
from foresight_services.core.future import Future
from foresight_services.core.message_request import SampledMessage
from foresight_services.core.ports import Clock, Evaluator, Simulator, Telemetry
from foresight_services.core.reward_store import RewardStore
from foresight_services.core.single_flight import SingleFlight
from foresight_services.reward.record_codec import ProtoRecordCodec


@dataclass(frozen=True, slots=True)
class Cached:
    """A simulator and an evaluator that remember."""

    simulator: Simulator
    """The simulator."""
    evaluator: Evaluator
    """The evaluator."""
    store: CacheStore
    """Where they remember."""
    rewards: RewardStore
    """Where rewards are kept."""


@asynccontextmanager
async def cached(
    config: Config,
    simulator: Simulator,
    evaluator: Evaluator,
    *,
    clock: Clock,
    telemetry: Telemetry,
    observer: CacheObserver,
    dropped: Callable[[int], None],
) -> AsyncIterator[Cached]:
    """Put the configured cache before `simulator` and `evaluator`.

    Raises:
        Precondition: where the cache cannot be opened as it is configured.
    """
    # Lifetimes must differ between processes, or what they stored together would end together.
    store = await open_cache(
        config.cache,
        environment=os.environ,
        clock=clock,
        rng=random.Random(),
        observer=observer,
    )
    lease = config.cache.lease_seconds
    futures: SingleFlight[Future] = SingleFlight(
        store, FutureCodec(), is_personal=is_personal_error, lease_seconds=lease
    )
    messages: SingleFlight[SampledMessage] = SingleFlight(
        store, MessageCodec(), is_personal=is_personal_error, lease_seconds=lease
    )
    scores: SingleFlight[KeptScore] = SingleFlight(
        store, ScoreCodec(), is_personal=is_personal_error, lease_seconds=lease
    )
    rewards = RewardStore(store, ProtoRecordCodec(), dropped=dropped)
    try:
        yield Cached(
            CachedSimulator(
                simulator, futures, clock=clock, telemetry=telemetry, messages=messages
            ),
            CachedEvaluator(evaluator, scores, clock=clock, telemetry=telemetry),
            store,
            rewards,
        )
    finally:
        await rewards.close()
        await futures.close()
        await messages.close()
        await scores.close()
        await store.close()
