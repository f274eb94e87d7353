"""A group and its baseline: the candidates' results, each with its lift over the baseline.

A candidate's result is known when its own futures are in, and with a baseline when those of that
are in as well. The baseline is a group of its own, whose candidates are the responses that differ;
in results it has one row for each draw.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain

from foresight_services.core.baseline import Drawn
from foresight_services.core.baseline_futures import baseline_metrics, baseline_request
from foresight_services.core.cache_use import Origin
from foresight_services.core.comparison import Values
from foresight_services.core.errors import Failure
from foresight_services.core.future import FutureId, MetricInfo
from foresight_services.core.group import Group, cache_use, values_of
from foresight_services.core.lift import lift
from foresight_services.core.message_request import SampledMessage
from foresight_services.core.request import RewardRequest
from foresight_services.core.result import (
    CandidateResult,
    FutureResult,
    GroupSummary,
    Reward,
    ScoredFuture,
)
from foresight_services.core.usage import Usage, total


class LiftedGroup:
    """The candidates of one request and its baseline, filled future by future."""

    def __init__(self, request: RewardRequest, metrics: tuple[MetricInfo, ...]) -> None:
        """Bind the request's objective; see `Group`."""
        self._request = request
        self._metrics = metrics
        self._own = Group(request, metrics)
        self._first = len(request.candidates)
        self._drawn: Drawn | None = None
        self._responses: Group | None = None
        self._waiting = request.baseline is not None
        self._left = 0
        self._held: list[int] = []
        self._results: dict[str, CandidateResult] = {}
        self._rows: list[Values] = []
        self._whole = True

    def add(self, told: ScoredFuture | Drawn) -> Sequence[int]:
        """Take in a future, and what was asked for after it, or the draws of the baseline.

        Returns:
            The candidates whose results are known with it.
        """
        if isinstance(told, Drawn):
            return self._draw(told)
        if told.id.candidate >= self._first:
            return self._add_response(told)
        complete = self._own.add(told)
        if not self._waiting:
            return complete
        self._held.extend(complete)
        return ()

    def _draw(self, drawn: Drawn) -> Sequence[int]:
        self._drawn = drawn
        if not drawn.texts:
            return self._compare()
        metrics = baseline_metrics(self._request, self._metrics, drawn)
        self._responses = Group(baseline_request(self._request, drawn.texts), metrics)
        self._left = len(drawn.texts)
        return ()

    def _add_response(self, told: ScoredFuture) -> Sequence[int]:
        assert self._responses is not None, "futures of a baseline come after its draws"
        asked = tuple(FutureId(which.candidate - self._first, which.sample) for which in told.asked)
        local = FutureId(told.id.candidate - self._first, told.id.sample)
        self._left -= len(self._responses.add(replace(told, id=local, asked=asked)))
        return () if self._left else self._compare()

    def _compare(self) -> Sequence[int]:
        """Take the baseline as it is; return the candidates that waited for it."""
        assert self._drawn is not None, "there is nothing to compare with before the draws"
        self._waiting = False
        if self._responses is not None:
            for position, text in enumerate(self._drawn.texts):
                self._results[text] = self._responses.result(position, 0.0)
        for sample in self._drawn.samples:
            if isinstance(sample.outcome, Failure):
                self._whole = False
                continue
            result = self._results[sample.outcome]
            rewarded = isinstance(result.outcome, Reward)
            self._whole = self._whole and rewarded and result.status == "complete"
            if rewarded:
                self._rows.append(values_of(result.futures))
        return tuple(self._held)

    def result(self, candidate: int, seconds: float) -> CandidateResult:
        """Return the candidate's reward with its lift, or its failure."""
        result = self._own.result(candidate, seconds)
        if self._request.baseline is None:
            return result
        outcome = result.outcome
        if not isinstance(outcome, Failure):
            above = lift(values_of(result.futures), self._rows, value_range=self._value_range())
            outcome = replace(outcome, lift=above)
        return replace(result, outcome=outcome, whole=self._whole)

    def _value_range(self) -> tuple[float, float] | None:
        """Return what objectives of candidates and responses can be; None where unknown."""
        own = self._own.value_range
        theirs = own if self._responses is None else self._responses.value_range
        if own is None or theirs is None:
            return None
        return min(own[0], theirs[0]), max(own[1], theirs[1])

    def usages(self) -> Iterator[Usage]:
        """Yield the usage of every future and every draw so far."""
        responses = () if self._responses is None else self._responses.usages()
        draws = () if self._drawn is None else (one.usage for one in self._drawn.samples)
        return chain(self._own.usages(), responses, draws)

    def summary(self, usage: Usage) -> GroupSummary:
        """Return what holds for the group as a whole."""
        summary = self._own.summary(usage)
        if self._drawn is None:
            return summary
        rows = tuple(self._row_results(self._drawn, usage.seconds))
        futures = chain(self._own.futures(), *(row.futures for row in rows))
        return replace(summary, baseline=rows, cache=cache_use(futures))

    def _row_results(self, drawn: Drawn, seconds: float) -> Iterator[CandidateResult]:
        told: set[str] = set()
        for sample in drawn.samples:
            said = sample.outcome
            if isinstance(said, Failure):
                yield _not_drawn(sample, said, seconds)
                continue
            result = self._results[said]
            futures = result.futures if said not in told else tuple(map(_again, result.futures))
            told.add(said)
            usages = (sample.usage, *(future.scored.usage for future in futures))
            yield replace(
                result,
                index=sample.index,
                response=said,
                futures=futures,
                usage=total(usages, seconds=seconds),
            )


def _not_drawn(sample: SampledMessage, failure: Failure, seconds: float) -> CandidateResult:
    """Return the row of a response that there is not."""
    usage = replace(sample.usage, seconds=seconds)
    return CandidateResult(sample.index, failure, 0, 0, (), (), usage)


def _again(future: FutureResult) -> FutureResult:
    """Return a future of a response for a row that has the same text as an earlier one."""
    scored = future.scored
    if scored.abandoned:
        return future

    def shared(origin: Origin) -> Origin:
        return Origin.SHARED if origin is Origin.COMPUTED else origin

    return replace(
        future,
        scored=replace(
            scored,
            usage=Usage(),
            cost=scored.cost or scored.usage,
            origin=shared(scored.origin),
            origins=tuple(map(shared, scored.origins)),
        ),
    )
