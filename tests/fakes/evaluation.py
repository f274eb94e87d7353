"""Metrics that say what a test wants, and evaluations with them."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from foresight_services.core.errors import InvalidInput, Reason, Upstream, Violation
from foresight_services.core.evaluation import Evaluation
from foresight_services.core.future import (
    EvaluationItem,
    EvaluationSetup,
    FutureId,
    MetricInfo,
    Score,
    Wanted,
)
from foresight_services.core.objective import MetricSpec, Range
from foresight_services.core.ports import Clock, Extractor, Metric, MetricCatalog
from foresight_services.core.subject import Subject
from foresight_services.core.task import Task
from foresight_services.core.usage import Ledger
from tests.fakes.simulation import OPENING
from tests.fakes.virtual_time import LoopClock

Said = float | Score

Verdict = Callable[[EvaluationItem, Ledger], Said | Awaitable[Said]]

UNIT = Range(0.0, 1.0)


class StubMetric:
    """Scores by a function or with a constant; implements the port `Metric`."""

    def __init__(
        self,
        name: str,
        verdict: Verdict | Said,
        values: Range | None = UNIT,
        version: str = "1",
        *,
        judge_calls: int = 0,
        wants: Wanted | None = None,
        identity: str = "",
    ) -> None:
        """Make a metric; `wants` is an artifact that it asks for before it scores."""
        self.info = MetricInfo(name, version, values, judge_calls, identity=identity)
        self._verdict = verdict
        self._wants = wants

    async def score(self, subject: Subject) -> Score:
        """Return what the function says."""
        if self._wants is not None:
            await subject.artifact(self._wants)
        said = self._verdict
        if callable(said):
            answer = said(subject.item, subject.ledger)
            said = await answer if inspect.isawaitable(answer) else answer
        return said if isinstance(said, Score) else Score(said)


class StubCatalog:
    """Knows the metrics it is given; implements the port `MetricCatalog`."""

    def __init__(self, *metrics: StubMetric) -> None:
        self._metrics: Mapping[str, StubMetric] = {m.info.name: m for m in metrics}

    async def build(self, setup: EvaluationSetup) -> tuple[Metric, ...]:
        """Return the metrics of `setup`."""
        for index, spec in enumerate(setup.metrics):
            if spec.name not in self._metrics:
                raise InvalidInput((Violation(f"metrics[{index}].name", "unknown"),))
        return tuple(self._metrics[spec.name] for spec in setup.metrics)


class StubExtractor:
    """Finds the texts that it is given; implements the port `Extractor`."""

    def __init__(self, texts: Mapping[str, str] | None = None) -> None:
        """Know the text of every artifact in `texts`, and of no other."""
        self._texts = texts or {}
        self.asked: list[Wanted] = []
        """What it was asked for, in order."""

    async def extract(self, wanted: Wanted, subject: Subject) -> str:
        """Return the artifact's text."""
        self.asked.append(wanted)
        if wanted.artifact not in self._texts:
            raise Upstream(
                Reason.EXTRACTION_FAILED, "no such text", metadata={"artifact": wanted.artifact}
            )
        return self._texts[wanted.artifact]


def make_evaluation(
    *metrics: StubMetric,
    catalog: MetricCatalog | None = None,
    extractor: Extractor | None = None,
    clock: Clock | None = None,
) -> Evaluation:
    """Return an evaluation that knows `metrics`, or what `catalog` knows."""
    return Evaluation(
        catalog=catalog or StubCatalog(*metrics),
        extractor=extractor or StubExtractor(),
        clock=clock or LoopClock(),
    )


def subject_of(
    setup: EvaluationSetup,
    conversation: EvaluationItem | None = None,
    *,
    extractor: Extractor | None = None,
    ledger: Ledger | None = None,
    deadline: float | None = None,
) -> Subject:
    """Return a conversation of `setup` as metrics see it."""
    return Subject(
        setup,
        conversation or item(),
        ledger=ledger or Ledger(),
        extractor=extractor or StubExtractor(),
        deadline=deadline,
    )


def evaluation_setup(*names: str, **fields: Any) -> EvaluationSetup:
    """Return a setup for the metrics called `names`."""
    given: dict[str, Any] = {
        "task": Task(goal="the goal"),
        "prefix": OPENING,
        "candidates": ("Sure.", "No."),
        "metrics": tuple(MetricSpec(name) for name in names),
        "horizon_messages": 4,
        "max_message_tokens": 100,
        **fields,
    }
    return EvaluationSetup(**given)


def item(candidate: int = 0, sample: int = 0, goal: str = "the goal") -> EvaluationItem:
    """Return a conversation without a future."""
    return EvaluationItem(FutureId(candidate, sample), goal, ())
