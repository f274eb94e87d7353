"""The ports of the core: what it needs of the world outside, as Protocols.

Adapters live in `models/`, `metrics/`, `worlds/`, `telemetry/` and in each service's `remote.py`;
`bootstrap` connects them. An adapter raises `DomainError` for what it can name; anything else
is a defect, logged and told as INTERNAL.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from foresight_services.core.cache_use import Origin
from foresight_services.core.conversation import Conversation
from foresight_services.core.future import (
    ConversationScores,
    EvaluationItem,
    EvaluationSetup,
    Future,
    MetricInfo,
    Score,
    SimulationRequest,
    Wanted,
)
from foresight_services.core.message_request import MessageRequest, SampledMessage
from foresight_services.core.objective import JsonValue
from foresight_services.core.task import PolicyRef, Task
from foresight_services.core.usage import Ledger, ModelUsage

if TYPE_CHECKING:
    from foresight_services.core.opening_turns import SharedDraw
    from foresight_services.core.subject import Subject

ModelRole = Literal["user", "policy", "judge"]
"""The parts that models play."""

CachedKind = Literal["future", "score"]
"""What is cached."""

Stage = Literal["queue", "user_turn", "policy_turn", "judge"]
"""Where the time of a reward goes; `queue` is the wait for a free place among the futures."""


class Clock(Protocol):
    """A monotonic clock."""

    def now(self) -> float:
        """Return seconds since an arbitrary start."""
        ...


class Telemetry(Protocol):
    """What the operator sees. Never raises and never blocks."""

    def stage_finished(self, stage: Stage, seconds: float) -> None:
        """Observe the time that one stage took."""
        ...

    def model_called(self, role: ModelRole, outcome: Literal["ok", "error"]) -> None:
        """Count a model call."""
        ...

    def model_spent(self, role: ModelRole, usage: ModelUsage) -> None:
        """Add up what one call of a model cost, its retries and hedges included."""
        ...

    def job_spent(self, job: str, role: str, usage: ModelUsage) -> None:
        """Add up what the training job called `job` has spent on `role`."""
        ...

    def futures_in_flight(self, change: int) -> None:
        """Move the number of futures that are being simulated by `change`."""
        ...

    def futures_waiting(self, change: int) -> None:
        """Move the number of futures that wait for a place by `change`."""
        ...

    def group_refused(self) -> None:
        """Count a group that was refused because too many futures wait already."""
        ...

    def future_finished(self, status: str) -> None:
        """Count a future: `ok` or the reason of its failure."""
        ...

    def reward_finished(self, status: str, seconds: float) -> None:
        """Observe a candidate's latency by `complete`, `partial` or the failure's reason."""
        ...

    def cache_answered(self, kind: CachedKind, origin: Origin, count: int) -> None:
        """Count futures or scores by where they came from."""
        ...


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What a model is asked: its role, the facts it may know, and the conversation so far.

    Backends that follow rules use the facts; prompted ones render them into a prompt.
    """

    role: ModelRole
    """The part to play."""
    task: Task
    """The facts that this role may know: the policy sees neither goal nor reference."""
    conversation: Conversation
    """Everything said so far."""
    seed: int
    """Seed of this call's draws, an unsigned 64-bit integer."""
    max_tokens: int
    """Limit on the reply, in tokens."""
    ledger: Ledger
    """Where the call's cost is written down."""
    prompt: Conversation = ()
    """The messages that a prompted backend sends; empty means the conversation itself."""
    choices: int = 1
    """How many replies to draw in one call, at least 1."""
    stop: tuple[str, ...] = ()
    """Texts at which a reply ends, themselves left out."""
    schema: Mapping[str, JsonValue] | None = None
    """JSON schema that the reply follows where the backend can enforce one."""
    deadline: float | None = None
    """When the caller stops listening, in the time of the clock; no retry or wait goes past it."""
    persona: str = ""
    """Name of the persona that a prompted user plays; empty for none."""
    system_prompt: bool = False
    """Whether a prompted policy is given the configured system prompt."""
    proactive: bool = False
    """Whether a prompted policy is told to be proactive."""
    shared: SharedDraw | None = None
    """The call that draws this reply together with others; None for a call of its own."""

    @property
    def messages(self) -> Conversation:
        """What a prompted backend sends."""
        return self.prompt or self.conversation


FinishReason = Literal["stop", "length"]
"""Why a reply ended: by itself or at a stop text, or at the limit on its length."""


