"""Simulate futures: user simulator and policy take turns until the user ends or the horizon.

Semantics follow CollabLLM's `simulation.py`: the horizon counts messages of either role, the user
speaks first after a candidate, the termination signal counts in user messages only, and the message
that carries it stays in the conversation. Unlike there, futures do not wait for each other, and one
that no longer fits into a model's context ends as it stands, or is left out, as configured.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from itertools import chain
from typing import Final, Literal

from foresight_services.core import checks
from foresight_services.core.admission import Admission
from foresight_services.core.budget import Account, purse_of
from foresight_services.core.conversation import Conversation, Message, next_speaker
from foresight_services.core.deadline import until
from foresight_services.core.drawn_samples import Sample, draw_samples
from foresight_services.core.errors import (
    DeadlinePassed,
    DomainError,
    Failure,
    Reason,
    failure_from,
)
from foresight_services.core.fanout import as_finished
from foresight_services.core.future import (
    Future,
    FutureId,
    SimulatedFuture,
    SimulationRequest,
    Termination,
)
from foresight_services.core.held_policy import held_policy
from foresight_services.core.message_request import MessageRequest, SampledMessage
from foresight_services.core.opening_turns import OpeningTurns, SharedDraw, opening_seed
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
from foresight_services.core.sampled_messages import SampledMessages
from foresight_services.core.seeds import derive_seed
from foresight_services.core.shared_budget import account_of
from foresight_services.core.simulation_checks import unknown_personas, violations
from foresight_services.core.task import PolicyRef
from foresight_services.core.usage import Ledger, Usage

MOST_WAITING_FUTURES: Final = 262_144
"""Futures that wait for a place by default: as many as one request may ask for."""

DRAWS: Final = 2
"""Version of what is drawn by which seed; another one plays other futures for equal requests."""

OnContextExhausted = Literal["score", "exclude"]
"""What becomes of a future that no longer fits: scored as it stands, or a failure of its own."""


def _openings(request: SimulationRequest, samples: Mapping[int, Sample]) -> OpeningTurns:
    """Return the first user turns of `request`, alike where goal and persona are."""

    def told(sample: int) -> tuple[str, str]:
        return samples[sample].goal, samples[sample].persona

    return OpeningTurns(request.futures, lambda one, other: told(one) == told(other))


def _unknown(policy: PolicyRef) -> str:
    """Return that nothing is known of what determines futures of `policy`."""
    del policy
    return ""


class Simulation:
    """Simulates futures; implements the port `Simulator`."""

    def __init__(
        self,
        *,
        user: ChatModel,
        policies: Policies,
        published: PublishedModels | None = None,
        goals: GoalSource,
        clock: Clock,
        telemetry: Telemetry,
        termination_signal: str,
        max_futures: int,
        max_waiting_futures: int = MOST_WAITING_FUTURES,
        personas: Personas | None = None,
        on_context_exhausted: OnContextExhausted = "score",
        fingerprint: Callable[[PolicyRef], str] = _unknown,
    ) -> None:
        self._user = user
        self._policies = policies
        self._published = published
        self._goals = goals
        self._clock = clock
        self._telemetry = telemetry
        self._signal = termination_signal
        self._admission = Admission(
            places=max_futures, most_waiting=max_waiting_futures, clock=clock, observer=telemetry
        )
        self._personas = personas
        self._on_context_exhausted = on_context_exhausted
        self._fingerprint = fingerprint
        self._messages = SampledMessages(
            user=user,
            policies=policies,
            published=published,
            goals=goals,
            personas=personas,
            clock=clock,
            telemetry=telemetry,
            admission=self._admission,
            fingerprint=fingerprint,
        )

    async def fingerprint(self, policy: PolicyRef, *, deadline: float | None = None) -> str:
        """Return the digest of what determines futures of `policy`; see the port."""
        del deadline
        return self._fingerprint(policy)

    def sample_messages(
        self, request: MessageRequest, *, deadline: float | None = None
    ) -> AsyncGenerator[SampledMessage, None]:
        """Yield every sample of `request` once, as it ends; see the port."""
        return self._messages.sample(request, deadline=deadline)

    async def simulate(
        self, request: SimulationRequest, *, deadline: float | None = None
    ) -> AsyncGenerator[Future, None]:
        """Yield every future of `request` once, as it ends; see the port."""
        unknown = unknown_personas(request.personas, self._personas)
        checks.require(chain(violations(request), unknown))
        self._goals.check(request.task)
        # Before anything is opened or drawn: a refusal costs nothing.
        places = self._admission.enter(
            request.job, len(request.futures), bounded=not request.follow_up
        )
        try:
            async with held_policy(
                request, self._policies, self._published, clock=self._clock, deadline=deadline
            ) as policy:
                samples = draw_samples(request, self._goals, self._personas)
                openings = _openings(request, samples)
                asked = self._clock.now()
                account = account_of(request.shared, request.budget, request.horizon_messages)
                finished = as_finished(
                    request.futures,
                    lambda which: self._future(
                        request, policy, samples, openings, which, asked, deadline, account
                    ),
                    places=places,
                    clock=self._clock,
                    deadline=deadline,
                    late=lambda which: self._late(request, which, asked),
                )
                async with aclosing(finished):
                    async for future in finished:
                        yield future
        finally:
            places.leave()

    async def _future(
        self,
        request: SimulationRequest,
        policy: ResolvedPolicy,
        samples: Mapping[int, Sample],
        openings: OpeningTurns,
        which: FutureId,
        asked: float,
        deadline: float | None,
        account: Account | None,
    ) -> Future:
        """Return one future, paid from the request's account; its failure is no other's."""
        start = self._clock.now()
        fingerprint = self._fingerprint(request.policy)
        said: list[Message] = []
        outcome: SimulatedFuture | Failure
        with purse_of(account, sample=which.sample, candidate=which.candidate) as purse:
            ledger = Ledger(purse)
            try:
                # One of the places is held, after waiting in line for it since `asked`.
                async with until(deadline, self._clock):
                    self._telemetry.stage_finished("queue", start - asked)
                    self._telemetry.futures_in_flight(+1)
                    try:
                        outcome = await self._play(
                            request,
                            policy,
                            samples[which.sample],
                            openings.of(which),
                            which,
                            said,
                            ledger,
                            deadline,
                        )
                    finally:
                        self._telemetry.futures_in_flight(-1)
            except Exception as error:
                outcome = failure_from(error)
        status = outcome.reason if isinstance(outcome, Failure) else "ok"
        self._telemetry.future_finished(status)
        usage = ledger.usage(messages=len(said), seconds=self._clock.now() - start)
        return Future(which, outcome, usage, fingerprint, charged=usage.exceeded_by(purse))

    def _late(self, request: SimulationRequest, which: FutureId, asked: float) -> Future:
        """Return a future whose place did not come before the deadline."""
        failure = DeadlinePassed().failure
        self._telemetry.future_finished(failure.reason)
        usage = Usage(seconds=self._clock.now() - asked)
        return Future(which, failure, usage, self._fingerprint(request.policy))

    async def _play(
        self,
        request: SimulationRequest,
        policy: ResolvedPolicy,
        drawn: Sample,
        opens: SharedDraw | None,
        which: FutureId,
        said: list[Message],
        ledger: Ledger,
        deadline: float | None,
    ) -> SimulatedFuture:
        """Take turns, the first as `opens`; a message is appended to `said` when it is known."""
        seed, sample = request.seed, which.sample
        candidate = Message("assistant", request.candidates[which.candidate])
        opening: Conversation = (*request.prefix, candidate)
        sides = {
            "user": (self._user, drawn.user),
            "assistant": (policy.model, drawn.policy),
        }
        termination = Termination.HORIZON
        for index in range(request.horizon_messages):
            conversation = (*opening, *said)
            speaker = next_speaker(conversation)
            model, facts = sides[speaker]
            asked = ChatRequest(
                role="user" if speaker == "user" else "policy",
                task=facts,
                conversation=conversation,
                seed=(
                    derive_seed(seed, sample, speaker, index)
                    if index
                    else opening_seed(seed, sample)
                ),
                max_tokens=request.max_message_tokens,
                ledger=ledger,
                deadline=deadline,
                persona=drawn.persona if speaker == "user" else "",
                system_prompt=speaker != "user" and sample < request.system_prompt_samples,
                proactive=speaker != "user" and sample < request.proactive_samples,
                shared=None if index else opens,
            )
            try:
                reply = await model.complete(asked)
            except DomainError as error:
                excluded = self._on_context_exhausted == "exclude"
                if excluded or error.reason is not Reason.CONTEXT_EXHAUSTED:
                    raise
                termination = Termination.CONTEXT_EXHAUSTED
                break
            said.append(Message(speaker, reply.text))
            if speaker == "user" and self._signal in reply.text:
                termination = Termination.USER_ENDED
                break
        return SimulatedFuture(drawn.goal, tuple(said), termination, policy.ref, drawn.persona)
