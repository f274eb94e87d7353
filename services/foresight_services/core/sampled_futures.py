"""Simulations of one request, asked for as its sampling wants futures.

The first futures are asked for in one call. Each outcome may ask for more, in a call of their own
that runs beside the others. Futures are told with what was asked for after them, in the order in
which the sampling heard of them, so that whoever hears of all knows at any time which are to come.

Invariants: where the sampling is plain there is one call, of the request as it always was; no
future is asked for after the budget was exhausted or a simulation failed as a whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import aclosing
from dataclasses import replace

from foresight_services.core.allocation import SamplePlan, Sampling
from foresight_services.core.baseline import spread
from foresight_services.core.checks import MAX_SAMPLES
from foresight_services.core.errors import Failure, Reason
from foresight_services.core.future import Future, FutureId, SimulationRequest
from foresight_services.core.group import Group
from foresight_services.core.ports import Simulator
from foresight_services.core.result import ScoredFuture
from foresight_services.core.shared_budget import SharedBudget

Scored = Callable[[Future], Awaitable[ScoredFuture]]
"""Scores a future; a failure is that future's own."""


class SampledFutures:
    """Simulates and scores the futures of one request."""

    def __init__(
        self,
        simulator: Simulator,
        simulation: SimulationRequest,
        plan: SamplePlan | None,
        group: Group,
        score: Scored,
        tell: Callable[[ScoredFuture], None],
        *,
        first_candidate: int = 0,
        fixed: bool = False,
    ) -> None:
        """Prepare the futures.

        Args:
            simulator: who simulates.
            simulation: what, with the futures that every candidate gets in any case.
            plan: how outcomes decide the number of futures; None where they do not.
            group: knows the objective.
            score: scores a future.
            tell: told every future once.
            first_candidate: the candidates before it are the business of others.
            fixed: whether the futures that every candidate gets in any case are all, and the plan
                tells only how prompts are spread over sample indices.
        """
        self._simulator = simulator
        self._simulation = simulation
        self._plan = plan
        self._group = group
        self._score = score
        self._tell = tell
        self._sampling: Sampling | None = None
        self._deadline: float | None = None
        self._ended: Exception | None = None
        if plan is not None:
            if not fixed:
                count = len(simulation.candidates) - first_candidate
                self._sampling = Sampling(plan, count, group.value_range, first=first_candidate)
            if simulation.budget.limited and simulation.shared is None:
                shared = SharedBudget(
                    simulation.budget, calls_per_future=simulation.horizon_messages
                )
                self._simulation = replace(simulation, shared=shared)

    async def play(self, deadline: float | None) -> Exception | None:
        """Tell all futures; return why a simulation ended that could not give all of its own."""
        self._deadline = deadline
        async with asyncio.TaskGroup() as tasks:
            if self._plan is None:
                await self._simulate(self._simulation, tasks)
            elif self._sampling is None:
                self._begin(self._simulation.futures, tasks)
            else:
                self._begin(self._sampling.begin(), tasks)
        return self._ended

    def _begin(self, futures: Iterable[FutureId], tasks: asyncio.TaskGroup) -> None:
        for request in self._requests(tuple(futures)):
            tasks.create_task(self._simulate(request, tasks))

    def _requests(self, futures: tuple[FutureId, ...]) -> Iterator[SimulationRequest]:
        """Yield requests for `futures`, one for each kind of prompt that the policy gets."""
        kinds: dict[tuple[bool, bool], list[FutureId]] = {}
        for which in futures:
            kinds.setdefault(self._prompts(which.sample), []).append(which)
        for (system_prompt, proactive), some in kinds.items():
            yield replace(
                self._simulation,
                futures=tuple(some),
                system_prompt_samples=MAX_SAMPLES if system_prompt else 0,
                proactive_samples=MAX_SAMPLES if proactive else 0,
            )

    def _prompts(self, sample: int) -> tuple[bool, bool]:
        """Return whether the policy gets the system prompt, and is told to be proactive."""
        assert self._plan is not None, "a plain request is simulated as it is"
        most = self._plan.most
        return (
            spread(sample, self._simulation.system_prompt_samples, most),
            spread(sample, self._simulation.proactive_samples, most),
        )

    async def _simulate(self, request: SimulationRequest, tasks: asyncio.TaskGroup) -> None:
        try:
            simulated = self._simulator.simulate(request, deadline=self._deadline)
            async with aclosing(simulated) as futures:
                async for future in futures:
                    tasks.create_task(self._finish(future, tasks))
        except Exception as error:
            self._ended = self._ended or error

    async def _finish(self, future: Future, tasks: asyncio.TaskGroup) -> None:
        scored = await self._score(future)
        asked = self._more(scored)
        self._tell(replace(scored, asked=asked) if asked else scored)
        if asked and self._ended is None:
            self._simulation = replace(self._simulation, follow_up=True)
            self._begin(asked, tasks)

    def _more(self, scored: ScoredFuture) -> tuple[FutureId, ...]:
        """Return the futures that `scored` asks for."""
        if self._sampling is None:
            return ()
        outcome = self._group.objective(scored)
        if not isinstance(outcome, Failure):
            return self._sampling.ended(scored.id, outcome)
        if outcome.reason is Reason.BUDGET_EXHAUSTED:
            self._sampling = None
            return ()
        return self._sampling.ended(scored.id, None)
