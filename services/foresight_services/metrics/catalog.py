"""All metrics by name, and how a spec becomes a metric."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from foresight_services.core.errors import InvalidInput, Violation
from foresight_services.core.future import EvaluationSetup, MetricInfo, Score
from foresight_services.core.ports import Metric
from foresight_services.core.subject import Subject
from foresight_services.core.suggest import one_of
from foresight_services.metrics import (
    accuracy,
    bertscore,
    bleu,
    bleu_word,
    exact_match,
    helpfulness,
    interactivity,
    json_schema,
    math_equal,
    messages,
    pass_rate,
    preference,
    regex,
    rm_score,
    rouge,
    rubric,
    success,
    token_amount,
)
from foresight_services.metrics.artifact import wanted_by
from foresight_services.metrics.definition import Definition, Prepared
from foresight_services.metrics.tools import Tools

SHIPPED: Final[Mapping[str, Definition]] = MappingProxyType(
    {
        definition.name: definition
        for definition in (
            accuracy.DEFINITION,
            bertscore.DEFINITION,
            bleu.DEFINITION,
            bleu_word.DEFINITION,
            exact_match.DEFINITION,
            helpfulness.DEFINITION,
            interactivity.DEFINITION,
            json_schema.DEFINITION,
            math_equal.DEFINITION,
            messages.DEFINITION,
            pass_rate.DEFINITION,
            preference.DEFINITION,
            regex.DEFINITION,
            rm_score.DEFINITION,
            rouge.DEFINITION,
            rubric.DEFINITION,
            success.DEFINITION,
            token_amount.DEFINITION,
        )
    }
)
"""Every metric that ships, by its name."""


class Catalog:
    """Builds metrics; implements the port `MetricCatalog`."""

    def __init__(self, *, tools: Tools, definitions: Mapping[str, Definition] = SHIPPED) -> None:
        self._tools = tools
        self._definitions = definitions

    async def build(self, setup: EvaluationSetup) -> tuple[Metric, ...]:
        """Return the metrics of `setup`; InvalidInput lists every spec that is wrong."""
        violations: dict[Violation, None] = {}
        for index, spec in enumerate(setup.metrics):
            definition = self._definitions.get(spec.name)
            path = f"metrics[{index}]"
            if definition is None:
                unknown = Violation(f"{path}.name", one_of(spec.name, self._definitions))
                violations[unknown] = None
            else:
                violations.update(dict.fromkeys(definition.violations(path, spec, setup)))
        if not setup.metrics:
            violations[Violation("metrics", "is empty; name at least one metric")] = None
        if violations:
            raise InvalidInput(tuple(violations))
        return await self._built(setup)

    async def _built(self, setup: EvaluationSetup) -> tuple[Metric, ...]:
        metrics: list[Metric] = []
        extracted = set()
        for index, spec in enumerate(setup.metrics):
            definition = self._definitions[spec.name]
            try:
                metric = definition.build(spec, setup, self._tools)
                if isinstance(metric, Prepared):
                    await metric.prepare()
            except InvalidInput as error:
                raise _at(error, f"metrics[{index}]") from error
            info = replace(
                metric.info,
                name=spec.title,
                metric=spec.name,
                version=definition.version,
                unit=metric.info.unit or definition.unit,
                direction=definition.direction,
                identity=definition.identity(spec, metric.info.identity, self._tools),
            )
            wanted = wanted_by(spec, setup.task)
            if wanted is not None and wanted not in extracted:
                extracted.add(wanted)
                info = replace(info, judge_calls=info.judge_calls + 1)
            metrics.append(Labelled(metric, info))
        return tuple(metrics)


class Labelled:
    """A metric under the name that its spec gives it; implements the port `Metric`."""

    def __init__(self, metric: Metric, info: MetricInfo) -> None:
        self._metric = metric
        self.info = info

    async def score(self, subject: Subject) -> Score:
        """Return the metric's score."""
        return await self._metric.score(subject)


def _at(error: InvalidInput, path: str) -> InvalidInput:
    """Return `error` with the field `metric` written as `path`."""
    return InvalidInput(
        tuple(
            Violation(path + v.field.removeprefix("metric"), v.description)
            if v.field.startswith("metric.") or v.field == "metric"
            else v
            for v in error.violations
        )
    )
