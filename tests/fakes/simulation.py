"""What a simulation needs besides models, and requests for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from foresight_services.core.conversation import Conversation, Message
from foresight_services.core.errors import InvalidInput, NotFound, Reason
from foresight_services.core.future import FutureId, SimulationRequest
from foresight_services.core.policies import PublishedModels
from foresight_services.core.ports import ChatModel, ResolvedPolicy
from foresight_services.core.simulation import Simulation
from foresight_services.core.task import PolicyRef, Task
from tests.fakes.telemetry import RecordingTelemetry
from tests.fakes.virtual_time import LoopClock

SIGNAL = "[[TERMINATE CHAT]]"

OPENING = (Message("user", "Can you help me?"),)


class OnePolicy:
    """Knows the policy `policy` alone, at version 7; implements the port `Policies`."""

    def __init__(self, model: ChatModel) -> None:
        self._model = model

    async def resolve(self, ref: PolicyRef, task: Task) -> ResolvedPolicy:
        """Return the policy."""
        if ref.name != "policy":
            raise NotFound(Reason.UNKNOWN_POLICY, "no such policy", metadata={"policy": ref.name})
        return ResolvedPolicy(PolicyRef("policy", 7), self._model)


class SeededGoals:
    """Draws `goal <seed>`; implements the port `GoalSource`."""

    def __init__(self, refusal: InvalidInput | None = None) -> None:
        self._refusal = refusal

    def check(self, task: Task) -> None:
        """Raise the refusal, if there is one."""
        if self._refusal is not None:
            raise self._refusal

    def draw(self, task: Task, prefix: Conversation, seed: int) -> str:
        """Return a goal that tells its seed."""
        return f"goal {seed}"


def make_simulation(
    *,
    user: ChatModel,
    policy: ChatModel,
    telemetry: RecordingTelemetry | None = None,
    max_futures: int = 1000,
    max_waiting_futures: int = 100_000,
    goals: Any = None,
    fingerprint: str | Callable[[PolicyRef], str] = "fake",
    published: PublishedModels | None = None,
) -> Simulation:
    """Return a simulation between two models."""
    return Simulation(
        user=user,
        policies=OnePolicy(policy),
        published=published,
        goals=goals or SeededGoals(),
        clock=LoopClock(),
        telemetry=telemetry or RecordingTelemetry(),
        termination_signal=SIGNAL,
        max_futures=max_futures,
        max_waiting_futures=max_waiting_futures,
        fingerprint=fingerprint if callable(fingerprint) else lambda policy: fingerprint,
    )


def simulation_request(*, samples: int = 1, **fields: Any) -> SimulationRequest:
    """Return a request for every candidate's futures 0 to `samples` - 1."""
    candidates = fields.get("candidates", ("Sure.",))
    given: dict[str, Any] = {
        "task": Task(goal="the goal"),
        "prefix": OPENING,
        "candidates": candidates,
        "futures": tuple(FutureId(c, s) for s in range(samples) for c in range(len(candidates))),
        "horizon_messages": 4,
        "seed": 0,
        "policy": PolicyRef(),
        "max_message_tokens": 100,
        **fields,
    }
    return SimulationRequest(**given)
