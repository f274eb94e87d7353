"""Many rewards over real sockets, through the whole stack of decorators, while calls fail."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass

from foresight_services.core.conversation import Message
from foresight_services.core.errors import Failure
from foresight_services.core.objective import MetricSpec, Objective
from foresight_services.core.ports import ChatModel, Clock, Telemetry
from foresight_services.core.request import RewardQuery
from foresight_services.core.result import CandidateResult, GroupSummary
from foresight_services.core.reward import Rewards
from foresight_services.core.simulation import Simulation
from foresight_services.core.task import Task
from foresight_services.metrics.catalog import Catalog
from foresight_services.metrics.judging.ruled import RuledJudge
from foresight_services.metrics.tokenizers import Tokenizers
from foresight_services.metrics.tools import Tools
from foresight_services.models.adaptive_limit import AdaptiveSettings
from foresight_services.models.breaker import BreakerModel, BreakerSettings
from foresight_services.models.faults import FaultKind
from foresight_services.models.limits import LimitedModel, LimitSettings
from foresight_services.models.metered import MeteredModel
from foresight_services.models.openai import OpenAIModel, OpenAISettings
from foresight_services.models.retrying import RETRIES as RETRIES_BY_KIND
from foresight_services.models.retrying import RetryingModel, RetrySettings
from foresight_services.worlds.goals import WorldGoals
from foresight_services.worlds.registry import make_worlds
from foresight_services.worlds.world import TERMINATION_SIGNAL
from tests.fakes.evaluation import make_evaluation
from tests.fakes.openai_server import Fault, Reply, error, openai_server
from tests.fakes.reward import make_rewards
from tests.fakes.simulation import OnePolicy
from tests.fakes.telemetry import RecordingTelemetry
from tests.fakes.virtual_time import LoopClock
from tests.fakes.world_server import FaultyScript, InWords, world_rules

CANDIDATES = (
    "What are your address, diet, budget, household size and allergies?",
    "What is your address?",
    "Do you have any allergies?",
    "What is your diet and your budget?",
    "What is your household size?",
    "Tell me more.",
    "What are your address and your allergies?",
    "I'll place the order now.",
)
OBJECTIVE = Objective(
    "release", (MetricSpec("success", weight=1.0), MetricSpec("token_amount", weight=-0.5))
)
GROUPS_AT_ONCE = 8
CALL_TIMEOUT_SECONDS = 1.0
"""Long for a server that answers in a millisecond; short, because some calls wait for it."""
RETRIES = RetrySettings(
    base_seconds=0.01, cap_seconds=0.2, retries={**RETRIES_BY_KIND, FaultKind.TIMEOUT: 8}
)
"""Quick, for the server recovers at once; more timeouts, for a busy machine may add its own."""

SAME_SEED: Mapping[str, Fault | Reply] = {
    "500": error(500, "internal error"),
    "503": error(503, "overloaded"),
    "429": error(429, "too many requests", headers={"Retry-After": "0.02"}),
    "closed": Fault(disconnect=True),
    "timeout": Reply("too late", delay_seconds=60.0),
}
"""Faults after which the same call is made again."""

NEW_SEED: Mapping[str, Fault | Reply] = {
    "html": Fault(200, "<html>bad gateway</html>", content_type="text/html"),
    "half json": Fault(200, '{"choices": [{"message": {"con'),
    "no choice": Fault(200, {"choices": []}),
    "null": Reply([None]),
    "refusal": Reply("", message={"refusal": "I cannot help with that."}),
}
"""Faults after which another reply is drawn."""


@dataclass(frozen=True)
class Outcome:
    """What became of the rewards."""

    values: tuple[float | None, ...]
    """Every candidate's reward, group by group; None where it was lost."""
    failures: tuple[Failure, ...]
    """Why those were lost."""
    calls: int
    """Calls that the server got."""
    failed: Mapping[str, int]
    """Those of them that it let fail, by kind."""
    counted_calls: int
    """Calls that the ledgers tell of."""
    retries: int
    """Retries that the ledgers tell of."""
    seconds: float
    """How long it took."""

    @property
    def lost(self) -> int:
        """How many rewards have no value."""
        return sum(value is None for value in self.values)


def differences(first: Outcome, second: Outcome) -> tuple[float, float, int]:
    """Return the mean of the paired differences, its standard error, and how many are not 0."""
    pairs = zip(first.values, second.values, strict=True)
    found = [b - a for a, b in pairs if a is not None and b is not None]
    mean = math.fsum(found) / len(found)
    variance = math.fsum((d - mean) ** 2 for d in found) / (len(found) - 1)
    return mean, math.sqrt(variance / len(found)), sum(d != 0 for d in found)


