"""All metrics by name, and how a spec becomes a metric."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from foresight_services.core.errors import InvalidInput, Violation
from foresight_services.core.future import EvaluationSetup
from foresight_services.core.objective import MetricSpec
from foresight_services.core.ports import ChatModel, Metric
from foresight_services.core.suggest import one_of
from foresight_services.metrics.messages import Messages
from foresight_services.metrics.success import Success
from foresight_services.metrics.token_amount import TokenAmount


@dataclass(frozen=True, slots=True)
class Maker:
    """How a metric is made."""

    build: Callable[[MetricSpec, EvaluationSetup, ChatModel], Metric]
    """Makes the metric for one setup."""
    parameters: Mapping[str, tuple[str, ...]]
    """Its parameters and the values that each may take."""
    artifact: bool = False
    """Whether it can score an artifact extracted from the conversation."""


METRICS: Final[Mapping[str, Maker]] = MappingProxyType(
    {
        Success.name: Maker(Success, {}),
        Messages.name: Maker(Messages, {}),
        TokenAmount.name: Maker(TokenAmount, TokenAmount.parameters),
    }
)
"""Every metric by its name."""


class Catalog:
    """Builds metrics; implements the port `MetricCatalog`."""

    def __init__(self, *, judge: ChatModel) -> None:
        self._judge = judge

    def build(self, setup: EvaluationSetup) -> tuple[Metric, ...]:
        """Return the metrics of `setup`; InvalidInput lists every spec that is wrong."""
        violations = [
            violation
            for index, spec in enumerate(setup.metrics)
            for violation in _check(f"metrics[{index}]", spec)
        ]
        if not setup.metrics:
            violations.append(Violation("metrics", "is empty; name at least one metric"))
        if violations:
            raise InvalidInput(tuple(violations))
        return tuple(METRICS[spec.name].build(spec, setup, self._judge) for spec in setup.metrics)


def _check(path: str, spec: MetricSpec) -> list[Violation]:
    maker = METRICS.get(spec.name)
    if maker is None:
        return [Violation(f"{path}.name", one_of(spec.name, METRICS))]
    violations = []
    if spec.artifact and not maker.artifact:
        violations.append(
            Violation(f"{path}.artifact", f"{spec.name!r} scores the conversation itself")
        )
    for key, value in sorted(spec.parameters.items()):
        field = f"{path}.parameters.{key[:64]}"
        if key not in maker.parameters:
            known = one_of(key, maker.parameters) if maker.parameters else "takes no parameters"
            violations.append(Violation(field, known))
        elif not isinstance(value, str):
            violations.append(Violation(field, f"must be one of {maker.parameters[key]}"))
        elif value not in maker.parameters[key]:
            violations.append(Violation(field, one_of(value, maker.parameters[key])))
    return violations
