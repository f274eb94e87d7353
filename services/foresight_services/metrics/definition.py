"""What a metric is: how it is named, configured and made. Plug-ins define theirs the same way.

A plug-in is a package with an entry point in the group `foresight.metrics`, its name the metric's
and its value a `Definition`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal, Protocol, runtime_checkable

from foresight_services.core.cachekey import Keyed, digest, installed
from foresight_services.core.errors import Violation
from foresight_services.core.future import Direction, EvaluationSetup
from foresight_services.core.objective import JsonValue, MetricSpec
from foresight_services.core.ports import Metric
from foresight_services.core.suggest import one_of
from foresight_services.metrics.tools import ToolName, Tools

Kind = Literal["text", "number", "integer", "flag", "list", "mapping"]

_TYPES: Final[Mapping[Kind, tuple[type, ...]]] = {
    "text": (str,),
    "number": (float, int),
    "integer": (float, int),
    "flag": (bool,),
    "list": (list, tuple),
    "mapping": (dict, Mapping),
}
_ARTICLES: Final = {"text": "a text", "number": "a number", "integer": "a whole number"} | {
    "flag": "true or false",
    "list": "a list",
    "mapping": "a mapping",
}


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter that a metric takes."""

    kind: Kind = "text"
    """The type of its value."""
    choices: tuple[str, ...] = ()
    """The texts that it can be; empty for any."""
    low: float | None = None
    """Least number; None for no limit."""
    high: float | None = None
    """Greatest number; None for no limit."""
    required: bool = False
    """Whether it must be given."""
    default: JsonValue = None
    """The value that stands for its absence; None for none, and for false where it is a flag."""
    description: str = ""
    """One line for the documentation."""

    @property
    def absent(self) -> JsonValue:
        """The value that means the same as none."""
        return False if self.kind == "flag" and self.default is None else self.default

    def problem(self, value: JsonValue) -> str | None:
        """Return what is wrong with `value`, or None."""
        right = isinstance(value, _TYPES[self.kind])
        if right and self.kind in ("number", "integer"):
            return self._number_problem(value)
        if not right:
            wanted = f"one of {self.choices}" if self.choices else _ARTICLES[self.kind]
            return f"must be {wanted}"
        if self.choices and value not in self.choices:
            return one_of(str(value), self.choices)
        return None

    def _number_problem(self, value: JsonValue) -> str | None:
        if isinstance(value, bool) or not isinstance(value, float | int) or value != value:
            return f"must be {_ARTICLES[self.kind]}"
        if self.kind == "integer" and float(value) % 1:
            return f"is {value}; must be {_ARTICLES[self.kind]}"
        low, high = self.low, self.high
        if (low is not None and value < low) or (high is not None and value > high):
            limits = [f"at least {low:g}"] if low is not None else []
            limits += [f"at most {high:g}"] if high is not None else []
            return f"is {value:g}; must be {' and '.join(limits)}"
        return None


REQUIREMENT: Final = "requirement"
"""Parameter of every metric that scores an artifact: what the extraction has to meet."""

_REQUIREMENT: Final = Parameter(default="", description="what the extracted artifact has to meet")


@runtime_checkable
class Prepared(Protocol):
    """A metric that has something to do before it can score, such as trying its sandbox."""

    async def prepare(self) -> None:
        """Get ready; Precondition tells what is lacking."""
        ...


Build = Callable[[MetricSpec, EvaluationSetup, Tools], Metric]
"""Makes a metric for one setup, its spec already checked. InvalidInput names fields of the setup,
`metrics[i]` written as `metric`; Precondition tells what this evaluator lacks."""


@dataclass(frozen=True, slots=True)
class Definition:
    """A metric that specs can name."""

    name: str
    """Its name."""
    build: Build
    """Makes it for one setup."""
    version: str = "1"
    """Version of what it computes."""
    unit: str = ""
    """Unit of its scores; empty for a pure number."""
    direction: Direction = Direction.MORE
    """Which scores are the better ones."""
    parameters: Mapping[str, Parameter] = field(default_factory=lambda: MappingProxyType({}))
    """What it can be told, beside `requirement`."""
    artifact: bool = False
    """Whether it can score an artifact in place of what was said."""
    needs_reference: bool = False
    """Whether the task must have a reference."""
    uses: frozenset[ToolName] | None = None
    """The tools that its scores depend on, beside those of an extraction; None for all."""
    libraries: tuple[str, ...] = ()
    """Distributions whose versions its scores depend on; that of a plug-in is added."""

    @property
    def all_parameters(self) -> Mapping[str, Parameter]:
        """Its parameters, those that all metrics of its kind have included."""
        shared = {REQUIREMENT: _REQUIREMENT} if self.artifact else {}
        return {**shared, **self.parameters}

    def identity(self, spec: MetricSpec, own: str, tools: Tools) -> str:
        """Return what determines the scores of `spec`, as `MetricInfo.identity` has it.

        Args:
            spec: the metric as it was asked for, checked.
            own: what the metric itself says of its identity.
            tools: what it was built with.
        """
        uses = frozenset(tools.identities) if self.uses is None else self.uses
        if spec.artifact:
            uses = uses.union({"judge"})
        if not tools.identities or not uses.issubset(tools.identities):
            return ""
        known = self.all_parameters
        fields: Mapping[str, Keyed] = {
            "metric": self.name,
            "version": self.version,
            "own": own,
            "artifact": spec.artifact,
            "parameters": {
                key: value
                for key, value in spec.parameters.items()
                if key not in known or value != known[key].absent
            },
            "tools": {name: tools.identities[name] for name in sorted(uses)},
            "distribution": installed(("foresight",)),
            "libraries": installed(self.libraries),
        }
        return digest("identity", fields).hex()

    def violations(
        self, path: str, spec: MetricSpec, setup: EvaluationSetup
    ) -> Iterator[Violation]:
        """Yield what is wrong with `spec`, found at `path` in the setup."""
        if spec.artifact and not self.artifact:
            yield Violation(f"{path}.artifact", f"{spec.name!r} scores the conversation itself")
        if self.needs_reference and not setup.task.reference.strip():
            yield Violation("task.reference", f"is empty; the metric {spec.name!r} needs it")
        known = self.all_parameters
        for key, value in sorted(spec.parameters.items()):
            field = f"{path}.parameters.{key[:64]}"
            if key not in known:
                yield Violation(field, one_of(key, known) if known else "takes no parameters")
            elif (problem := known[key].problem(value)) is not None:
                yield Violation(field, problem)
        for key, parameter in known.items():
            if parameter.required and key not in spec.parameters:
                yield Violation(f"{path}.parameters.{key}", "is missing")
