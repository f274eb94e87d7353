"""Simulate futures: user simulator and policy take turns until the user ends or the horizon.

Semantics follow CollabLLM's `simulation.py`: the horizon counts messages of either role, the user
speaks first after a candidate, the termination signal counts in user messages only, and the message
that carries it stays in the conversation. Unlike there, futures do not wait for each other.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace

from foresight_services.core import checks
from foresight_services.core.conversation import Conversation, Message, next_speaker
from foresight_services.core.deadline import until
from foresight_services.core.errors import Violation, failure_from
from foresight_services.core.fanout import as_finished
from foresight_services.core.future import (
    Future,
    FutureId,
    SimulatedFuture,
    SimulationRequest,
    Termination,
)
from foresight_services.core.ports import (
    ChatModel,
    ChatRequest,
    Clock,
    GoalSource,
    Policies,
    ResolvedPolicy,
    Telemetry,
)
from foresight_services.core.seeds import derive_seed
from foresight_services.core.task import Task
from foresight_services.core.usage import Ledger


def seen_by_policy(task: Task) -> Task:
    """Return what the policy may know of `task`: neither goal nor reference nor their like."""
    return replace(task, goal="", reference="", guidance="", metadata={})


def seen_by_user(task: Task, goal: str) -> Task:
    """Return what the user simulator may know of `task`: the goal, not the known good answer."""
    return replace(task, goal=goal, reference="", metadata={})


def _violations(request: SimulationRequest) -> Iterator[Violation]:
    yield from checks.prefix(request.prefix)
    yield from checks.candidates(request.candidates)
    yield from checks.integer("horizon_messages", request.horizon_messages, 0, checks.MAX_HORIZON)
    yield from checks.integer(
        "max_message_tokens", request.max_message_tokens, 1, checks.MAX_MESSAGE_TOKENS
    )
    if not request.futures:
        yield Violation("futures", "is empty; ask for at least one future")
    last_candidate, last_sample = len(request.candidates) - 1, checks.MAX_SAMPLES - 1
    for index, which in enumerate(request.futures):
        # Almost always both are right, and there may be very many.
        if 0 <= which.candidate <= last_candidate and 0 <= which.sample <= last_sample:
            continue
        path = f"futures[{index}]"
        yield from checks.integer(f"{path}.candidate_index", which.candidate, 0, last_candidate)
        yield from checks.integer(f"{path}.sample_index", which.sample, 0, last_sample)
    if len(set(request.futures)) != len(request.futures):
        yield Violation("futures", "names a future twice; ask for each once")


class Simulation:
    """Simulates futures; implements the port `Simulator`."""

    def __init__(
        self,
        *,
        user: ChatModel,
        policies: Policies,
        goals: GoalSource,
        clock: Clock,
        telemetry: Telemetry,
        termination_signal: str,
        max_futures: int,
    ) -> None:
        self._user = user
        self._policies = policies
        self._goals = goals
        self._clock = clock
        self._telemetry = telemetry
        self._signal = termination_signal
        self._max_futures = max_futures
        self._places = asyncio.Semaphore(max_futures)

    async def simulate(
        self, request: SimulationRequest, *, deadline: float | None = None
    ) -> AsyncGenerator[Future, None]:
        """Yield every future of `request` once, as it ends; see the port."""
        checks.require(_violations(request))
        self._goals.check(request.task)
        policy = await self._policies.resolve(request.policy, request.task)
        goals = self._draw_goals(request)
        asked = self._clock.now()
        futures = (
            self._future(request, policy, goals[which.sample], which, asked, deadline)
            for which in request.futures
        )
        async with aclosing(as_finished(futures, at_once=self._max_futures)) as finished:
            async for future in finished:
                yield future

    def _draw_goals(self, request: SimulationRequest) -> Mapping[int, str]:
        """Return what the user wants in each sample, whatever the candidate."""
        task = request.task
        return {
            sample: task.goal
            or self._goals.draw(task, request.prefix, derive_seed(request.seed, sample, "goal"))
            for sample in {which.sample for which in request.futures}
        }

    async def _future(
        self,
        request: SimulationRequest,
        policy: ResolvedPolicy,
        goal: str,
        which: FutureId,
        asked: float,
        deadline: float | None,
    ) -> Future:
        """Return one future; what fails in it is its own failure and no other's."""
        start = self._clock.now()
        ledger = Ledger()
        said: list[Message] = []
        try:
            async with until(deadline, self._clock), self._place(asked):
                outcome = await self._play(request, policy, goal, which, said, ledger)
        except Exception as error:
            failure = failure_from(error)
            self._telemetry.future_finished(failure.reason)
            usage = ledger.usage(messages=len(said), seconds=self._clock.now() - start)
            return Future(which, failure, usage)
        self._telemetry.future_finished("ok")
        usage = ledger.usage(messages=len(said), seconds=self._clock.now() - start)
        return Future(which, outcome, usage)

    @asynccontextmanager
    async def _place(self, asked: float) -> AsyncIterator[None]:
        """Hold one of the places for futures, waiting in line for it since `asked`."""
        async with self._places:
            self._telemetry.stage_finished("queue", self._clock.now() - asked)
            self._telemetry.futures_in_flight(+1)
            try:
                yield
            finally:
                self._telemetry.futures_in_flight(-1)

    async def _play(
        self,
        request: SimulationRequest,
        policy: ResolvedPolicy,
        goal: str,
        which: FutureId,
        said: list[Message],
        ledger: Ledger,
    ) -> SimulatedFuture:
        """Take turns; every message is appended to `said` when it is known."""
        task, seed, sample = request.task, request.seed, which.sample
        candidate = Message("assistant", request.candidates[which.candidate])
        opening: Conversation = (*request.prefix, candidate)
        sides = {
            "user": (self._user, seen_by_user(task, goal)),
            "assistant": (policy.model, seen_by_policy(task)),
        }
        termination = Termination.HORIZON
        for index in range(request.horizon_messages):
            conversation = (*opening, *said)
            speaker = next_speaker(conversation)
            model, facts = sides[speaker]
            reply = await model.complete(
                ChatRequest(
                    role="user" if speaker == "user" else "policy",
                    task=facts,
                    conversation=conversation,
                    seed=derive_seed(seed, sample, speaker, index),
                    max_tokens=request.max_message_tokens,
                    ledger=ledger,
                )
            )
            said.append(Message(speaker, reply.text))
            if speaker == "user" and self._signal in reply.text:
                termination = Termination.USER_ENDED
                break
        return SimulatedFuture(goal, tuple(said), termination, policy.ref)
