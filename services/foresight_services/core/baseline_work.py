"""The work behind a baseline: its responses drawn, then simulated and scored beside the candidates.

The candidates do not wait for it. It has an evaluation of its own, because its responses are not
known when that of the candidates is opened. Whatever fails in it is a failure of the baseline: its
draws, or futures of it, are told as failed, and the candidates have their rewards.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace

from foresight_services.core.baseline import BaselinePlan, Drawn, draw
from foresight_services.core.baseline_futures import (
    baseline_futures,
    baseline_metrics,
    baseline_request,
    own_courses,
)
from foresight_services.core.budget_parts import BudgetParts, simulators_share
from foresight_services.core.errors import failure_from
from foresight_services.core.future import (
    EvaluationSetup,
    Future,
    FutureId,
    MetricInfo,
    SimulationRequest,
)
from foresight_services.core.group import Group
from foresight_services.core.idempotency import Run, ended_early
from foresight_services.core.kept_answers import setup_of
from foresight_services.core.message_request import MessageKind, MessageRequest
from foresight_services.core.ports import EvaluationSession, Simulator
from foresight_services.core.request import RewardRequest
from foresight_services.core.result import ScoredFuture
from foresight_services.core.sampled_futures import SampledFutures
from foresight_services.core.usage import Usage


@dataclass(frozen=True, slots=True)
class BaselineWork:
    """Draws, simulates and scores the baseline of one request."""

    plan: BaselinePlan
    """What is drawn."""
    request: RewardRequest
    """The request."""
    simulation: SimulationRequest
    """How its candidates are simulated."""
    shares: BudgetParts
    """The request's budget, divided."""
    metrics: tuple[MetricInfo, ...]
    """The metrics as they are applied to the candidates."""
    simulator: Simulator
    """Who draws and simulates."""
    opened: Callable[[EvaluationSetup], AbstractAsyncContextManager[EvaluationSession]]
    """Opens an evaluation."""
    score: Callable[[EvaluationSession, Future], Awaitable[ScoredFuture]]
    """Scores a future; a failure is that future's own."""
    charge: Callable[[Usage], None]
    """Told of all that was paid for."""
    run: Run
    """Told the draws, then every future once."""
    stop: float | None
    """When all of it ends; None where its callers keep their own deadlines."""

    async def play(self) -> None:
        """Tell the draws, then every future of them, however it goes."""
        request, simulation = self.request, self.simulation
        asked = MessageRequest(
            task=simulation.task,
            prefix=simulation.prefix,
            kind=MessageKind.POLICY,
            seed=simulation.seed,
            policy=simulation.policy,
            max_message_tokens=simulation.max_message_tokens,
            published=simulation.published,
            budget=self.shares.draws,
            cache=simulation.cache,
            job=simulation.job,
        )
        drawn = await draw(self.simulator, asked, self.plan, self.stop)
        for sample in drawn.samples:
            self.charge(sample.usage)
        first = baseline_futures(request, drawn)
        if not first:
            self.run.tell(drawn)
            return
        missing = dict.fromkeys(first)
        setup = replace(
            setup_of(request),
            candidates=(*request.candidates, *drawn.texts),
            budget=self.shares.responses,
        )
        told = False
        try:
            async with self.opened(setup) as session:
                drawn = replace(drawn, metrics=session.metrics)
                self.run.tell(drawn)
                told = True
                failure = failure_from(
                    await self._simulate(session, drawn, missing) or ended_early()
                )
        except Exception as error:
            failure = failure_from(error)
        if not told:
            self.run.tell(drawn)
        for which in missing:
            self.run.tell(ScoredFuture(which, None, (), failure, Usage(), abandoned=True))

    async def _simulate(
        self, session: EvaluationSession, drawn: Drawn, missing: dict[FutureId, None]
    ) -> Exception | None:
        """Tell the futures that are `missing`, and those that they ask for, as they end."""
        request, simulation, plan = self.request, self.simulation, self.request.plan
        fixed = plan is not None and plan.aim is not None

        def tell(scored: ScoredFuture) -> None:
            del missing[scored.id]
            missing.update(dict.fromkeys(scored.asked))
            self.charge(scored.usage)
            self.run.tell(scored)

        metrics = baseline_metrics(request, self.metrics, drawn)
        futures = SampledFutures(
            self.simulator,
            replace(
                simulation,
                candidates=(*request.candidates, *drawn.texts),
                futures=tuple(missing),
                budget=simulators_share(self.shares.responses, request, session),
                # The candidates were let in.
                follow_up=True,
            ),
            plan if fixed else own_courses(plan),
            Group(baseline_request(request, drawn.texts), metrics),
            lambda future: self.score(session, future),
            tell,
            first_candidate=len(request.candidates),
            fixed=fixed,
        )
        return await futures.play(self.stop)