@dataclass(frozen=True, slots=True)
class ChatReply:
    """What a model answered."""

    text: str
    """The reply; the first one of several choices."""
    prompt_tokens: int
    """Tokens read, as the backend counts them, once for all choices."""
    completion_tokens: int
    """Tokens written for all choices, as the backend counts them."""
    cached_tokens: int = 0
    """Tokens read that the backend had in its prefix cache; at most `prompt_tokens`."""
    finish: FinishReason = "stop"
    """Why the first choice ended."""
    others: tuple[str, ...] = ()
    """The further choices, `choices` - 1 of them."""


class ChatModel(Protocol):
    """A model, or rules, that can be spoken with. Decorators on this port add what cuts across."""

    async def complete(self, request: ChatRequest) -> ChatReply:
        """Return the reply; equal requests to a deterministic backend give equal replies."""
        ...


@dataclass(frozen=True, slots=True)
class ResolvedPolicy:
    """A policy that can be called."""

    ref: PolicyRef
    """Its name and the version that answers."""
    model: ChatModel
    """The model behind it."""


class Policies(Protocol):
    """Knows the policies that futures can be played by."""

    async def resolve(self, ref: PolicyRef, task: Task) -> ResolvedPolicy:
        """Return the policy; NotFound where no such name or version can play `task`."""
        ...


class GoalSource(Protocol):
    """Draws what the simulated user wants, where the task leaves it open."""

    def check(self, task: Task) -> None:
        """Raise InvalidInput, naming a field of `task`, where its user cannot be simulated."""
        ...

    def draw(self, task: Task, prefix: Conversation, seed: int) -> str:
        """Return a goal from its distribution given `prefix`; Precondition if none is left."""
        ...


class Personas(Protocol):
    """Draws who the simulated user is."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all personas."""
        ...

    def draw(self, seed: int, among: tuple[str, ...] = ()) -> str:
        """Return the name of a persona, of `among` if that names any; equal for equal seeds."""
        ...


class Metric(Protocol):
    """Scores conversations of one setup."""

    @property
    def info(self) -> MetricInfo:
        """Name, version and range."""
        ...

    async def score(self, subject: Subject) -> Score:
        """Return the score of one conversation, in the metric's unit."""
        ...


class MetricCatalog(Protocol):
    """Builds metrics from their specs."""

    async def build(self, setup: EvaluationSetup) -> tuple[Metric, ...]:
        """Return the metrics of `setup`, in order, ready to score.

        Raises:
            InvalidInput: naming `metrics[i]...` or `task...`.
            Precondition: where a metric needs what this machine or configuration lacks.
        """
        ...


class Extractor(Protocol):
    """Finds artifacts in conversations."""

    async def extract(self, wanted: Wanted, subject: Subject) -> str:
        """Return the artifact's text; Upstream with EXTRACTION_FAILED where it cannot be had."""
        ...


class Simulator(Protocol):
    """Plays conversations forward."""

    async def fingerprint(self, policy: PolicyRef, *, deadline: float | None = None) -> str:
        """Return the digest of all configuration that determines the futures of `policy`.

        Two simulators with one fingerprint give equal requests futures that can stand for each
        other. Empty where the simulator cannot tell; its futures are not cached then.
        """
        ...

    def simulate(
        self, request: SimulationRequest, *, deadline: float | None = None
    ) -> AsyncGenerator[Future, None]:
        """Yield every future that was asked for once, as it ends.

        `deadline` is in the time of the clock. Close the iterator to cancel what is left.
        """
        ...

    def sample_messages(
        self, request: MessageRequest, *, deadline: float | None = None
    ) -> AsyncGenerator[SampledMessage, None]:
        """Yield every message that was asked for once, as it ends; a failure is that sample's own.

        `deadline` is in the time of the clock. Close the iterator to cancel what is left.
        """
        ...


class EvaluationSession(Protocol):
    """Scores the conversations of one setup."""

    @property
    def metrics(self) -> tuple[MetricInfo, ...]:
        """The metrics as they are applied, in the order of the setup."""
        ...

    async def score(self, item: EvaluationItem) -> ConversationScores:
        """Return the scores of one conversation; many may be scored at once."""
        ...


class Evaluator(Protocol):
    """Judges conversations."""

    def open(
        self, setup: EvaluationSetup, *, deadline: float | None = None
    ) -> AbstractAsyncContextManager[EvaluationSession]:
        """Check `setup` (InvalidInput names `metrics[i]...`) and return a session for it."""
        ...