def resilient(
    backend: ChatModel, clock: Clock, telemetry: Telemetry, retry: RetrySettings
) -> ChatModel:
    """Return `backend` behind everything that a configured model stands behind."""
    limits = LimitSettings(max_concurrency=64, adaptive=AdaptiveSettings(min_concurrency=32))
    limited = LimitedModel(backend, name="m", settings=limits, clock=clock)
    # Short, for a machine that is too busy to answer in time can open it.
    breaker = BreakerSettings(open_seconds=0.5, probe_wait_seconds=0.1)
    guarded = BreakerModel(limited, name="m", settings=breaker, clock=clock)
    retrying = RetryingModel(guarded, settings=retry, clock=clock, rng=random.Random(0))
    return InWords(MeteredModel(retrying, clock=clock, telemetry=telemetry))


async def fault_run(
    *,
    groups: int,
    share: float,
    faults: Mapping[str, Fault | Reply] = SAME_SEED,
    retry: RetrySettings = RETRIES,
    timeout_seconds: float = CALL_TIMEOUT_SECONDS,
) -> Outcome:
    """Compute the rewards of `groups` groups of eight candidates, one future each.

    Args:
        groups: how many.
        share: of the calls that fail, each of `faults` as often as any other.
        faults: how calls fail.
        retry: how they are tried again.
        timeout_seconds: limit on one call.
    """
    clock, telemetry = LoopClock(), RecordingTelemetry()
    script = FaultyScript(world_rules(), share, faults)
    async with (
        openai_server(script) as server,
        backend_of(server.base_url, clock, timeout_seconds) as backend,
    ):
        start = clock.now()
        results = await _rewards(resilient(backend, clock, telemetry, retry), groups)
        seconds = clock.now() - start
    candidates = [candidate for group, _ in results for candidate in group]
    usages = [usage for _, summary in results for usage in summary.usage.models.values()]
    outcomes = [candidate.outcome for candidate in candidates]
    return Outcome(
        tuple(None if isinstance(o, Failure) else o.estimate.mean for o in outcomes),
        tuple(o for o in outcomes if isinstance(o, Failure)),
        script.calls,
        script.failed,
        sum(usage.calls for usage in usages),
        sum(usage.retries for usage in usages),
        seconds,
    )


@asynccontextmanager
async def backend_of(
    base_url: str, clock: Clock, timeout_seconds: float = CALL_TIMEOUT_SECONDS
) -> AsyncIterator[OpenAIModel]:
    """Return the backend that asks the server at `base_url`."""
    settings = OpenAISettings(
        name="m",
        base_url=base_url,
        model="world",
        api_key=None,
        temperature=1.0,
        timeout_seconds=timeout_seconds,
    )
    backend = OpenAIModel(settings, clock=clock)
    try:
        yield backend
    finally:
        await backend.aclose()


def rewards_over(model: ChatModel) -> Rewards:
    """Return the use case in which `model` plays every part."""
    simulation = Simulation(
        user=model,
        policies=OnePolicy(model),
        goals=WorldGoals(make_worlds(), world_required=True),
        clock=LoopClock(),
        telemetry=RecordingTelemetry(),
        termination_signal=TERMINATION_SIGNAL,
        max_futures=64,
    )
    tools = Tools(judge=RuledJudge(model), token_counters=Tokenizers({}))
    evaluation = make_evaluation(catalog=Catalog(tools=tools))
    return make_rewards(simulation, evaluator=evaluation)


def group_query(seed: int) -> RewardQuery:
    """Return the request for one group."""
    return RewardQuery(
        task=Task(world="groceries"),
        prefix=(Message("user", "Can you help me buy groceries?"),),
        candidates=CANDIDATES,
        objective=OBJECTIVE,
        horizon_messages=2,
        samples_max=1,
        seed=seed,
    )


async def _rewards(
    model: ChatModel, groups: int
) -> list[tuple[list[CandidateResult], GroupSummary]]:
    rewards = rewards_over(model)
    places = asyncio.Semaphore(GROUPS_AT_ONCE)

    async def group(seed: int) -> tuple[list[CandidateResult], GroupSummary]:
        async with places, aclosing(rewards.compute(group_query(seed))) as events:
            seen = [event async for event in events]
        found = [event for event in seen if isinstance(event, CandidateResult)]
        (summary,) = (event for event in seen if isinstance(event, GroupSummary))
        return sorted(found, key=lambda candidate: candidate.index), summary

    return list(await asyncio.gather(*(group(seed) for seed in range(groups))))
