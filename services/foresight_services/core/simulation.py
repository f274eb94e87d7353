"""Simulate futures: user simulator and policy take turns until the user ends or the horizon.

Semantics follow CollabLLM's `simulation.py`: the horizon counts messages of either role, the user
speaks first after a candidate, the termination signal counts in user messages only, and the message
that carries it stays in the conversation. Unlike there, futures do not wait for each other, and one
that no longer fits into a model's context ends as it stands, or is left out, as configured.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from itertools import chain
from typing import Final, Literal

from foresight_services.core import checks
from foresight_services.core.admission import Admission
from foresight_services.core.budget import Account, purse_of
from foresight_services.core.conversation import Conversation, Message, next_speaker
from foresight_services.core.deadline import until
from foresight_services.core.errors import (
    DeadlinePassed,
    DomainError,
    Failure,
    NotFound,
    Reason,
    Violation,
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
from foresight_services.core.shared_budget import account_of
from foresight_services.core.simulation_checks import violations
from foresight_services.core.suggest import one_of
from foresight_services.core.task import PolicyRef, Task
from foresight_services.core.usage import Ledger, Usage

MOST_WAITING_FUTURES: Final = 262_144
"""Futures that wait for a place by default: as many as one request may ask for."""

OnContextExhausted = Literal["score", "exclude"]
"""What becomes of a future that no longer fits: scored as it stands, or a failure of its own."""


def seen_by_policy(task: Task) -> Task:
    """Return what the policy may know of `task`: neither goal nor reference nor their like."""
    return replace(task, goal="", reference="", guidance="", metadata={})


def seen_by_user(task: Task, goal: str) -> Task:
    """Return what the user simulator may know of `task`: the goal, not the known good answer."""
    return replace(task, goal=goal, reference="", metadata={})


def _unknown(policy: PolicyRef) -> str:
    """Return that nothing is known of what determines futures of `policy`."""
    del policy
    return ""


@dataclass(frozen=True, slots=True)
class _Sample:
    """What holds for all futures of one sample index."""

    goal: str
    """What the user wants."""
    persona: str
    """Who the user is; empty for nobody in particular."""
    user: Task
    """What the user may know."""
    policy: Task
    """What the policy may know."""


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

    async def fingerprint(self, policy: PolicyRef, *, deadline: float | None = None) -> str:
        """Return the digest of what determines futures of `policy`; see the port."""
        del deadline
        return self._fingerprint(policy)

    async def simulate(
        self, request: SimulationRequest, *, deadline: float | None = None
    ) -> AsyncGenerator[Future, None]:
        """Yield every future of `request` once, as it ends; see the port."""
        checks.require(chain(violations(request), self._unknown_personas(request)))
        self._goals.check(request.task)
        # Before anything is opened or drawn: a refusal costs nothing.
        places = self._admission.enter(
            request.job, len(request.futures), bounded=not request.follow_up
        )
        try:
            async with self._policy(request, deadline) as policy:
                samples = self._draw_samples(request)
                asked = self._clock.now()
                account = account_of(request.shared, request.budget, request.horizon_messages)
                finished = as_finished(
                    request.futures,
                    lambda which: self._future(
                        request, policy, samples[which.sample], which, asked, deadline, account
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

    @asynccontextmanager
    async def _policy(
        self, request: SimulationRequest, deadline: float | None
    ) -> AsyncIterator[ResolvedPolicy]:
        """Hold the policy for the whole request, so that its futures finish on one version."""
        version = request.published
        if version is None:
            yield await self._policies.resolve(request.policy, request.task)
            return
        if self._published is None:
            raise NotFound(
                Reason.UNKNOWN_POLICY,
                "this simulator plays no published policies",
                metadata={"policy": version.ref.name, "version": str(version.ref.version)},
            )
        async with AsyncExitStack() as stack:
            async with until(deadline, self._clock):
                model = await stack.enter_async_context(self._published.open(version))
            yield ResolvedPolicy(version.ref, model)

    def _draw_samples(self, request: SimulationRequest) -> Mapping[int, _Sample]:
        """Return what holds for each sample index, whatever the candidate."""
        task, seed = request.task, request.seed
        policy = seen_by_policy(task)
        drawn: dict[int, _Sample] = {}
        for sample in {which.sample for which in request.futures}:
            goal = task.goal or self._goals.draw(
                task, request.prefix, derive_seed(seed, sample, "goal")
            )
            persona = ""
            if self._personas is not None:
                draw = derive_seed(seed, sample, "persona")
                persona = self._personas.draw(draw, request.personas)
            drawn[sample] = _Sample(goal, persona, seen_by_user(task, goal), policy)
        return drawn

    async def _future(
        self,
        request: SimulationRequest,
        policy: ResolvedPolicy,
        drawn: _Sample,
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
                            request, policy, drawn, which, said, ledger, deadline
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
        drawn: _Sample,
        which: FutureId,
        said: list[Message],
        ledger: Ledger,
        deadline: float | None,
    ) -> SimulatedFuture:
        """Take turns; every message is appended to `said` when it is known."""
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
                seed=derive_seed(seed, sample, speaker, index),
                max_tokens=request.max_message_tokens,
                ledger=ledger,
                deadline=deadline,
                persona=drawn.persona if speaker == "user" else "",
                system_prompt=speaker != "user" and sample < request.system_prompt_samples,
                proactive=speaker != "user" and sample < request.proactive_samples,
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

    def _unknown_personas(self, request: SimulationRequest) -> Iterator[Violation]:
        """Yield every persona that the simulator has not; rules play none and take any name."""
        known = () if self._personas is None else self._personas.names
        for index, name in enumerate(request.personas):
            if known and name not in known:
                yield Violation(f"personas[{index}]", one_of(name, known))
