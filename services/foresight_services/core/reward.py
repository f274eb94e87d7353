"""The main use case: multiturn-aware rewards (MR) for the candidates of one prefix.

Request path: check and fill in defaults; open an evaluation, so that a wrong metric costs no
simulation; simulate the futures; score each the moment it ends; join its scores to the objective;
and emit a candidate the moment its last future is in. The value is the mean of the objective over
the futures that succeeded (CollabLLM, ICML 2025, section 3.2). At the deadline, less a margin to
answer in, what has not finished becomes a failure of its own and what has is reported.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager

from foresight_services.core.budget import Budget, divide
from foresight_services.core.deadline import until
from foresight_services.core.errors import (
    DeadlinePassed,
    DomainError,
    Failure,
    Family,
    InvalidInput,
    Reason,
    Upstream,
    Violation,
    failure_from,
)
from foresight_services.core.future import (
    EvaluationItem,
    EvaluationSetup,
    Future,
    FutureId,
    SimulationRequest,
)
from foresight_services.core.group import Group
from foresight_services.core.policies import PolicyRegistry, PolicyUse
from foresight_services.core.ports import (
    Clock,
    EvaluationSession,
    Evaluator,
    Simulator,
    Telemetry,
)
from foresight_services.core.request import RewardQuery, RewardRequest, resolve
from foresight_services.core.result import (
    CandidateResult,
    FutureFinished,
    GroupSummary,
    ScoredFuture,
)
from foresight_services.core.task import Preset
from foresight_services.core.usage import Usage, total

Event = FutureFinished | CandidateResult | GroupSummary
"""What a computation emits: progress, each candidate's result once, and the summary at the end."""

REFUSED = {Family.INVALID, Family.NOT_FOUND, Family.PRECONDITION, Family.UNAUTHENTICATED}
"""Failures of the whole request that the caller must mend; all others cost futures only."""


SECONDS_TO_ANSWER_PER_FUTURE = 2e-4
"""Time that it takes to join, encode and send one future's result, with room to spare."""


