"""The unit of work: one future, asked for, simulated, scored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from foresight_services.core.budget import NO_LIMIT, Budget, Cost
from foresight_services.core.cache_use import CacheMode, Origin
from foresight_services.core.conversation import Conversation, Message
from foresight_services.core.errors import Failure
from foresight_services.core.objective import MetricSpec, Range
from foresight_services.core.published import PublishedPolicy
from foresight_services.core.shared_budget import SharedBudget
from foresight_services.core.task import PolicyRef, Task
from foresight_services.core.usage import Usage


class Termination(StrEnum):
    """How a future ended."""

    HORIZON = "horizon"
    USER_ENDED = "user_ended"
    CONTEXT_EXHAUSTED = "context_exhausted"


@dataclass(frozen=True, slots=True)
class FutureId:
    """Which future of a group."""

    candidate: int
    """Position of the candidate in the request, from 0."""
    sample: int
    """Sample index, from 0; draws depend on it and not on the candidate."""


@dataclass(frozen=True, slots=True)
class SimulationRequest:
    """Futures of one group to simulate."""

    task: Task
    """What the conversation is about, preset applied."""
    prefix: Conversation
    """The conversation before the candidates."""
    candidates: tuple[str, ...]
    """Assistant responses that the futures continue."""
    futures: tuple[FutureId, ...]
    """The futures that are asked for."""
    horizon_messages: int
    """Greatest length of a future, messages of either role."""
    seed: int
    """Seed of every draw."""
    policy: PolicyRef
    """The policy that plays the assistant."""
    max_message_tokens: int
    """Limit on one simulated message, in tokens."""
    budget: Budget = NO_LIMIT
    """What the model calls of all these futures may cost together."""
    system_prompt_samples: int = 0
    """The policy gets the configured system prompt in the samples below this index."""
    proactive_samples: int = 0
    """The policy is told to be proactive in the samples below this index."""
    published: PublishedPolicy | None = None
    """Where the policy's version is served; None for a policy of the simulator's configuration."""
    personas: tuple[str, ...] = ()
    """Personas that the user may play; empty for all that the simulator has."""
    cache: CacheMode = CacheMode.DEFAULT
    """How a cache before the simulator is used."""
    job: str = ""
    """The training job that they are for, which shares the simulator with others; or empty."""
    follow_up: bool = False
    """Whether they follow others of a group that was let in, and are let in whoever waits."""
    shared: SharedBudget | None = None
    """What this and other simulations of one request take `budget` from; None where this one alone
    has it, or there is no limit."""


@dataclass(frozen=True, slots=True)
class SimulatedFuture:
    """A future that was simulated to its end."""

    goal: str
    """What the user wanted."""
    messages: Conversation
    """The messages after the candidate."""
    termination: Termination
    """How it ended."""
    policy: PolicyRef
    """The policy version that really answered."""
    persona: str = ""
    """Name of the persona that the user played; empty for none."""


@dataclass(frozen=True, slots=True)
class Future:
    """One future, ended."""

    id: FutureId
    """Which one."""
    outcome: SimulatedFuture | Failure
    """The conversation, or why there is none."""
    usage: Usage
    """What it cost, also where it failed; nothing where it was not computed for this request."""
    fingerprint: str = ""
    """Fingerprint of the simulator's configuration when it was simulated; empty where the simulator
    has none, and nothing of it is cached."""
    origin: Origin = Origin.COMPUTED
    """Where it came from."""
    cost: Usage | None = None
    """What it cost whoever computed it; None where that is `usage`."""
    charged: Cost | None = None
    """What it took out of the budget; None where that is what `usage` adds up to."""
    form: object = field(default=None, compare=False, repr=False)
    """The message that it was read from, as codecs know it, so that a cache need not write it anew;
    nobody else's, so it may be changed. None where there is none, and in whatever is made of it."""


@dataclass(frozen=True, slots=True)
class EvaluationItem:
    """One conversation to score: prefix, candidate, then these messages."""

    id: FutureId
    """Which future."""
    goal: str
    """What the user wanted in it."""
    messages: Conversation
    """The messages after the candidate."""
    metrics: tuple[int, ...] | None = None
    """Positions of the metrics to apply, in the setup's order; None for all."""


