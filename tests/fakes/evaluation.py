"""Metrics that say what a test wants, and evaluations with them."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from foresight_services.core.errors import InvalidInput, Violation
from foresight_services.core.future import EvaluationItem, EvaluationSetup, FutureId, MetricInfo
from foresight_services.core.objective import MetricSpec, Range
from foresight_services.core.ports import Metric
from foresight_services.core.task import Task
from foresight_services.core.usage import Ledger
from tests.fakes.simulation import OPENING

Verdict = Callable[[EvaluationItem, Ledger], float | Awaitable[float]]

UNIT = Range(0.0, 1.0)


class StubMetric:
    """Scores by a function or with a constant; implements the port `Metric`."""

    def __init__(
        self, name: str, verdict: Verdict | float, values: Range | None = UNIT, version: str = "1"
    ) -> None:
        self.info = MetricInfo(name, version, values)
        self._verdict = verdict

    async def score(self, item: EvaluationItem, ledger: Ledger) -> float:
        """Return what the function says."""
        if not callable(self._verdict):
            return self._verdict
        said = self._verdict(item, ledger)
        return await said if inspect.isawaitable(said) else said


class StubCatalog:
    """Knows the metrics it is given; implements the port `MetricCatalog`."""

    def __init__(self, *metrics: StubMetric) -> None:
        self._metrics: Mapping[str, StubMetric] = {m.info.name: m for m in metrics}

    def build(self, setup: EvaluationSetup) -> tuple[Metric, ...]:
        """Return the metrics of `setup`."""
        for index, spec in enumerate(setup.metrics):
            if spec.name not in self._metrics:
                raise InvalidInput((Violation(f"metrics[{index}].name", "unknown"),))
        return tuple(self._metrics[spec.name] for spec in setup.metrics)


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
