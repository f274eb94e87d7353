"""Metrics of installed packages, found by their entry points in the group `foresight.metrics`.

All are loaded when the evaluator starts. A package whose metric cannot be used stops the start, for
a reward without it would be another reward. What goes wrong later, while such a metric scores, is
the failure of that score alone, and nothing that is not a score leaves it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import Final

from foresight_services.core.errors import (
    DomainError,
    InvalidInput,
    Precondition,
    Reason,
    Upstream,
    Violation,
)
from foresight_services.core.future import (
    Direction,
    EvaluationSetup,
    MetricInfo,
    Score,
    Verdict,
)
from foresight_services.core.objective import MetricSpec, Range
from foresight_services.core.ports import Metric
from foresight_services.core.subject import Subject
from foresight_services.metrics.definition import Build, Definition, Parameter, Prepared
from foresight_services.metrics.tools import Tools

GROUP: Final = "foresight.metrics"
"""The group of entry points; an entry's name is the metric's, its value a `Definition`."""

FIELD: Final = "evaluator.plugins"
"""The setting that a broken package is told under."""

_log: Final = logging.getLogger(__name__)

_LONGEST_PROBLEM: Final = 300


def load_definitions(
    shipped: Mapping[str, Definition], *, enabled: bool
) -> Mapping[str, Definition]:
    """Return the metrics that ship and, if `enabled`, those of installed packages.

    Raises:
        InvalidInput: naming the package and the entry point of every metric that cannot be used.
    """
    if not enabled:
        return shipped
    found = sorted(entry_points(group=GROUP), key=lambda entry: (entry.name, _package(entry)))
    definitions = dict(shipped)
    providers = dict.fromkeys(shipped, "Foresight")
    violations = []
    for entry in found:
        try:
            if entry.name in providers:
                raise _Unfit(f"the name is taken by {providers[entry.name]}")
            definitions[entry.name] = _guarded(_with_its_package(_loaded(entry), entry))
            providers[entry.name] = _package(entry)
        except (Exception, SystemExit) as error:
            where = f"{_package(entry)}, entry point {entry.name!r} ({entry.value})"
            violations.append(Violation(FIELD, f"{where}: {_in_one_line(error)}"))
    if violations:
        raise InvalidInput(tuple(violations))
    return MappingProxyType(definitions)


class _Unfit(Exception):
    """Why an entry point is no metric."""


def _package(entry: EntryPoint) -> str:
    """Return the distribution that `entry` comes from, as an operator knows it."""
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else "a package"


def _with_its_package(definition: Definition, entry: EntryPoint) -> Definition:
    """Return `definition` with its package among the libraries: another one scores otherwise."""
    if entry.dist is None:
        return definition
    return replace(definition, libraries=(*definition.libraries, entry.dist.name))


def _in_one_line(error: BaseException) -> str:
    text = str(error) if isinstance(error, _Unfit) else f"{type(error).__name__}: {error}"
    return " ".join(text.split())[:_LONGEST_PROBLEM]


def _loaded(entry: EntryPoint) -> Definition:
    definition = entry.load()
    if not isinstance(definition, Definition):
        raise _Unfit(f"is of type {type(definition).__name__}; must be a Definition")
    if definition.name != entry.name:
        raise _Unfit(f"defines {definition.name!r}; must be called as the entry point is")
    for problem in _problems(definition):
        raise _Unfit(problem)
    return definition


def _problems(definition: Definition) -> Iterator[str]:
    """Yield what is wrong with the fields of `definition`, which nobody need have type-checked."""
    version, parameters = _seen(definition.version), _seen(definition.parameters)
    if not callable(definition.build):
        yield "build must be callable"
    if not _is_text(version) or not version:
        yield "version must be a text that is not empty"
    if not _is_text(definition.unit):
        yield "unit must be a text"
    if not isinstance(_seen(definition.direction), Direction):
        yield "direction must be a Direction"
    if not isinstance(parameters, Mapping) or not all(map(_is_parameter, parameters.items())):
        yield "parameters must map names to Parameters"


def _is_parameter(entry: tuple[object, object]) -> bool:
    return _is_text(entry[0]) and isinstance(entry[1], Parameter)


def _seen(value: object) -> object:
    """Return `value` as what it is, whatever it is declared to be."""
    return value


def _guarded(definition: Definition) -> Definition:
    """Return `definition` with what it builds kept from harming anything but its own scores."""
    return replace(definition, build=_guarded_build(definition.name, definition.build))


def _guarded_build(name: str, build: Build) -> Build:
    def guarded(spec: MetricSpec, setup: EvaluationSetup, tools: Tools) -> Metric:
        try:
            metric = build(spec, setup, tools)
            if not _is_info(metric.info):
                raise TypeError(f"{name}: info is no MetricInfo with a valid range")
        except DomainError:
            raise
        except (Exception, SystemExit) as error:
            raise _unavailable(name) from _logged(name, error)
        kind = _GuardedPrepared if isinstance(metric, Prepared) else _Guarded
        return kind(name, metric)

    return guarded


def _unavailable(name: str) -> Precondition:
    return Precondition(
        Reason.METRIC_UNAVAILABLE,
        f"{name}: the plug-in could not make the metric; the evaluator's log has the details",
        metadata={"metric": name, "needs": "a plug-in without this defect"},
    )


def _logged(name: str, error: BaseException) -> BaseException:
    _log.error("the plug-in's metric %s cannot be used", name, exc_info=error)
    return error


class _Guarded:
    """A plug-in's metric whose scores are scores; implements the port `Metric`."""

    def __init__(self, name: str, metric: Metric) -> None:
        self._name = name
        self._metric = metric
        self.info = metric.info

    async def score(self, subject: Subject) -> Score:
        """Return the metric's score; METRIC_FAILED where what it returns is none."""
        try:
            score = await self._metric.score(subject)
        except SystemExit as error:
            # Left alone, it would end the process and everybody's scores with it.
            _log.error("the plug-in's metric %s tried to exit", self._name)
            raise self._failed("tried to end the process") from error
        problem = _score_problem(score)
        if problem is not None:
            raise self._failed(problem)
        return score

    def _failed(self, problem: str) -> Upstream:
        name = self.info.name
        return Upstream(Reason.METRIC_FAILED, f"{name}: {problem}", metadata={"metric": name})


