"""Reads YAML and JSON as data alone: text, numbers, booleans, null, lists and mappings.

Plain values mean what they mean in YAML 1.2 and JSON: `yes` and `2026-01-31` are text and `1e-3` is
a number, as no writer of a conversation would expect otherwise. Files are untrusted, so anchors,
tags and deep nesting are errors, and so is a key that is given twice.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final, NoReturn

import yaml
from yaml import events

Value = None | bool | int | float | str | list["Value"] | dict[str, "Value"]

MAX_DEPTH: Final = 50
_TOO_DEEP: Final = f"is nested more than {MAX_DEPTH} levels deep"

_INTEGER: Final = re.compile(r"[-+]?[0-9]{1,100}")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS: Final[dict[str, Value]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
# The C parser is ten times faster, but not part of every build.
_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class DocumentError(Exception):
    """A text is not a document; says what is wrong and where."""


def parse_document(text: str) -> Value:
    """Return what `text`, YAML or JSON, holds. Raises DocumentError."""
    if text.lstrip()[:1] in ("{", "["):
        # Not all of JSON is YAML: characters beyond 16 bits are escaped as two halves.
        try:
            return _check_depth(_parse_json(text))
        except ValueError:
            pass  # YAML has a compact form that starts alike, and tells better what is wrong
        except RecursionError:
            raise DocumentError(_TOO_DEEP) from None
    try:
        return _Reader(yaml.parse(text, Loader=_LOADER)).document()
    except yaml.MarkedYAMLError as error:
        raise DocumentError(f"is not YAML: {error.problem or error.context}{_at(error)}") from error
    except yaml.YAMLError as error:
        raise DocumentError(f"is not YAML: {' '.join(str(error).split())}") from error


def _parse_json(text: str) -> Value:
    value: Value = json.loads(
        text, object_pairs_hook=_object, parse_int=_number, parse_constant=_refuse_constant
    )
    return value


def _check_depth(value: Value) -> Value:
    level: list[Value] = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [
            entry
            for parent in level
            if isinstance(parent, dict | list)
            for entry in (parent.values() if isinstance(parent, dict) else parent)
        ]
        if not level:
            return value
    raise DocumentError(_TOO_DEEP)


def _object(pairs: list[tuple[str, Value]]) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for key, value in pairs:
        if key in found:
            raise DocumentError(f"has the key {key[:64]!r} twice in one mapping")
        found[key] = value
    return found


def _number(text: str) -> int | float:
    # Python refuses to read integers of many thousand digits; nothing here has a use for them.
    return int(text) if len(text) <= 100 else float(text)


def _refuse_constant(text: str) -> NoReturn:
    raise DocumentError(f"has the number {text}, which JSON has not")


class _Reader:
    """Builds values from the events of the YAML parser."""

    def __init__(self, stream: Iterator[events.Event]) -> None:
        self._events = stream

    def document(self) -> Value:
        next(self._events)
        if isinstance(next(self._events), events.StreamEndEvent):
            return None
        value = self._node(next(self._events), 0)
        next(self._events)
        after = next(self._events)
        if not isinstance(after, events.StreamEndEvent):
            raise DocumentError(f"holds a second document{_at(after)}; one is allowed")
        return value

    def _node(self, event: events.Event, depth: int) -> Value:
        if depth > MAX_DEPTH:
            raise DocumentError(f"{_TOO_DEEP}{_at(event)}")
        if isinstance(event, events.AliasEvent) or getattr(event, "anchor", None):
            raise DocumentError(f"has an anchor or alias{_at(event)}; write the value out")
        if tag := getattr(event, "tag", None):
            raise DocumentError(f"has the tag {str(tag)[:64]!r}{_at(event)}")
        if isinstance(event, events.ScalarEvent):
            return _plain(event.value) if event.implicit[0] else str(event.value)
        if isinstance(event, events.SequenceStartEvent):
            entries: list[Value] = []
            while not isinstance(entry := next(self._events), events.SequenceEndEvent):
                entries.append(self._node(entry, depth + 1))
            return entries
        return self._mapping(depth)

    def _mapping(self, depth: int) -> dict[str, Value]:
        found: dict[str, Value] = {}
        while not isinstance(key := next(self._events), events.MappingEndEvent):
            if not isinstance(key, events.ScalarEvent):
                raise DocumentError(f"has a key that is no text{_at(key)}")
            name = str(key.value)
            if name in found:
                raise DocumentError(f"has the key {name[:64]!r} twice{_at(key)}")
            found[name] = self._node(next(self._events), depth + 1)
        return found


def _plain(text: str) -> Value:
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text


def _at(where: Any) -> str:
    mark = getattr(where, "start_mark", None) or getattr(where, "problem_mark", None)
    return f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