@dataclass(frozen=True, slots=True)
class EvaluationSetup:
    """What all conversations of an evaluation share."""

    task: Task
    """What the conversations are about, preset applied."""
    prefix: Conversation
    """The conversation before the candidates."""
    candidates: tuple[str, ...]
    """Assistant responses that the conversations continue."""
    metrics: tuple[MetricSpec, ...]
    """The metrics to apply."""
    horizon_messages: int
    """Greatest number of messages after a candidate."""
    max_message_tokens: int
    """Greatest length of a simulated message, in tokens."""
    budget: Budget = NO_LIMIT
    """What the model calls of the whole request may cost, those of its simulation included."""
    cache: CacheMode = CacheMode.DEFAULT
    """How a cache before the evaluator is used."""

    def conversation(self, item: EvaluationItem) -> Conversation:
        """Return the complete conversation of `item`: prefix, candidate, future."""
        candidate = Message("assistant", self.candidates[item.id.candidate])
        return (*self.prefix, candidate, *item.messages)

    def applied(self, item: EvaluationItem) -> tuple[int, ...]:
        """Return the positions of the metrics that `item` is scored by."""
        return tuple(range(len(self.metrics))) if item.metrics is None else item.metrics


class Direction(StrEnum):
    """Which scores of a metric are the better ones."""

    MORE = "more"
    LESS = "less"
    UNKNOWN = ""


@dataclass(frozen=True, slots=True)
class MetricInfo:
    """A metric as it will be applied."""

    name: str
    """Label of the metric in this evaluation."""
    version: str
    """Version of its definition."""
    range: Range | None
    """The values that it can take here; None where it has no bound."""
    judge_calls: int = 0
    """Calls of the judge that one score takes; those that are repeated do not count."""
    metric: str = ""
    """Name of the metric itself; empty for `name`."""
    unit: str = ""
    """Unit of the scores; empty for a pure number."""
    direction: Direction = Direction.UNKNOWN
    """Which scores are the better ones."""
    identity: str = ""
    """Digest of all that determines its scores beside the conversation and the limits of the setup:
    parameters with their defaults, judge, prompts, models, tokenizer, sandbox. Scores are cached by
    it; empty where it is not known, and none are."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a judge said when it was asked once."""

    score: float
    """Its score, in the metric's unit."""
    rationale: str
    """Its reasons, in its own words."""
    raw: str
    """Its reply as it came."""


@dataclass(frozen=True, slots=True)
class Score:
    """A metric's number for one conversation, and what it rests on."""

    value: float
    """The score, in the metric's unit."""
    spread: float | None = None
    """Standard deviation between the votes of a judge; None for fewer than two."""
    verdicts: tuple[Verdict, ...] = ()
    """What the judge said, each time that it was asked."""
    parts: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    """Further numbers that the metric found on its way, by name."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """An artifact to extract from a conversation."""

    artifact: str
    """What to extract, in plain words, such as `answer`."""
    requirement: str = ""
    """What it has to meet beside that; empty for nothing."""


@dataclass(frozen=True, slots=True)
class Extracted:
    """What became of an extraction."""

    wanted: Wanted
    """What was asked for."""
    outcome: str | Failure
    """The artifact's text, or why there is none."""


@dataclass(frozen=True, slots=True)
class MetricScore:
    """One metric's verdict on one conversation."""

    name: str
    """Label of the metric."""
    outcome: float | Failure
    """The score, or why there is none."""
    spread: float | None = None
    """Standard deviation between the votes of a judge; None for fewer than two."""
    verdicts: tuple[Verdict, ...] = ()
    """What the judge said, each time that it was asked."""
    parts: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    """Further numbers that the metric found on its way, by name."""


@dataclass(frozen=True, slots=True)
class ConversationScores:
    """The scores of one conversation."""

    id: FutureId
    """Which future."""
    scores: tuple[MetricScore, ...]
    """One for every metric, in the order of the setup."""
    usage: Usage
    """What the scoring cost."""
    artifacts: tuple[Extracted, ...] = ()
    """What was extracted for the metrics, once for all of them."""
    origins: tuple[Origin, ...] = ()
    """Where each score came from; empty where all were computed for this request."""
    cost: Usage | None = None
    """What the scores cost whoever computed them; None where that is `usage`."""
