"""What one of several evaluators has to do with an evaluation, and what became of it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

from foresight_services.core.budget import Budget
from foresight_services.core.errors import Failure, Violation, failure_from
from foresight_services.core.future import (
    ConversationScores,
    EvaluationItem,
    EvaluationSetup,
    MetricInfo,
    MetricScore,
)
from foresight_services.core.ports import EvaluationSession, Evaluator
from foresight_services.core.usage import Usage

METRIC_FIELD: Final = re.compile(r"metrics\[(\d+)\](.*)", re.DOTALL)
"""The path of a field of one metric: its place, and the rest."""


@dataclass(frozen=True, slots=True)
class Route:
    """What one evaluator has to do with a setup."""

    remote: str | None
    """Name of the evaluator; None for this process's own."""
    evaluator: Evaluator
    """How it is reached."""
    indices: tuple[int, ...]
    """Places of its metrics in the setup."""
    budget: Budget
    """The budget that it is told."""
    down: Failure | None = None
    """Why it cannot be asked."""

    def part_of(self, setup: EvaluationSetup) -> EvaluationSetup:
        """Return the setup that it is given."""
        metrics = tuple(setup.metrics[index] for index in self.indices)
        return replace(setup, metrics=metrics, budget=self.budget)

    def part_of_item(self, item: EvaluationItem) -> EvaluationItem:
        """Return the conversation with those of its metrics that are this evaluator's."""
        if item.metrics is None:
            return item
        places = {index: place for place, index in enumerate(self.indices)}
        return replace(
            item, metrics=tuple(places[index] for index in item.metrics if index in places)
        )

    def applied(self, item: EvaluationItem) -> tuple[int, ...]:
        """Return the places in the setup of the metrics that it scores `item` by."""
        if item.metrics is None:
            return self.indices
        return tuple(index for index in item.metrics if index in self.indices)

    def in_whole(self, violation: Violation) -> Violation:
        """Return `violation`, found in its part, with the field's path in the whole setup."""
        match = METRIC_FIELD.fullmatch(violation.field)
        if match is None or int(match[1]) >= len(self.indices):
            return violation
        return Violation(f"metrics[{self.indices[int(match[1])]}]{match[2]}", violation.description)


@dataclass(frozen=True, slots=True)
class Part:
    """An evaluator's part of an evaluation."""

    route: Route
    """Whose, and what it has to do."""
    session: EvaluationSession | Failure
    """Its session, or why there is none."""

    def metrics(self, setup: EvaluationSetup) -> tuple[MetricInfo, ...]:
        """Return its metrics; of an evaluator that cannot be had no more than their names."""
        if not isinstance(self.session, Failure):
            return self.session.metrics
        specs = (setup.metrics[index] for index in self.route.indices)
        return tuple(MetricInfo(spec.title, "", None, metric=spec.name) for spec in specs)

    async def score(self, setup: EvaluationSetup, item: EvaluationItem) -> ConversationScores:
        """Return the scores of its metrics; where it answers nothing, they have all failed."""
        if isinstance(self.session, Failure):
            return self._failed(setup, item, self.session)
        try:
            return await self.session.score(self.route.part_of_item(item))
        except Exception as error:
            return self._failed(setup, item, failure_from(error))

    def _failed(
        self, setup: EvaluationSetup, item: EvaluationItem, failure: Failure
    ) -> ConversationScores:
        titles = [setup.metrics[index].title for index in self.route.applied(item)]
        scores = tuple(MetricScore(title, self._own(failure, title)) for title in titles)
        return ConversationScores(item.id, scores, Usage())

    def _own(self, failure: Failure, title: str) -> Failure:
        """Return `failure` as the failure of one metric's score."""
        remote = self.route.remote
        if remote is None:
            return failure
        metadata = {**failure.metadata, "evaluator": remote, "metric": title}
        return replace(
            failure, message=f"evaluator {remote!r}: {failure.message}", metadata=metadata
        )


def within_budget(opened: tuple[Part, ...], setup: EvaluationSetup) -> tuple[Route, ...]:
    """Return the routes with budgets such that all shares together are the evaluator's share.

    An evaluator takes `judge_calls / (turns + judge_calls)` of the budget that it is told, counting
    its own calls. To end with the fraction `own / (turns + all)` of the whole budget, it is told
    the fraction `(turns + own) / (turns + all)`; the simulator's share is not changed by it.
    """
    turns = setup.horizon_messages
    calls = [sum(info.judge_calls for info in one.metrics(setup)) for one in opened]
    whole = max(1, turns + sum(calls))
    return tuple(
        replace(one.route, budget=setup.budget.part(turns + own, whole))
        for one, own in zip(opened, calls, strict=True)
    )