class Rewards:
    """Computes multiturn-aware rewards."""

    def __init__(
        self,
        *,
        simulator: Simulator,
        evaluator: Evaluator,
        policies: PolicyRegistry,
        presets: Mapping[str, Preset],
        clock: Clock,
        telemetry: Telemetry,
        deadline_margin_seconds: float,
    ) -> None:
        self._simulator = simulator
        self._evaluator = evaluator
        self._policies = policies
        self._presets = presets
        self._clock = clock
        self._telemetry = telemetry
        self._margin = deadline_margin_seconds

    async def compute(
        self, query: RewardQuery, *, deadline: float | None = None
    ) -> AsyncGenerator[Event, None]:
        """Yield the events of one group; close the generator to cancel it.

        Args:
            query: the request, unchecked.
            deadline: when the caller stops listening, in the time of the clock.

        Raises:
            InvalidInput: with every field that is wrong.
            DomainError: where the whole group cannot be served; a future or a candidate that
                fails alone is an event with a failure.
        """
        start = self._clock.now()
        request = resolve(query, self._presets)
        stop = None if deadline is None else deadline - self._margin_for(request, deadline - start)
        async with (
            self._policies.using(request.policy) as policy,
            self._session(request, stop) as session,
        ):
            group = Group(request, session.metrics)
            async with aclosing(self._scored(request, policy, session, stop)) as scored:
                async for future in scored:
                    complete = group.add(future)
                    self._charge(request.job, future.usage)
                    # Progress ends at the deadline: there may be no time to tell of thousands.
                    if not future.abandoned:
                        yield FutureFinished(future.id, future.failure is None)
                    if complete:
                        yield self._finish(group, future.id.candidate, start)
        yield group.summary(total(group.usages(), seconds=self._clock.now() - start))

    def _margin_for(self, request: RewardRequest, left: float) -> float:
        """Return the seconds before the deadline, `left` from now, at which to stop and answer."""
        futures = len(request.candidates) * request.samples_max
        needed = self._margin + futures * SECONDS_TO_ANSWER_PER_FUTURE
        # Where even that is too little, an answer from few futures is the best there is.
        return min(needed, left / 2)

    def _charge(self, job: str, usage: Usage) -> None:
        """Tell the operator what a future of the training job `job` cost."""
        if job:
            for role, spent in usage.models.items():
                self._telemetry.job_spent(job, role, spent)

    def _finish(self, group: Group, candidate: int, start: float) -> CandidateResult:
        seconds = self._clock.now() - start
        result = group.result(candidate, seconds)
        self._telemetry.reward_finished(result.status, seconds)
        return result

    @asynccontextmanager
    async def _session(
        self, request: RewardRequest, stop: float | None
    ) -> AsyncIterator[EvaluationSession]:
        """Open the evaluation; its complaints are about the request's objective."""
        setup = EvaluationSetup(
            task=request.task,
            prefix=request.prefix,
            candidates=request.candidates,
            metrics=request.objective.metrics,
            horizon_messages=request.horizon_messages,
            max_message_tokens=request.max_message_tokens,
            budget=request.budget,
            cache=request.cache,
        )
        async with AsyncExitStack() as stack:
            try:
                async with until(stop, self._clock):
                    session = await stack.enter_async_context(
                        self._evaluator.open(setup, deadline=stop)
                    )
            except InvalidInput as error:
                raise _within(error, "metrics", "objective") from error
            yield session

    async def _scored(
        self,
        request: RewardRequest,
        policy: PolicyUse,
        session: EvaluationSession,
        stop: float | None,
    ) -> AsyncGenerator[ScoredFuture, None]:
        """Yield every future of `request` once, scored or failed, until `stop` at the latest."""
        wanted = [
            FutureId(candidate, sample)
            for sample in range(request.samples_max)
            for candidate in range(len(request.candidates))
        ]
        missing = dict.fromkeys(wanted)
        results: asyncio.Queue[ScoredFuture | Exception] = asyncio.Queue()
        work = asyncio.create_task(
            self._work(request, policy, session, tuple(wanted), stop, results)
        )
        # However the work ends, there is an end to wait for.
        work.add_done_callback(lambda _: results.put_nowait(_ended_early()))
        # The alarm takes its place in the queue: what finished before the deadline still counts.
        alarm = None if stop is None else self._alarm(stop, results)
        policy.when_withdrawn(results.put_nowait)
        try:
            while missing:
                result = await results.get()
                if isinstance(result, Exception):
                    failure = failure_from(result)
                    refused = failure.family in REFUSED and len(missing) == len(wanted)
                    if refused and result is not policy.withdrawal:
                        raise result
                    break
                del missing[result.id]
                yield result
        finally:
            if alarm is not None:
                alarm.cancel()
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
        for which in missing:
            yield ScoredFuture(which, None, (), failure, Usage(), abandoned=True)

    def _alarm(
        self, stop: float, results: asyncio.Queue[ScoredFuture | Exception]
    ) -> asyncio.TimerHandle:
        left = max(0.0, stop - self._clock.now())
        return asyncio.get_running_loop().call_later(left, results.put_nowait, DeadlinePassed())

    async def _work(
        self,
        request: RewardRequest,
        policy: PolicyUse,
        session: EvaluationSession,
        wanted: tuple[FutureId, ...],
        stop: float | None,
        results: asyncio.Queue[ScoredFuture | Exception],
    ) -> None:
        """Simulate, score each future as it ends, and put it into `results`; last, why it ended."""
        simulation = SimulationRequest(
            task=request.task,
            prefix=request.prefix,
            candidates=request.candidates,
            futures=wanted,
            horizon_messages=request.horizon_messages,
            seed=request.seed,
            policy=policy.ref,
            max_message_tokens=request.max_message_tokens,
            system_prompt_samples=request.system_prompt_samples,
            proactive_samples=request.proactive_samples,
            published=policy.published,
            budget=_simulators_share(request, session),
            personas=request.personas,
            cache=request.cache,
        )
        ended: Exception = _ended_early()
        async with asyncio.TaskGroup() as scoring:
            try:
                async with aclosing(self._simulator.simulate(simulation, deadline=stop)) as futures:
                    async for future in futures:
                        scoring.create_task(self._score(session, future, results))
            except InvalidInput as error:
                ended = _within(error, "personas", "simulation")
            except Exception as error:
                ended = error
        results.put_nowait(ended)

    async def _score(
        self,
        session: EvaluationSession,
        future: Future,
        results: asyncio.Queue[ScoredFuture | Exception],
    ) -> None:
        """Score one future and put it into `results`; a failure is this future's own."""
        simulated = future.outcome
        if isinstance(simulated, Failure):
            results.put_nowait(ScoredFuture.failed(future, simulated))
            return
        try:
            scores = await session.score(
                EvaluationItem(future.id, simulated.goal, simulated.messages)
            )
        except Exception as error:
            results.put_nowait(ScoredFuture.failed(future, failure_from(error)))
            return
        results.put_nowait(ScoredFuture.of(future, simulated, scores))


def _ended_early() -> DomainError:
    return Upstream(Reason.SERVICE_UNAVAILABLE, "the simulator ended without this future")


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


def _simulators_share(request: RewardRequest, session: EvaluationSession) -> Budget:
    """Return what the evaluator, which divides by the same rule, leaves of the budget."""
    judge_calls = sum(metric.judge_calls for metric in session.metrics)
    turns = request.horizon_messages
    return divide(request.budget, turns=turns, judge_calls=judge_calls).simulator
