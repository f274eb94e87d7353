"""One evaluation by several evaluators: this process's own, and others that score some metrics.

Every metric is scored by one of them. All are opened at once, every conversation goes to all of
them at once, and the scores are joined in the order of the setup. What one of the others cannot do
costs the scores of its own metrics and no others; only a setup that it refuses is refused as a
whole, because the caller must mend it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final

from foresight_services.core.deadline import until
from foresight_services.core.errors import (
    DeadlinePassed,
    Failure,
    Family,
    InvalidInput,
    Reason,
    Violation,
    failure_from,
)
from foresight_services.core.future import (
    ConversationScores,
    EvaluationItem,
    EvaluationSetup,
    Extracted,
    MetricInfo,
    MetricScore,
)
from foresight_services.core.ports import Clock, Evaluator
from foresight_services.core.route import METRIC_FIELD, Part, Route, within_budget
from foresight_services.core.suggest import one_of
from foresight_services.core.usage import total

SECONDS_TO_OPEN: Final = 30.0
"""Time that another evaluator has to accept a setup; at most half of what the caller leaves."""

_LATE: Final = Failure(
    Family.UPSTREAM, Reason.SERVICE_UNAVAILABLE, "was not ready for the setup in time"
)

_REFUSED: Final = {Family.INVALID, Family.NOT_FOUND, Family.PRECONDITION}
"""Failures that the caller, or the operator for this request, must mend."""


@dataclass(frozen=True, slots=True)
class Remote:
    """An evaluator that scores some of the metrics."""

    evaluator: Evaluator
    """How it is reached."""
    metrics: tuple[str, ...]
    """Names of the metrics that it scores."""


def owners(remotes: Mapping[str, Sequence[str]]) -> Mapping[str, str]:
    """Return the remote evaluator of every metric, from the metrics of every remote evaluator.

    Raises:
        InvalidInput: naming `evaluator.remotes...` where a metric is given twice.
    """
    owner: dict[str, str] = {}
    violations = []
    for remote, metrics in remotes.items():
        for index, metric in enumerate(metrics):
            if metric in owner:
                path = f"evaluator.remotes.{remote}.metrics[{index}]"
                problem = f"{metric!r} is scored by {owner[metric]!r} already; name it once"
                violations.append(Violation(path, problem))
            owner.setdefault(metric, remote)
    if violations:
        raise InvalidInput(tuple(violations))
    return owner


class RoutedEvaluator:
    """Splits evaluations between evaluators; implements the port `Evaluator`."""

    def __init__(
        self,
        local: Evaluator,
        remotes: Mapping[str, Remote],
        *,
        local_names: Collection[str],
        clock: Clock,
        seconds_to_open: float = SECONDS_TO_OPEN,
    ) -> None:
        """Route every metric that a remote evaluator has to it, and all others to `local`.

        Args:
            local: the evaluator of this process.
            remotes: the others, by name.
            local_names: the metrics of `local`, to tell what a wrong name could have been.
            clock: the clock of deadlines.
            seconds_to_open: time that a remote evaluator has to accept a setup.

        Raises:
            InvalidInput: where two remotes have a metric of the same name.
        """
        self._local = local
        self._remotes = remotes
        self._owners = owners({name: remote.metrics for name, remote in remotes.items()})
        self._local_names = frozenset(local_names)
        self._clock = clock
        self._seconds_to_open = seconds_to_open

    @asynccontextmanager
    async def open(
        self, setup: EvaluationSetup, *, deadline: float | None = None
    ) -> AsyncIterator[RoutedSession]:
        """Open an evaluation at every evaluator that has metrics in `setup`; see the port."""
        routes = self._routes(setup)
        if setup.budget.limited and len(routes) > 1:
            # Only an evaluation that is open tells how often its metrics ask a judge.
            async with AsyncExitStack() as stack:
                opened = await self._open_all(routes, setup, deadline, stack)
            routes = within_budget(opened, setup)
        async with AsyncExitStack() as stack:
            parts = await self._open_all(routes, setup, deadline, stack)
            yield RoutedSession(setup, parts, self._clock)

    def _routes(self, setup: EvaluationSetup) -> tuple[Route, ...]:
        """Return who scores what; the local evaluator refuses what nobody has, and no metrics."""
        indices: dict[str | None, list[int]] = {}
        for index, spec in enumerate(setup.metrics):
            indices.setdefault(self._owners.get(spec.name), []).append(index)
        return tuple(
            Route(
                remote,
                self._local if remote is None else self._remotes[remote].evaluator,
                tuple(places),
                setup.budget,
            )
            for remote, places in (indices or {None: []}).items()
        )

    async def _open_all(
        self,
        routes: tuple[Route, ...],
        setup: EvaluationSetup,
        deadline: float | None,
        stack: AsyncExitStack,
    ) -> tuple[Part, ...]:
        """Open all at once; raise what the caller must mend, told by all of them together."""
        opened = await asyncio.gather(
            *(self._open(route, setup, deadline, stack) for route in routes),
            return_exceptions=True,
        )
        violations = [
            self._in_whole(violation, route, setup)
            for route, error in zip(routes, opened, strict=True)
            if isinstance(error, InvalidInput)
            for violation in error.violations
        ]
        if violations:
            raise InvalidInput(tuple(dict.fromkeys(sorted(violations, key=_place))))
        parts = []
        for one in opened:
            if isinstance(one, BaseException):
                raise one
            parts.append(one)
        return tuple(parts)

    async def _open(
        self,
        route: Route,
        setup: EvaluationSetup,
        deadline: float | None,
        stack: AsyncExitStack,
    ) -> Part:
        """Open one; a remote evaluator that cannot be had becomes one that scores nothing."""
        if route.down is not None:
            return Part(route, route.down)
        opening = route.evaluator.open(route.part_of(setup), deadline=deadline)
        if route.remote is None:
            return Part(route, await stack.enter_async_context(opening))
        now = self._clock.now()
        patience = self._seconds_to_open
        if deadline is not None:
            patience = min(patience, (deadline - now) / 2)
        try:
            async with until(now + patience, self._clock):
                return Part(route, await stack.enter_async_context(opening))
        except DeadlinePassed:
            down = _LATE
        except Exception as error:
            down = failure_from(error)
            if down.family in _REFUSED:
                raise
        return Part(replace(route, down=down), down)

    def _in_whole(self, violation: Violation, route: Route, setup: EvaluationSetup) -> Violation:
        """Return what `route` says is wrong, in terms of the whole setup and of all metrics."""
        found = route.in_whole(violation)
        match = METRIC_FIELD.fullmatch(found.field)
        if route.remote is None and match is not None and match[2] == ".name":
            name = setup.metrics[int(match[1])].name
            if name not in self._local_names:
                known = self._local_names.union(self._owners)
                return Violation(found.field, one_of(name, known))
        return found


def _place(violation: Violation) -> int:
    """Sort by the metric's place, what concerns no metric before that."""
    match = METRIC_FIELD.fullmatch(violation.field)
    return -1 if match is None else int(match[1])


