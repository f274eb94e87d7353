"""Sample single messages: what a user would open with or say next, what the policy would answer.

A message is drawn as one turn of a future is: from the same facts, by the same models, in the same
line for a place. Goal and persona of an index are those of the futures with the same seed and
index, and a next user message is the first message of the future that continues the same words.

Invariants: each index is told once; a draw depends on the request and its index, and not on how
many others are asked for; a sample that fails costs no other.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from itertools import chain
from typing import Final

from foresight_services.core import checks
from foresight_services.core.admission import Admission
from foresight_services.core.budget import Account, open_account, purse_of
from foresight_services.core.deadline import until
from foresight_services.core.drawn_samples import seen_by_policy, seen_by_user
from foresight_services.core.errors import DeadlinePassed, Failure, failure_from
from foresight_services.core.fanout import as_finished
from foresight_services.core.held_policy import held_policy
from foresight_services.core.message_request import (
    MessageKind,
    MessageRequest,
    SampledMessage,
    violations,
)
from foresight_services.core.opening_turns import opening_seed
from foresight_services.core.policies import PublishedModels
from foresight_services.core.ports import (
    ChatModel,
    ChatRequest,
    Clock,
    GoalSource,
    Personas,
    Policies,
    ResolvedPolicy,
    Telemetry,
)
from foresight_services.core.seeds import derive_seed
from foresight_services.core.simulation_checks import unknown_personas
from foresight_services.core.task import PolicyRef, Task
from foresight_services.core.usage import Ledger, Usage

BESIDE: Final = -1
"""Where a sample stands in the line for a budget, in place of a candidate: before all of them."""


@dataclass(frozen=True, slots=True)
class _Speaker:
    """Who says one sample."""

    model: ChatModel
    """The model."""
    facts: Task
    """What it may know."""
    policy: PolicyRef | None = None
    """Its version; None for a user."""
    goal: str = ""
    """What the user wants."""
    persona: str = ""
    """Who the user is."""


class SampledMessages:
    """Samples the messages of one simulator."""

    def __init__(
        self,
        *,
        user: ChatModel,
        policies: Policies,
        published: PublishedModels | None,
        goals: GoalSource,
        personas: Personas | None,
        clock: Clock,
        telemetry: Telemetry,
        admission: Admission,
        fingerprint: Callable[[PolicyRef], str],
    ) -> None:
        self._user = user
        self._policies = policies
        self._published = published
        self._goals = goals
        self._personas = personas
        self._clock = clock
        self._telemetry = telemetry
        self._admission = admission
        self._fingerprint = fingerprint

    async def sample(
        self, request: MessageRequest, *, deadline: float | None = None
    ) -> AsyncGenerator[SampledMessage, None]:
        """Yield every sample of `request` once, as it ends; see the port `Simulator`."""
        unknown = unknown_personas(request.personas, self._personas)
        checks.require(chain(violations(request), unknown))
        if request.by_user:
            self._goals.check(request.task)
        places = self._admission.enter(request.job, len(request.indices))
        try:
            async with AsyncExitStack() as stack:
                policy = None
                if not request.by_user:
                    held = held_policy(
                        request,
                        self._policies,
                        self._published,
                        clock=self._clock,
                        deadline=deadline,
                    )
                    policy = await stack.enter_async_context(held)
                speakers = {
                    index: self._speaker(request, policy, index) for index in request.indices
                }
                account = open_account(request.budget)
                asked = self._clock.now()
                finished = as_finished(
                    request.indices,
                    lambda index: self._one(
                        request, speakers[index], index, asked, deadline, account
                    ),
                    places=places,
                    clock=self._clock,
                    deadline=deadline,
                    late=lambda index: self._late(request, index, asked),
                )
                async with aclosing(finished):
                    async for sample in finished:
                        yield sample
        finally:
            places.leave()

    def _speaker(
        self, request: MessageRequest, policy: ResolvedPolicy | None, index: int
    ) -> _Speaker:
        """Return who says sample `index`."""
        task, seed = request.task, request.seed
        if policy is not None:
            return _Speaker(policy.model, seen_by_policy(task), policy.ref)
        goal = task.goal or self._goals.draw(task, request.prefix, derive_seed(seed, index, "goal"))
        persona = ""
        if self._personas is not None:
            draw = derive_seed(seed, index, "persona")
            persona = self._personas.draw(draw, request.personas)
        return _Speaker(self._user, seen_by_user(task, goal), goal=goal, persona=persona)

    async def _one(
        self,
        request: MessageRequest,
        speaker: _Speaker,
        index: int,
        asked: float,
        deadline: float | None,
        account: Account | None,
    ) -> SampledMessage:
        """Return one sample, paid from the request's account; its failure is no other's."""
        start = self._clock.now()
        outcome: str | Failure
        with purse_of(account, sample=index, candidate=BESIDE) as purse:
            ledger = Ledger(purse)
            try:
                async with until(deadline, self._clock):
                    self._telemetry.stage_finished("queue", start - asked)
                    reply = await speaker.model.complete(
                        ChatRequest(
                            role="user" if request.by_user else "policy",
                            task=speaker.facts,
                            conversation=request.prefix,
                            seed=_seed(request, index),
                            max_tokens=request.max_message_tokens,
                            ledger=ledger,
                            deadline=deadline,
                            persona=speaker.persona,
                            system_prompt=request.system_prompt,
                            proactive=request.proactive,
                        )
                    )
                    outcome = reply.text
            except Exception as error:
                outcome = failure_from(error)
        said = 0 if isinstance(outcome, Failure) else 1
        usage = ledger.usage(messages=said, seconds=self._clock.now() - start)
        return SampledMessage(
            index,
            outcome,
            usage,
            goal=speaker.goal,
            persona=speaker.persona,
            policy=speaker.policy,
            fingerprint=self._fingerprint(request.policy),
            charged=usage.exceeded_by(purse),
        )

    def _late(self, request: MessageRequest, index: int, asked: float) -> SampledMessage:
        """Return a sample whose place did not come before the deadline."""
        usage = Usage(seconds=self._clock.now() - asked)
        failure = DeadlinePassed().failure
        return SampledMessage(index, failure, usage, fingerprint=self._fingerprint(request.policy))


def _seed(request: MessageRequest, index: int) -> int:
    """Return the seed by which sample `index` is drawn."""
    if request.kind is MessageKind.NEXT_USER:
        return opening_seed(request.seed, index)
    return derive_seed(request.seed, index, request.kind)