class _GuardedPrepared(_Guarded):
    """The same for a metric that has something to do before it can score."""

    async def prepare(self) -> None:
        """Get the metric ready; see `Prepared`."""
        assert isinstance(self._metric, Prepared)
        try:
            await self._metric.prepare()
        except DomainError:
            raise
        except (Exception, SystemExit) as error:
            raise _unavailable(self._name) from _logged(self._name, error)


def _is_info(info: object) -> bool:
    if not isinstance(info, MetricInfo):
        return False
    calls, values = _seen(info.judge_calls), _seen(info.range)
    if not isinstance(calls, int) or calls < 0:
        return False
    if not isinstance(values, Range):
        return values is None
    return _is_number(values.low) and _is_number(values.high) and values.low <= values.high


def _score_problem(score: object) -> str | None:
    """Return why `score` is none, or None; that it is finite and in range is checked for all."""
    if not isinstance(score, Score):
        return f"returned {type(score).__name__} in place of a Score"
    if not _is_float(score.value):
        return f"returned a Score whose value, of type {type(score.value).__name__}, is no float"
    if not (score.spread is None or _is_number(score.spread)):
        return "returned a Score whose spread is no finite number"
    verdicts, parts = _seen(score.verdicts), _seen(score.parts)
    if not (isinstance(verdicts, tuple) and all(map(_is_verdict, verdicts))):
        return "returned a Score whose verdicts are no tuple of Verdicts"
    if not (isinstance(parts, Mapping) and all(map(_is_part, parts.items()))):
        return "returned a Score whose parts do not map names to finite numbers"
    return None


def _is_float(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, float | int):
        return False
    try:
        float(value)
    except OverflowError:
        return False
    return True


def _is_number(value: object) -> bool:
    return _is_float(value) and isinstance(value, float | int) and math.isfinite(value)


def _is_text(value: object) -> bool:
    """Return whether `value` is a text that can travel: half a surrogate pair cannot."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_verdict(said: object) -> bool:
    return (
        isinstance(said, Verdict)
        and _is_number(said.score)
        and _is_text(said.rationale)
        and _is_text(said.raw)
    )


def _is_part(part: tuple[object, object]) -> bool:
    return _is_text(part[0]) and _is_number(part[1])
