"""A simulator that a test drives, and rewards over it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from foresight_services.core.conversation import Conversation
from foresight_services.core.errors import Failure, Reason, Upstream
from foresight_services.core.future import (
    Future,
    FutureId,
    SimulatedFuture,
    SimulationRequest,
    Termination,
)
from foresight_services.core.message_request import MessageRequest, SampledMessage
from foresight_services.core.objective import MetricSpec, Objective
from foresight_services.core.policies import PolicyRegistry
from foresight_services.core.policy_store import MemoryPolicyStore
from foresight_services.core.ports import Evaluator, Simulator
from foresight_services.core.request import RewardQuery
from foresight_services.core.reward import Rewards
from foresight_services.core.reward_store import RewardStore
from foresight_services.core.task import PolicyRef, Preset, Task
from foresight_services.core.usage import ModelUsage, Usage
from tests.fakes.evaluation import StubCatalog, StubMetric, make_evaluation
from tests.fakes.simulation import OPENING
from tests.fakes.telemetry import RecordingTelemetry
from tests.fakes.virtual_time import LoopClock

MODEL_DOWN = Upstream(Reason.MODEL_FAILED, "the model is down", metadata={"role": "user"}).failure


class DrivenSimulator:
    """Yields what a test puts into it, raises what is an exception, ends at `end`.

    Implements the port `Simulator`; a request's futures are the test's business. Where it samples
    messages, sample k is `responses[k]`.
    """

    def __init__(self, *responses: str | Failure) -> None:
        self.responses = responses
        self.sampled: list[MessageRequest] = []
        self.requests: list[SimulationRequest] = []
        self.deadlines: list[float | None] = []
        self.closed = False
        self._outbox: asyncio.Queue[Future | Exception | None] = asyncio.Queue()

    async def fingerprint(self, policy: PolicyRef, *, deadline: float | None = None) -> str:
        """Say nothing, so that nothing is cached."""
        return ""

    async def simulate(
        self, request: SimulationRequest, *, deadline: float | None = None
    ) -> AsyncGenerator[Future, None]:
        """Yield what is put in."""
        self.requests.append(request)
        self.deadlines.append(deadline)
        try:
            while (output := await self._outbox.get()) is not None:
                if isinstance(output, Exception):
                    raise output
                yield output
        finally:
            self.closed = True

    async def sample_messages(
        self, request: MessageRequest, *, deadline: float | None = None
    ) -> AsyncGenerator[SampledMessage, None]:
        """Yield what it was made with."""
        self.sampled.append(request)
        for index in request.indices:
            usage = Usage(1, {"policy": ModelUsage(1, 7, 2)}, 0.25)
            yield SampledMessage(index, self.responses[index], usage, policy=request.policy)

    def put(self, *outputs: Future | Exception) -> None:
        """Let the simulation yield or raise these next."""
        for output in outputs:
            self._outbox.put_nowait(output)

    def end(self) -> None:
        """Let the simulation end after what was put in."""
        self._outbox.put_nowait(None)


def worth(value: float, candidate: int = 0, sample: int = 0) -> Future:
    """Return a future whose goal is the score that `by_goal` gives it."""
    simulated = SimulatedFuture(repr(value), (), Termination.HORIZON, PolicyRef("policy", 7))
    usage = Usage(2, {"user": ModelUsage(1, 10, 3)}, 1.5)
    return Future(FutureId(candidate, sample), simulated, usage)


def failed(candidate: int = 0, sample: int = 0, failure: Failure = MODEL_DOWN) -> Future:
    """Return a future that could not be simulated."""
    return Future(FutureId(candidate, sample), failure, Usage(1, {"user": ModelUsage(1)}, 0.5))


def by_goal(name: str = "worth", **options: Any) -> StubMetric:
    """Return a metric that reads a future's score from its goal."""
    return StubMetric(name, lambda item, ledger: float(item.goal), **options)


def make_rewards(
    simulator: Simulator,
    *metrics: StubMetric,
    evaluator: Evaluator | None = None,
    telemetry: RecordingTelemetry | None = None,
    policies: PolicyRegistry | None = None,
    presets: Mapping[str, Preset] | None = None,
    margin: float = 1.0,
    store: RewardStore | None = None,
    shared: bool = False,
) -> Rewards:
    """Return the use case over `simulator` and `metrics`, which are `by_goal` by default."""
    catalog = StubCatalog(*(metrics or (by_goal(),)))
    return Rewards(
        simulator=simulator,
        evaluator=evaluator or make_evaluation(catalog=catalog),
        policies=policies or PolicyRegistry(store=MemoryPolicyStore(), now_ns=lambda: 0),
        presets=presets or {},
        clock=LoopClock(),
        telemetry=telemetry or RecordingTelemetry(),
        deadline_margin_seconds=margin,
        store=store,
        shared=shared,
    )


def query(
    *, metrics: tuple[MetricSpec, ...] = (MetricSpec("worth"),), **fields: Any
) -> RewardQuery:
    """Return a request for two futures of one candidate, scored by `worth`."""
    prefix: Conversation = OPENING
    given: dict[str, Any] = {
        "task": Task(goal="the goal"),
        "prefix": prefix,
        "candidates": ("Sure.",),
        "objective": Objective("", metrics),
        "samples_max": 2,
        **fields,
    }
    return RewardQuery(**given)
