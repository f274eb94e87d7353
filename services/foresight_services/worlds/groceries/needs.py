"""What a shopper may need: the types, and the strict reader of the needs file.

The file is data that people edit, so every mistake in it is an error that says where it is. That
each sentence in it is also understood by the world's own reader is checked in `language.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

import yaml

_DEFAULT_FILE: Final = Path(__file__).with_name("needs.yaml")

NO_NEEDS: Final = "no preferences"
"""The goal of a shopper to whom nothing matters."""

Goal = Mapping[str, str]
"""The needs that matter to one shopper: need id -> name of the wanted value."""


@dataclass(frozen=True, slots=True)
class Value:
    """One thing that a shopper may want of a need."""

    name: str
    """Its name in a goal, unique within the need."""
    probability: float
    """Chance, above 0 and up to 1, that a shopper who cares wants this value."""
    says: str
    """The sentence in which the shopper states it."""
    heard_as: tuple[str, ...]
    """Phrases by which it is recognised in anybody's words."""


@dataclass(frozen=True, slots=True)
class Need:
    """One need: how it is asked about, what may be wanted, what is assumed."""

    id: str
    """Its name in a goal, unique in the file."""
    label: str
    """Completes "I don't mind about ..."."""
    question: str
    """The sentence in which a rule-based assistant asks about it."""
    matters: float
    """Chance, above 0 and below 1, that the shopper cares."""
    assumed: str
    """Name of the value that an order has when nobody stated one."""
    asked_by: tuple[str, ...]
    """Phrases by which a question about it is recognised."""
    values: tuple[Value, ...]
    """What may be wanted; the probabilities sum to 1."""

    def value(self, name: str) -> Value:
        """Return the value called `name`; its absence is a `KeyError`."""
        for value in self.values:
            if value.name == name:
                return value
        raise KeyError(name)

    @property
    def risk(self) -> float:
        """Chance, from 0 to 1, that the assumed value fails a shopper."""
        return self.matters * (1 - self.value(self.assumed).probability)


@dataclass(frozen=True, slots=True)
class Knowledge:
    """Everything that the needs file says."""

    impatience: float
    """Chance, from 0 to 1, that one needless question makes the shopper give up."""
    needs: tuple[Need, ...]
    """All needs, in the order in which they are asked, answered and listed."""


def load_knowledge(file: Path | None = None) -> Knowledge:
    """Read the needs file (the packaged one by default); a mistake in it is a `ValueError`."""
    path = file or _DEFAULT_FILE
    try:
        return decode_knowledge(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (ValueError, yaml.YAMLError) as error:
        raise ValueError(f"{path.name}: {error}") from error


def decode_knowledge(document: object) -> Knowledge:
    """Decode and check a parsed needs file; a mistake in it is a `ValueError`."""
    top = _record(document, Knowledge, "the file")
    impatience = _chance(top["impatience"], "impatience")
    needs = tuple(_need(entry, f"need {i}") for i, entry in enumerate(_entries(top, "needs"), 1))
    _reject_repeats([need.id for need in needs], "need id")
    return Knowledge(impatience, needs)


def _need(entry: object, where: str) -> Need:
    record = _record(entry, Need, where)
    where = f"need {record['id']!r}"
    values = tuple(_value(item, where) for item in _entries(record, "values"))
    names = [value.name for value in values]
    _reject_repeats(names, f"value of {where}")
    matters = _chance(record["matters"], f"{where}: matters")
    # Certainty either way would make an honest statement of the shopper impossible.
    if not 0 < matters < 1:
        raise ValueError(f"{where}: matters must be above 0 and below 1, not {matters}")
    if not math.isclose(total := sum(value.probability for value in values), 1, abs_tol=1e-9):
        raise ValueError(f"{where}: the probabilities of its values sum to {total:g}, not 1")
    need = Need(
        id=_name(record["id"], f"{where}: id"),
        label=_text(record["label"], f"{where}: label"),
        question=_text(record["question"], f"{where}: question"),
        matters=matters,
        assumed=_text(record["assumed"], f"{where}: assumed"),
        asked_by=_phrases(record["asked_by"], f"{where}: asked_by"),
        values=values,
    )
    if need.assumed not in names:
        raise ValueError(f"{where}: assumed must be one of {', '.join(names)}")
    return need


def _value(entry: object, where: str) -> Value:
    record = _record(entry, Value, f"a value of {where}")
    name = _name(record["name"], f"{where}: name of a value")
    where = f"{where}, value {name!r}"
    probability = _chance(record["probability"], f"{where}: probability")
    if probability == 0:
        raise ValueError(f"{where}: probability must be above 0")
    says = _text(record["says"], f"{where}: says")
    return Value(name, probability, says, _phrases(record["heard_as"], f"{where}: heard_as"))


def _record(entry: object, shape: type[Any], where: str) -> dict[str, Any]:
    expected = {field.name for field in fields(shape)}
    if not isinstance(entry, dict):
        raise ValueError(f"{where} must have the keys {', '.join(sorted(expected))}")
    if unknown := entry.keys() - expected:
        raise ValueError(f"{where}: unknown key {min(map(str, unknown))!r}")
    if missing := expected - entry.keys():
        raise ValueError(f"{where}: missing key {min(missing)!r}")
    return entry


def _entries(record: dict[str, Any], key: str) -> list[object]:
    entries = record[key]
    if not isinstance(entries, list) or not entries:
        raise ValueError(f"{key} must be a list with at least one entry")
    return entries


def _text(entry: object, where: str) -> str:
    if not isinstance(entry, str) or not entry.strip():
        raise ValueError(f"{where} must be text, not {entry!r}")
    return entry


def _name(entry: object, where: str) -> str:
    name = _text(entry, where)
    # A goal joins names with these two characters.
    if name != name.strip() or ":" in name or ";" in name:
        raise ValueError(f"{where} must have no ':', ';' or outer spaces, not {name!r}")
    return name


def _phrases(entry: object, where: str) -> tuple[str, ...]:
    if not isinstance(entry, list) or not entry:
        raise ValueError(f"{where} must be a list with at least one phrase")
    return tuple(_text(phrase, where) for phrase in entry)


def _chance(entry: object, where: str) -> float:
    if isinstance(entry, bool) or not isinstance(entry, int | float) or not 0 <= entry <= 1:
        raise ValueError(f"{where} must be a number from 0 to 1, not {entry!r}")
    return float(entry)


def _reject_repeats(names: list[str], what: str) -> None:
    seen: set[str] = set()
    for name in names:
        if name.casefold() in seen:
            raise ValueError(f"{what} {name!r} occurs twice")
        seen.add(name.casefold())
