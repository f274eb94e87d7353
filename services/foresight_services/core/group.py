"""Collects the scored futures of one request and makes them rewards."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import fsum

from foresight_services.core.aggregation import Row
from foresight_services.core.cache_use import CacheUse, Origins
from foresight_services.core.errors import Failure, Family, Reason, Upstream
from foresight_services.core.future import MetricInfo
from foresight_services.core.profiles import PROFILES
from foresight_services.core.request import RewardRequest
from foresight_services.core.result import (
    CandidateResult,
    FutureResult,
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

    def add(self, future: ScoredFuture) -> bool:
        """Take in one future; True when it was the last one of its candidate."""
        futures = self._futures[future.id.candidate]
        futures.append(FutureResult(future, self._objective(future)))
        return len(futures) == self._request.samples_max

    def usages(self) -> Iterator[Usage]:
        """Yield the usage of every future so far."""
        return (future.scored.usage for futures in self._futures for future in futures)

    def summary(self, usage: Usage) -> GroupSummary:
        """Return what holds for the group as a whole."""
        profile = self._profile
        values = self._aggregation.range
        return GroupSummary(
            profile.name, profile.version, self._metrics, values, usage, self._cache_use()
        )

    def _cache_use(self) -> CacheUse:
        """Count where futures and scores came from; what was given up came from nowhere."""
        ended = [
            future.scored
            for futures in self._futures
            for future in futures
            if not future.scored.abandoned
        ]
        return CacheUse(
            Origins.of(one.origin for one in ended),
            Origins.of(origin for one in ended for origin in one.origins),
        )

    def result(self, candidate: int, seconds: float) -> CandidateResult:
        """Return the candidate's reward, or its failure, from the futures that are in."""
        # By sample index, so that the result does not depend on the order of arrival.
        futures = sorted(self._futures[candidate], key=lambda future: future.scored.id.sample)
        rows = [_row(f.scored) for f in futures if not isinstance(f.objective, Failure)]
        return CandidateResult(
            index=candidate,
            outcome=self._outcome(futures, rows),
            n_ok=len(rows),
            n_requested=self._request.samples_max,
            metrics=tuple(self._metric(index, futures) for index in range(len(self._metrics))),
            futures=tuple(futures),
            usage=total((future.scored.usage for future in futures), seconds=seconds),
        )

    def _objective(self, future: ScoredFuture) -> float | Failure:
        failure = future.failure
        if failure is not None:
            return failure
        try:
            return self._aggregation.value(_row(future))
        except Upstream as error:
            return error.failure

    def _outcome(self, futures: list[FutureResult], rows: list[Row]) -> Reward | Failure:
        needed = self._request.samples_min
        if len(rows) >= needed:
            complete = len(rows) == self._request.samples_max
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


def _row(future: ScoredFuture) -> Row:
    """Return the scores of a future that no metric failed in."""
    return [s.outcome for s in future.scores if not isinstance(s.outcome, Failure)]
