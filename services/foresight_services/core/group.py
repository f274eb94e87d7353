"""Collects the scored futures of one request and makes them rewards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from math import fsum

from foresight_services.core.aggregation import Row
from foresight_services.core.cache_use import CacheUse, Origins
from foresight_services.core.decision import Decision, decide, leads
from foresight_services.core.errors import Failure, Family, Reason, Upstream
from foresight_services.core.estimator import Estimate
from foresight_services.core.future import MetricInfo
from foresight_services.core.profiles import PROFILES
from foresight_services.core.request import RewardRequest
from foresight_services.core.result import (
    CandidateResult,
    FutureResult,
    GroupDecision,
    GroupSummary,
    MetricSummary,
    Reward,
    ScoredFuture,
)
from foresight_services.core.usage import Usage, total


class Group:
    """The candidates of one request, filled future by future."""

    def __init__(self, request: RewardRequest, metrics: tuple[MetricInfo, ...]) -> None:
        """Bind the request's objective to the metrics as they are applied, in its order.

        Raises:
            InvalidInput: where the objective asks of a metric what it does not have.
        """
        self._request = request
        self._metrics = metrics
        self._profile = PROFILES[request.objective.profile]
        ranges = tuple(metric.range for metric in metrics)
        self._aggregation = self._profile.bind(request.objective, ranges)
        self._futures: list[list[FutureResult]] = [[] for _ in request.candidates]
        self._asked = [request.samples_first for _ in request.candidates]
        self._coming = sum(self._asked)
        plan = request.plan
        self._together = plan is not None and plan.together
        self._cut_short = False
        self._decided: Decision | None = None
        self._leads: tuple[Estimate | None, ...] = (None,) * len(request.candidates)

    @property
    def value_range(self) -> tuple[float, float] | None:
        """The values that the objective can take; None where a metric has no bound."""
        values = self._aggregation.range
        return None if values is None else (values.low, values.high)

    def add(self, future: ScoredFuture) -> Sequence[int]:
        """Take in one future, and what was asked for after it.

        Returns:
            The candidates that have got their last future with it: where sampling joins them, all
            with the last one of the group.
        """
        candidate = future.id.candidate
        futures = self._futures[candidate]
        objective = self.objective(future)
        futures.append(FutureResult(future, objective))
        for which in future.asked:
            self._asked[which.candidate] += 1
        self._coming += len(future.asked) - 1
        if self._together:
            exhausted = isinstance(objective, Failure) and (
                objective.reason is Reason.BUDGET_EXHAUSTED
            )
            self._cut_short = self._cut_short or future.abandoned or exhausted
            if self._coming:
                return ()
            self._decide()
            return range(len(self._futures))
        return (candidate,) if len(futures) == self._asked[candidate] else ()

    def _decide(self) -> None:
        plan = self._request.plan
        if plan is None or plan.aim is None:
            return
        values = [values_of(futures) for futures in self._futures]
        self._decided = decide(values, plan.aim, plan.tolerance, self.value_range)
        if self._decided is not None:
            self._leads = leads(values, self._decided, self.value_range)

    def futures(self) -> Iterator[FutureResult]:
        """Yield every future so far."""
        return (future for futures in self._futures for future in futures)

    def usages(self) -> Iterator[Usage]:
        """Yield the usage of every future so far."""
        return (future.scored.usage for future in self.futures())

    def summary(self, usage: Usage) -> GroupSummary:
        """Return what holds for the group as a whole."""
        profile = self._profile
        values = self._aggregation.range
        best, behind = self._standing()
        return GroupSummary(
            profile.name,
            profile.version,
            self._metrics,
            values,
            usage,
            cache_use(self.futures()),
            None if self._decided is None else _told(self._decided),
            best,
            behind,
        )

    def _standing(self) -> tuple[int | None, tuple[Estimate | None, ...]]:
        """Return the best candidate, and by how much it leads each one."""
        if self._decided is not None:
            return self._decided.best, self._leads
        values = [values_of(futures) for futures in self._futures]
        decision = decide(values, "best", value_range=self.value_range)
        if decision is None:
            return None, ()
        return decision.best, leads(values, decision, self.value_range)

    def result(self, candidate: int, seconds: float) -> CandidateResult:
        """Return the candidate's reward, or its failure, from the futures that are in."""
        # By sample index, so that the result does not depend on the order of arrival.
        futures = sorted(self._futures[candidate], key=lambda future: future.scored.id.sample)
        rows = [_row(f.scored) for f in futures if not isinstance(f.objective, Failure)]
        return CandidateResult(
            index=candidate,
            outcome=self._outcome(futures, rows, self._asked[candidate]),
            n_ok=len(rows),
            n_requested=self._asked[candidate],
            metrics=tuple(self._metric(index, futures) for index in range(len(self._metrics))),
            futures=tuple(futures),
            usage=total((future.scored.usage for future in futures), seconds=seconds),
            behind_best=self._leads[candidate],
        )

    def objective(self, future: ScoredFuture) -> float | Failure:
        """Return the objective of the complete conversation, or why there is none."""
        failure = future.failure
        if failure is not None:
            return failure
        try:
            return self._aggregation.value(_row(future))
        except Upstream as error:
            return error.failure

    def _outcome(
        self, futures: list[FutureResult], rows: list[Row], asked: int
    ) -> Reward | Failure:
        needed = self._request.samples_min
        if len(rows) >= needed:
            complete = len(rows) == asked and not self._cut_short
            return Reward(self._aggregation.estimate(rows), complete)
        failures = [f.objective for f in futures if isinstance(f.objective, Failure)]
        first = failures[0]
        counts = f"{len(rows)} of {len(futures)} futures succeeded, at least {needed} are needed"
        for failure in failures:
            if failure.reason is Reason.BUDGET_EXHAUSTED:
                return replace(failure, message=f"{failure.message}: {counts}")
        if first.reason is Reason.DEADLINE_EXCEEDED:
            return Failure(Family.DEADLINE, first.reason, f"{first.message}: {counts}")
        return Failure(
            Family.UPSTREAM,
            Reason.TOO_FEW_FUTURES,
            f"{counts}; first failure: {first.message}",
            {
                "n_ok": str(len(rows)),
                "min_samples": str(needed),
                "first_error": first.reason.value,
            },
        )

    def _metric(self, index: int, futures: list[FutureResult]) -> MetricSummary:
        outcomes = [f.scored.scores[index].outcome for f in futures if f.scored.scores]
        values = [outcome for outcome in outcomes if not isinstance(outcome, Failure)]
        mean = fsum(values) / len(values) if values else None
        title = self._request.objective.metrics[index].title
        return MetricSummary(title, mean, len(values), len(outcomes) - len(values))


def cache_use(futures: Iterable[FutureResult]) -> CacheUse:
    """Count where futures and scores came from; what was given up came from nowhere."""
    ended = [future.scored for future in futures if not future.scored.abandoned]
    return CacheUse(
        Origins.of(one.origin for one in ended),
        Origins.of(origin for one in ended for origin in one.origins),
    )


def values_of(futures: Sequence[FutureResult]) -> list[float | None]:
    """Return the objectives by sample index, None where there is none."""
    values: list[float | None] = [None] * len(futures)
    for future in futures:
        if not isinstance(future.objective, Failure):
            values[future.scored.id.sample] = future.objective
    return values


def _told(decision: Decision) -> GroupDecision:
    return GroupDecision(
        decision.aim,
        decision.best,
        decision.ranking,
        decision.confidence,
        "product" if decision.aim == "best" else "bonferroni",
    )


def _row(future: ScoredFuture) -> Row:
    """Return the scores of a future that no metric failed in."""
    return [s.outcome for s in future.scores if not isinstance(s.outcome, Failure)]
