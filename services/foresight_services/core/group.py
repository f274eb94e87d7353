"""Collects the scored futures of one request and makes them rewards."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import fsum

from foresight_services.core.errors import Failure, Family, Reason
from foresight_services.core.estimator import estimate
from foresight_services.core.future import MetricInfo
from foresight_services.core.objective import PROFILES, Range
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
        self._request = request
        self._metrics = metrics
        self._profile = PROFILES[request.objective.profile]
        self._weights = tuple(spec.weight for spec in request.objective.metrics)
        ranges = tuple(metric.range for metric in metrics)
        self._range = self._profile.value_range(self._weights, ranges)
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
        return GroupSummary(profile.name, profile.version, self._metrics, self._range, usage)

    def result(self, candidate: int, seconds: float) -> CandidateResult:
        """Return the candidate's reward, or its failure, from the futures that are in."""
        # By sample index, so that the result does not depend on the order of arrival.
        futures = sorted(self._futures[candidate], key=lambda future: future.scored.id.sample)
        values = [f.objective for f in futures if not isinstance(f.objective, Failure)]
        return CandidateResult(
            index=candidate,
            outcome=self._outcome(futures, values),
            n_ok=len(values),
            n_requested=self._request.samples_max,
            metrics=tuple(self._metric(index, futures) for index in range(len(self._metrics))),
            futures=tuple(futures),
            usage=total((future.scored.usage for future in futures), seconds=seconds),
        )

    def _objective(self, future: ScoredFuture) -> float | Failure:
        failure = future.failure
        if failure is not None:
            return failure
        scores = [score.outcome for score in future.scores if isinstance(score.outcome, float)]
        value = self._profile.value(self._weights, scores)
        return _clip(value, self._range)

    def _outcome(self, futures: list[FutureResult], values: list[float]) -> Reward | Failure:
        needed = self._request.samples_min
        if len(values) >= needed:
            bounds = None if self._range is None else (self._range.low, self._range.high)
            complete = len(values) == self._request.samples_max
            return Reward(estimate(values, value_range=bounds), complete)
        failures = [f.objective for f in futures if isinstance(f.objective, Failure)]
        first = failures[0]
        counts = f"{len(values)} of {len(futures)} futures succeeded, at least {needed} are needed"
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
                "n_ok": str(len(values)),
                "min_samples": str(needed),
                "first_error": first.reason.value,
            },
        )

    def _metric(self, index: int, futures: list[FutureResult]) -> MetricSummary:
        outcomes = [f.scored.scores[index].outcome for f in futures if f.scored.scores]
        values = [outcome for outcome in outcomes if not isinstance(outcome, Failure)]
        mean = fsum(values) / len(values) if values else None
        return MetricSummary(
            self._metrics[index].name, mean, len(values), len(outcomes) - len(values)
        )


def _clip(value: float, bounds: Range | None) -> float:
    """Take rounding out of an objective, so that it lies in its range."""
    return value if bounds is None else min(max(value, bounds.low), bounds.high)
