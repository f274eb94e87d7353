"""Single messages: what is asked for, what is wrong with that, and what comes of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from foresight_services.core import checks, published
from foresight_services.core.budget import NO_LIMIT, Budget, Cost
from foresight_services.core.cache_use import CacheMode, Origin
from foresight_services.core.conversation import ROLES, Conversation
from foresight_services.core.errors import Failure, Violation
from foresight_services.core.published import PublishedPolicy
from foresight_services.core.task import PolicyRef, Task
from foresight_services.core.usage import Usage

MAX_MESSAGES: Final = 256
"""Most messages of one request."""


class MessageKind(StrEnum):
    """What kind of message is sampled."""

    UNKNOWN = ""
    """None that is known; refused."""
    OPENING_USER = "opening_user"
    """The first message of a conversation."""
    NEXT_USER = "next_user"
    """The user's next message, after one of the assistant."""
    POLICY = "policy"
    """The policy's response to a message of the user."""


@dataclass(frozen=True, slots=True)
class MessageRequest:
    """Single messages to sample."""

    task: Task
    """What the conversation is about, preset applied."""
    prefix: Conversation
    """The conversation so far."""
    kind: MessageKind
    """What kind of message."""
    count: int | None = None
    """How many, the sample indices below it; None for one, or where `chosen` says which."""
    chosen: tuple[int, ...] = ()
    """The sample indices, where they are not those below `count`."""
    seed: int = 0
    """Seed of every draw."""
    policy: PolicyRef = field(default_factory=PolicyRef)
    """The policy, for its responses."""
    max_message_tokens: int = 1024
    """Limit on one message, in tokens."""
    published: PublishedPolicy | None = None
    """Where the policy's version is served; None for a policy of the simulator's configuration."""
    budget: Budget = NO_LIMIT
    """What the model calls of all these samples may cost together."""
    personas: tuple[str, ...] = ()
    """Personas that the user may play; empty for all that the simulator has."""
    system_prompt: bool = False
    """Whether the policy gets the configured system prompt."""
    proactive: bool = False
    """Whether the policy is told to be proactive."""
    cache: CacheMode = CacheMode.DEFAULT
    """How a cache before the simulator is used."""
    job: str = ""
    """The training job that they are for; or empty."""

    @property
    def indices(self) -> tuple[int, ...]:
        """The sample indices that are asked for."""
        return self.chosen or tuple(range(1 if self.count is None else self.count))

    @property
    def by_user(self) -> bool:
        """Whether the user says it."""
        return self.kind is not MessageKind.POLICY


@dataclass(frozen=True, slots=True)
class SampledMessage:
    """One sample, ended."""

    index: int
    """Sample index."""
    outcome: str | Failure
    """What was said, or why there is nothing."""
    usage: Usage
    """What it cost, also where it failed; nothing where it was not computed for this request."""
    goal: str = ""
    """What the user wants who said it; empty for the policy."""
    persona: str = ""
    """Name of the persona that the user played; empty for none."""
    policy: PolicyRef | None = None
    """The policy version that answered; None for a user."""
    fingerprint: str = ""
    """Fingerprint of the simulator's configuration when it was sampled; or empty."""
    origin: Origin = Origin.COMPUTED
    """Where it came from."""
    charged: Cost | None = None
    """What it took out of the budget; None where that is what `usage` adds up to."""


def violations(request: MessageRequest) -> Iterator[Violation]:
    """Yield every field that is wrong, by its path in the contract."""
    if request.kind is MessageKind.UNKNOWN:
        yield Violation("kind", "is not set; say what kind of message to sample")
    else:
        yield from _prefix(request)
    yield from checks.integer("count", request.count, 1, MAX_MESSAGES)
    yield from _indices(request)
    yield from checks.integer(
        "max_message_tokens", request.max_message_tokens, 1, checks.MAX_MESSAGE_TOKENS
    )
    yield from checks.budget(request.budget)
    if request.by_user:
        if not (request.task.goal or request.task.world):
            problem = "is empty; say what the user wants, or name a world that draws it"
            yield Violation("task.goal", problem)
        for name in ("system_prompt", "proactive"):
            if getattr(request, name):
                yield Violation(name, "is for policy responses alone")
        return
    if request.personas:
        yield Violation("personas", "is for user messages alone")
    if request.published is not None:
        ref, source = request.published.ref, request.published.source
        yield from published.violations("published", ref, source)
        if ref != request.policy:
            yield Violation("published.ref", "is not `policy`, the version that is asked for")


def _prefix(request: MessageRequest) -> Iterator[Violation]:
    prefix = request.prefix
    if request.kind is MessageKind.POLICY:
        yield from checks.prefix(prefix)
        return
    if request.kind is MessageKind.OPENING_USER:
        if prefix:
            problem = f"has {len(prefix)} messages; an opening message begins the conversation"
            yield Violation("prefix", problem)
        return
    if not prefix:
        yield Violation("prefix", "is empty; it must end with the message that the user answers")
        return
    yield from checks.messages("prefix", prefix)
    if prefix[-1].role in ROLES and prefix[-1].role != "assistant":
        yield Violation(
            f"prefix[{len(prefix) - 1}].role",
            f"is {prefix[-1].role!r}; the prefix must end with an 'assistant' message, which the"
            " user answers",
        )


def _indices(request: MessageRequest) -> Iterator[Violation]:
    chosen = request.chosen
    if chosen and request.count is not None:
        yield Violation("sample_indices", "cannot be combined with `count`; ask for one")
    if len(chosen) > MAX_MESSAGES:
        yield Violation("sample_indices", f"has {len(chosen)} entries; at most {MAX_MESSAGES}")
    for position, index in enumerate(chosen):
        path = f"sample_indices[{position}]"
        yield from checks.integer(path, index, 0, checks.MAX_SAMPLES - 1)
    if len(set(chosen)) != len(chosen):
        yield Violation("sample_indices", "names an index twice; ask for each once")
