"""The work behind a request: its futures, simulated and scored, told one by one.

The evaluation is opened first, so that a wrong metric costs no simulation. Each future is scored
the moment it ends, and waits for no other.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace

from foresight_services.core.baseline_work import BaselineWork
from foresight_services.core.budget_parts import parts_of, simulators_share
from foresight_services.core.deadline import until
from foresight_services.core.errors import Failure, InvalidInput, Violation, failure_from
from foresight_services.core.future import (
    EvaluationItem,
    EvaluationSetup,
    Future,
    FutureId,
    SimulationRequest,
)
from foresight_services.core.group import Group
from foresight_services.core.idempotency import Played, Run, ended_early
from foresight_services.core.kept_answers import setup_of
from foresight_services.core.policies import PolicyRegistry, PolicyUse
from foresight_services.core.ports import Clock, EvaluationSession, Evaluator, Simulator
from foresight_services.core.request import RewardRequest
from foresight_services.core.result import ScoredFuture
from foresight_services.core.sampled_futures import SampledFutures
from foresight_services.core.usage import Usage


@dataclass(frozen=True, slots=True)
class RewardWork:
    """Simulates and scores the futures of one request."""

    simulator: Simulator
    """Who simulates."""
    evaluator: Evaluator
    """Who scores."""
    policies: PolicyRegistry
    """Knows the policy's versions."""
    clock: Clock
    """Measures the deadline."""
    request: RewardRequest
    """The request."""
    stop: float | None
    """When all of it ends; None where its callers keep their own deadlines."""
    charge: Callable[[Usage], None]
    """Told of all that was paid for."""

    async def __call__(self, run: Run) -> None:
        """Tell `run` every future once, and at the end why there are no more."""
        async with (
            self.policies.using(self.request.policy) as policy,
            self._session(self._setup()) as session,
        ):
            # Refuses, before anything is simulated, what the metrics cannot give the objective.
            group = Group(self.request, session.metrics)
            run.open(session.metrics, Played(policy.ref, policy.published))
            policy.when_withdrawn(run.withdraw)
            await self._simulate(policy, session, run, group)

    def _setup(self) -> EvaluationSetup:
        """Return what the evaluation of the candidates is set up with."""
        return replace(setup_of(self.request), budget=parts_of(self.request).candidates)

    @asynccontextmanager
    async def _session(self, setup: EvaluationSetup) -> AsyncIterator[EvaluationSession]:
        """Open the evaluation; its complaints are about the request's objective."""
        async with AsyncExitStack() as stack:
            try:
                async with until(self.stop, self.clock):
                    session = await stack.enter_async_context(
                        self.evaluator.open(setup, deadline=self.stop)
                    )
            except InvalidInput as error:
                raise _within(error, "metrics", "objective") from error
            yield session

    async def _simulate(
        self, policy: PolicyUse, session: EvaluationSession, run: Run, group: Group
    ) -> None:
        simulation = self._simulation(policy, session)

        def score(future: Future) -> Awaitable[ScoredFuture]:
            return self._scored(session, future)

        def tell(scored: ScoredFuture) -> None:
            self.charge(scored.usage)
            run.tell(scored)

        plan = self.request.plan
        futures = SampledFutures(self.simulator, simulation, plan, group, score, tell)
        if self.request.baseline is None:
            ended = await futures.play(self.stop)
        else:
            baseline = BaselineWork(
                plan=self.request.baseline,
                request=self.request,
                simulation=simulation,
                shares=parts_of(self.request),
                metrics=session.metrics,
                simulator=self.simulator,
                opened=self._session,
                score=self._scored,
                charge=self.charge,
                run=run,
                stop=self.stop,
            )
            async with asyncio.TaskGroup() as tasks:
                beside = tasks.create_task(baseline.play())
                ended = await futures.play(self.stop)
                if ended is not None:
                    beside.cancel()
        if isinstance(ended, InvalidInput):
            ended = _within(ended, "personas", "simulation")
        raise ended or ended_early()

    def _simulation(self, policy: PolicyUse, session: EvaluationSession) -> SimulationRequest:
        """Return what is simulated of the candidates."""
        request = self.request
        return SimulationRequest(
            task=request.task,
            prefix=request.prefix,
            candidates=request.candidates,
            futures=futures_of(request),
            horizon_messages=request.horizon_messages,
            seed=request.seed,
            policy=policy.ref,
            max_message_tokens=request.max_message_tokens,
            system_prompt_samples=request.system_prompt_samples,
            proactive_samples=request.proactive_samples,
            published=policy.published,
            budget=simulators_share(parts_of(request).candidates, request, session),
            personas=request.personas,
            cache=request.cache,
            job=request.job,
        )

    async def _scored(self, session: EvaluationSession, future: Future) -> ScoredFuture:
        """Score one future; a failure is this future's own."""
        simulated = future.outcome
        if isinstance(simulated, Failure):
            return ScoredFuture.failed(future, simulated)
        try:
            scores = await session.score(
                EvaluationItem(future.id, simulated.goal, simulated.messages)
            )
        except Exception as error:
            return ScoredFuture.failed(future, failure_from(error))
        return ScoredFuture.of(future, simulated, scores)


def futures_of(request: RewardRequest) -> tuple[FutureId, ...]:
    """Return the futures that `request` asks for in any case, in the order of asking."""
    return tuple(
        FutureId(candidate, sample)
        for sample in range(request.samples_first)
        for candidate in range(len(request.candidates))
    )


def _within(error: InvalidInput, name: str, parent: str) -> InvalidInput:
    """Return `error` with its fields called `name` where they are in the request."""
    if not any(violation.field.startswith(name) for violation in error.violations):
        return error
    return InvalidInput(
        tuple(
            Violation(f"{parent}.{v.field}" if v.field.startswith(name) else v.field, v.description)
            for v in error.violations
        )
    )
