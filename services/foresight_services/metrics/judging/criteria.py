"""Criteria of a rubric: how requests write them, and how the judge is shown them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from foresight_services.core.errors import Violation
from foresight_services.core.objective import JsonValue, Range
from foresight_services.core.suggest import one_of
from foresight_services.metrics.definition import Parameter
from foresight_services.metrics.judging.verdict import REASONS
from foresight_services.metrics.judging.votes import FAILED_VOTES

MAX_CRITERIA: Final = 16
MAX_ANCHORS: Final = 16
MAX_CHARACTERS: Final = 4000

_LARGEST: Final = 1e9
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}", re.ASCII)
_NUMBER: Final = re.compile(r"-?[0-9]{1,12}(?:\.[0-9]{1,12})?")
_TAKEN: Final = frozenset({*REASONS, FAILED_VOTES})
_MEMBERS: Final[Mapping[str, Parameter]] = MappingProxyType(
    {
        "name": Parameter(required=True),
        "description": Parameter(required=True),
        "low": Parameter("number", low=-_LARGEST, high=_LARGEST),
        "high": Parameter("number", low=-_LARGEST, high=_LARGEST),
        "anchors": Parameter("mapping"),
        "weight": Parameter("number", low=0.0, high=_LARGEST),
    }
)


@dataclass(frozen=True, slots=True)
class Criterion:
    """One thing that is judged."""

    name: str
    """Its key in the verdict."""
    description: str
    """What it asks, in plain words."""
    range: Range = Range(0.0, 1.0)
    """The scores that it can get; the high end is the good one."""
    anchors: tuple[tuple[float, str], ...] = ()
    """What single scores mean, in ascending order."""
    weight: float = 1.0
    """Its share of the rubric's score, relative to the others'."""

    def share(self, score: float) -> float:
        """Return `score` mapped to 0..1 by the range."""
        return (score - self.range.low) / (self.range.high - self.range.low)


def read_criteria(
    value: JsonValue, path: str
) -> tuple[tuple[Criterion, ...], tuple[Violation, ...]]:
    """Return the criteria that `value` lists, or all that is wrong with it, found at `path`."""
    if not isinstance(value, list | tuple) or not 1 <= len(value) <= MAX_CRITERIA:
        return (), (Violation(path, f"must be a list of 1 to {MAX_CRITERIA} criteria"),)
    violations: list[Violation] = []
    criteria: list[Criterion] = []
    for index, item in enumerate(value):
        found = tuple(_violations(item, f"{path}[{index}]"))
        violations += found
        if not found and isinstance(item, Mapping):
            criteria.append(_criterion(item))
    if not violations:
        violations += _joint_violations(criteria, path)
    return tuple(criteria), tuple(violations)


def as_text(criteria: tuple[Criterion, ...]) -> str:
    """Return the criteria as a prompt shows them, a line for each and for each of their anchors."""
    lines = []
    for criterion in criteria:
        low, high = _digits(criterion.range.low), _digits(criterion.range.high)
        lines.append(f"{criterion.name} ({low} to {high}): {_line(criterion.description)}")
        lines += [f"  {_digits(at)} = {_line(text)}" for at, text in criterion.anchors]
    return "\n".join(lines)


def _line(text: str) -> str:
    """Return `text` without line breaks, after which it could pass for the next criterion."""
    return " ".join(text.split())


def _digits(value: float) -> str:
    return f"{value:.15g}"


def _violations(item: JsonValue, path: str) -> Iterator[Violation]:
    if not isinstance(item, Mapping):
        yield Violation(path, "must be a mapping")
        return
    wrong = set()
    for key, value in sorted(item.items()):
        parameter = _MEMBERS.get(key)
        problem = one_of(key, _MEMBERS) if parameter is None else parameter.problem(value)
        if problem is None and isinstance(value, str):
            problem = _text_problem(key, value)
        if problem is not None:
            wrong.add(key)
            yield Violation(f"{path}.{key[:64]}", problem)
    for key, parameter in _MEMBERS.items():
        if parameter.required and key not in item:
            yield Violation(f"{path}.{key}", "is missing")
    if wrong & {"low", "high"}:
        return
    low, high = _number(item.get("low", 0.0)), _number(item.get("high", 1.0))
    if not low < high:
        yield Violation(f"{path}.high", f"is {high:g}; must be more than `low`, {low:g}")
    elif isinstance(anchors := item.get("anchors"), Mapping):
        yield from _anchor_violations(anchors, f"{path}.anchors", Range(low, high))


def _text_problem(key: str, text: str) -> str | None:
    if key == "name":
        if not _NAME.fullmatch(text):
            return "must be an identifier: a letter, then at most 39 letters, digits or `_`"
        return f"{text!r} is taken" if text.lower() in _TAKEN else None
    if not text.strip():
        return "is empty"
    return f"is longer than {MAX_CHARACTERS} characters" if len(text) > MAX_CHARACTERS else None


def _anchor_violations(
    anchors: Mapping[str, JsonValue], path: str, values: Range
) -> Iterator[Violation]:
    if len(anchors) > MAX_ANCHORS:
        yield Violation(path, f"has {len(anchors)} entries; at most {MAX_ANCHORS}")
    seen = set()
    for key, text in sorted(anchors.items()):
        at = f"{path}.{key[:64]}"
        if not _NUMBER.fullmatch(key) or not values.low <= float(key) <= values.high:
            yield Violation(at, f"must be a number from {values.low:g} to {values.high:g}")
        elif float(key) in seen:
            yield Violation(at, "is given twice")
        else:
            seen.add(float(key))
        problem = _text_problem("anchor", text) if isinstance(text, str) else "must be a text"
        if problem is not None:
            yield Violation(at, problem)


def _joint_violations(criteria: list[Criterion], path: str) -> Iterator[Violation]:
    first: dict[str, int] = {}
    for index, criterion in enumerate(criteria):
        # Keys of a verdict are read whatever their case.
        earlier = first.setdefault(criterion.name.lower(), index)
        if earlier != index:
            yield Violation(f"{path}[{index}].name", f"is the name of {path}[{earlier}] already")
    if not any(criterion.weight for criterion in criteria):
        yield Violation(path, "must have a weight above 0")


def _criterion(item: Mapping[str, JsonValue]) -> Criterion:
    """Return what `item`, already checked, says."""
    anchors = item.get("anchors")
    texts = anchors.items() if isinstance(anchors, Mapping) else ()
    return Criterion(
        name=str(item["name"]),
        description=str(item["description"]),
        range=Range(_number(item.get("low", 0.0)), _number(item.get("high", 1.0))),
        anchors=tuple(sorted((float(key), str(text)) for key, text in texts)),
        weight=_number(item.get("weight", 1.0)),
    )


def _number(value: JsonValue) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
