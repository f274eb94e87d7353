"""Score conversations with metrics; each metric fails on its own."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

from foresight_services.core import checks
from foresight_services.core.budget import Account, divide, open_account, purse_of
from foresight_services.core.deadline import until
from foresight_services.core.errors import Reason, Upstream, Violation, failure_from
from foresight_services.core.estimator import LARGEST
from foresight_services.core.future import (
    ConversationScores,
    EvaluationItem,
    EvaluationSetup,
    MetricInfo,
    MetricScore,
    Score,
)
from foresight_services.core.ports import Clock, Extractor, Metric, MetricCatalog
from foresight_services.core.subject import Subject
from foresight_services.core.usage import Ledger

RANGE_TOLERANCE = 1e-9
"""How far a score may lie outside its metric's range, relative to the range, by rounding."""


def _violations(setup: EvaluationSetup) -> Iterator[Violation]:
    yield from checks.prefix(setup.prefix)
    yield from checks.candidates(setup.candidates)
    yield from checks.budget(setup.budget)
    yield from checks.integer("horizon_messages", setup.horizon_messages, 0, checks.MAX_HORIZON)
    yield from checks.integer(
        "max_message_tokens", setup.max_message_tokens, 1, checks.MAX_MESSAGE_TOKENS
    )


class Evaluation:
    """Judges conversations; implements the port `Evaluator`."""

    def __init__(self, *, catalog: MetricCatalog, extractor: Extractor, clock: Clock) -> None:
        self._catalog = catalog
        self._extractor = extractor
        self._clock = clock

    @asynccontextmanager
    async def open(
        self, setup: EvaluationSetup, *, deadline: float | None = None
    ) -> AsyncIterator[LocalSession]:
        """Check `setup` and return a session; see the port."""
        checks.require(_violations(setup))
        async with until(deadline, self._clock):
            metrics = await self._catalog.build(setup)
        account = _account(setup, metrics)
        yield LocalSession(setup, metrics, self._extractor, self._clock, deadline, account)


def _account(setup: EvaluationSetup, metrics: tuple[Metric, ...]) -> Account | None:
    """Return the account of the judge's share of the budget; None where there is no limit."""
    judge_calls = sum(metric.info.judge_calls for metric in metrics)
    shares = divide(setup.budget, turns=setup.horizon_messages, judge_calls=judge_calls)
    return open_account(shares.evaluator)


class LocalSession:
    """Scores conversations in this process; implements the port `EvaluationSession`."""

    def __init__(
        self,
        setup: EvaluationSetup,
        metrics: tuple[Metric, ...],
        extractor: Extractor,
        clock: Clock,
        deadline: float | None,
        account: Account | None = None,
    ) -> None:
        self._setup = setup
        self._metrics = metrics
        self._extractor = extractor
        self._clock = clock
        self._deadline = deadline
        self._account = account

    @property
    def metrics(self) -> tuple[MetricInfo, ...]:
        """The metrics as they are applied."""
        return tuple(metric.info for metric in self._metrics)

    async def score(self, item: EvaluationItem) -> ConversationScores:
        """Return the scores of one conversation, its metrics run at once."""
        start = self._clock.now()
        which = item.id
        metrics = [self._metrics[index] for index in self._setup.applied(item)]
        with purse_of(self._account, sample=which.sample, candidate=which.candidate) as purse:
            ledger = Ledger(purse)
            subject = Subject(
                self._setup,
                item,
                ledger=ledger,
                extractor=self._extractor,
                deadline=self._deadline,
            )
            async with subject:
                scores = await asyncio.gather(*(self._score(metric, subject) for metric in metrics))
                artifacts = subject.extracted
        seconds = self._clock.now() - start
        usage = ledger.usage(messages=0, seconds=seconds)
        return ConversationScores(item.id, tuple(scores), usage, artifacts)

    async def _score(self, metric: Metric, subject: Subject) -> MetricScore:
        """Return the metric's score, or its failure."""
        name = metric.info.name
        try:
            async with until(self._deadline, self._clock):
                score = await metric.score(subject)
            value = float(score.value)
            check_score(metric.info, value)
            _check_details(metric.info, score)
        except Exception as error:
            return MetricScore(name, failure_from(error))
        return MetricScore(name, value, score.spread, score.verdicts, score.parts)


def _check_details(info: MetricInfo, score: Score) -> None:
    """Raise Upstream where a number beside the score is none."""
    if score.spread is None and not score.parts and not score.verdicts:
        return
    numbers = {**score.parts, "spread": score.spread or 0.0}
    wrong = next((name for name, number in numbers.items() if not math.isfinite(number)), None)
    if wrong is None and all(math.isfinite(verdict.score) for verdict in score.verdicts):
        return
    raise Upstream(
        Reason.METRIC_FAILED,
        f"{info.name}: {wrong or 'a verdict'} is no finite number",
        metadata={"metric": info.name},
    )


def check_score(info: MetricInfo, value: float) -> None:
    """Raise Upstream where `value` is not a score of the metric: no number to reckon with, or out
    of its range."""
    if abs(value) <= LARGEST:  # also refuses NaN
        if info.range is None:
            return
        slack = RANGE_TOLERANCE * (info.range.high - info.range.low)
        if info.range.low - slack <= value <= info.range.high + slack:
            return
    expected = "a finite number" if info.range is None else f"{info.range.low} to {info.range.high}"
    raise Upstream(
        Reason.METRIC_FAILED,
        f"{info.name}: scored {value}, expected {expected}",
        metadata={"metric": info.name},
    )