class RoutedSession:
    """Scores conversations at several evaluators; implements the port `EvaluationSession`."""

    def __init__(self, setup: EvaluationSetup, parts: tuple[Part, ...], clock: Clock) -> None:
        self._setup = setup
        self._parts = parts
        self._clock = clock
        infos = {
            index: info
            for part in parts
            for index, info in zip(part.route.indices, part.metrics(setup), strict=True)
        }
        self._metrics = tuple(infos[index] for index in range(len(setup.metrics)))

    @property
    def metrics(self) -> tuple[MetricInfo, ...]:
        """The metrics as they are applied, in the order of the setup."""
        return self._metrics

    async def score(self, item: EvaluationItem) -> ConversationScores:
        """Return the scores of one conversation, asked of all evaluators at once."""
        start = self._clock.now()
        parts = [part for part in self._parts if part.route.applied(item)]
        answers = await asyncio.gather(*(part.score(self._setup, item) for part in parts))
        scores: dict[int, MetricScore] = {}
        artifacts: list[Extracted] = []
        for part, answer in zip(parts, answers, strict=True):
            scores.update(zip(part.route.applied(item), answer.scores, strict=True))
            # Evaluators that extracted the same text have it once, others each its own.
            artifacts += [one for one in answer.artifacts if one not in artifacts]
        usage = total((a.usage for a in answers), seconds=self._clock.now() - start)
        ordered = tuple(scores[index] for index in self._setup.applied(item))
        return ConversationScores(item.id, ordered, usage, tuple(artifacts))
