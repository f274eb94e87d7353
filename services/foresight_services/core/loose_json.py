"""Read the JSON object that a model meant, where its backend cannot make it write one.

Valid JSON is read as it is, wherever it stands in the text. Else the object is read leniently:
quotes of any kind, also triple, also unescaped ones inside a text; raw line breaks; missing and
trailing commas; Python's literals; bare keys and values; an end that is missing. Values keep their
text: what was quoted is a string whatever it spells, and a number keeps its digits.

Written for this and not taken from a library: of those tried, json5 and dirtyjson refuse
unescaped quotes and single-quoted apostrophes; json-repair turns 1_000 and 1e3 into other texts,
loses triple-quoted ones, and needs quadratic time for a run of opening braces. Here the work is
bounded: a fixed number of passes over the text, however it is built.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

MAX_CHARACTERS: Final = 1 << 20
"""A longer text is read up to here."""

_MOST_STARTS: Final = 64
_MOST_PASSES: Final = 2


class _Kind(Enum):
    NESTED = "nested"


NESTED: Final = _Kind.NESTED
"""Stands for a value that is an object or a list."""

Value = str | bool | None | _Kind
"""A value: numbers as their text."""


@dataclass(frozen=True, slots=True)
class LooseObject:
    """An object that was found."""

    members: Mapping[str, Value]
    """Its members; keys in lower case, white space around them removed."""
    complete: bool
    """Whether its end was found."""


# Numbers stay texts. Control characters, line breaks above all, are what models put into strings.
_STRICT: Final = json.JSONDecoder(strict=False, parse_int=str, parse_float=str, parse_constant=str)
_START: Final = re.compile(r"\{(?=\s*+[\"'“”‘’\w])")
_SPACE: Final = re.compile(r"[\s,]*+")
_KEY: Final = re.compile(
    r"(?:\"([^\"\n]{1,40})\"|'([^'\n]{1,40})'|[“”]([^“”\n]{1,40})[“”]|([A-Za-z_]\w{0,39}))"
    r"\s*+[:=]\s*+"
)
_KEY_LIKE: Final = (r"\"\w{1,40}\"", r"'\w{1,40}'", r"[“”]\w{1,40}[“”]", r"[A-Za-z_]\w{0,39}")
# What follows the quote that ends a text, by the style of the object's keys: the object's end, or
# its next member, a comma between them or none. A quote followed by anything else is of the text.
_ENDS: Final = tuple(
    re.compile(rf"\s*+(?:\Z|```|[}}\]](?!\s*+[\"'”])|,\s*+(?:\Z|[}}\]]|{key}\s*+[:=])|{key}\s*+:)")
    for key in _KEY_LIKE
)
_QUOTES: Final = {'"': '"', "'": "'", "“": "”", "”": "”", "‘": "’", "`": "`"}
_QUOTE_OR_ESCAPE: Final = {
    quote: re.compile(rf"\\.|{quote}", re.DOTALL) for quote in {*_QUOTES.values()}
}
_BARE: Final = tuple(
    re.compile(
        rf".*?(?=[ \t]{{0,20}}+(?:,\s{{0,20}}+{key}\s{{0,20}}+[:=]"
        r"|,?[ \t]{0,20}+(?:[}\]]|\n|\Z)))"
    )
    for key in _KEY_LIKE
)
_BRACKET: Final = re.compile(r"[{}\[\]]|\"(?:[^\"\\]|\\.)*+\"", re.DOTALL)
_LITERALS: Final[Mapping[str, Value]] = {
    "true": True,
    "false": False,
    "null": None,
    "none": None,
}
_ESCAPE: Final = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_ESCAPED: Final = {"n": "\n", "t": "\t", "r": "\r", "\n": "\n"} | {c: c for c in "\"'\\/`“”‘’"}
# A form feed or backspace before a letter is a formula's `\frac` or `\beta`, escaped too little.
_UNESCAPED_FORMULA: Final = re.compile(r"[\x08\x0c](?=[a-z])")


def read_object(text: str, wanted: Collection[str]) -> LooseObject | None:
    """Return the first object in `text` that has one of the keys `wanted`, else None."""
    text = text[:MAX_CHARACTERS]
    left = _MOST_PASSES * len(text)
    for number, start in enumerate(_START.finditer(text)):
        if number == _MOST_STARTS or left <= 0:
            break
        found, end = _read_strictly(text, start.start())
        if found is None:
            left -= end - start.start()
            found, end = _members(text, start.end())
        left -= end - start.start()
        if _has(found, wanted):
            return found
    names = "|".join(map(re.escape, wanted))
    begun = re.search(rf"[\"'“”](?:{names})[\"'“”]\s*+[:=]|\A\s*+(?:{names})\s*+:", text, re.I)
    if begun is None:
        return None
    # No brace led here, so the object's own is missing.
    found, _ = _members(text, begun.start())
    return found if _has(found, wanted) else None


def _has(found: LooseObject, wanted: Collection[str]) -> bool:
    return any(found.members.get(key, NESTED) is not NESTED for key in wanted)


def looks_like_object(text: str, keys: Collection[str]) -> bool:
    """Return whether `text` seems to have been meant as an object with `keys`."""
    names = "|".join(map(re.escape, keys))
    start = text.lstrip().removeprefix("```json").removeprefix("```").lstrip()[:1]
    return start == "{" or re.search(rf"[\"'](?:{names})[\"']\s*+:", text) is not None


def clean(text: str) -> str:
    """Return `text` with surrogates joined, lone ones replaced, so that it can be encoded."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _read_strictly(text: str, start: int) -> tuple[LooseObject | None, int]:
    """Return the object and its end, or None and about how far it was read."""
    try:
        value, end = _STRICT.raw_decode(text, start)
    except json.JSONDecodeError as error:
        return None, error.pos
    except RecursionError:
        return None, len(text)
    members = {_name(key): _strict_value(item) for key, item in value.items()}
    return LooseObject(members, True), end


def _strict_value(value: object) -> Value:
    if isinstance(value, str):
        return _UNESCAPED_FORMULA.sub(_formula, clean(value))
    return value if value is None or isinstance(value, bool) else NESTED


def _formula(found: re.Match[str]) -> str:
    return "\\b" if found[0] == "\x08" else "\\f"


def _name(key: str) -> str:
    return clean(key).strip().lower()


def _members(text: str, at: int) -> tuple[LooseObject, int]:
    """Read members from `at` on, until the object ends or something is no member."""
    members: dict[str, Value] = {}
    while True:
        at = _end_of(_SPACE, text, at)
        key = _KEY.match(text, at)
        if key is None:
            complete = text.startswith("}", at)
            return LooseObject(members, complete), at + complete
        style = next(style for style in range(4) if key[style + 1] is not None)
        value, at = _value(text, key.end(), style)
        members.setdefault(_name(key[style + 1]), value)


def _value(text: str, at: int, style: int) -> tuple[Value, int]:
    opening = text[at : at + 1]
    if text.startswith(('"""', "'''"), at):
        return _triple_quoted(text, at)
    if opening in _QUOTES and opening:
        return _quoted(text, at, style)
    if opening in ("{", "["):
        return NESTED, _end_of_nested(text, at)
    bare = _BARE[style].match(text, at)
    said = bare[0].strip() if bare else ""
    return _LITERALS.get(said.lower(), said), at + len(bare[0]) if bare else len(text)


def _triple_quoted(text: str, at: int) -> tuple[str, int]:
    quotes = text[at : at + 3]
    end = text.find(quotes, at + 3)
    if end < 0:
        return _unescape(text[at + 3 :]), len(text)
    # A text that ends with a quote of its own makes four in a row.
    end += text.startswith(quotes[0], end + 3)
    return _unescape(text[at + 3 : end]), end + 3


def _quoted(text: str, at: int, style: int) -> tuple[str, int]:
    quote, ends = _QUOTES[text[at]], _ENDS[style]
    for found in _QUOTE_OR_ESCAPE[quote].finditer(text, at + 1):
        if found[0] == quote and ends.match(text, found.end()):
            return _unescape(text[at + 1 : found.start()]), found.end()
    return _unescape(text[at + 1 :]), len(text)


def _unescape(raw: str) -> str:
    def character(found: re.Match[str]) -> str:
        name = found[1]
        if len(name) > 1:
            return chr(int(name[1:], 16))
        return _ESCAPED.get(name, found[0])

    return clean(_ESCAPE.sub(character, raw))


def _end_of_nested(text: str, at: int) -> int:
    depth = 0
    for found in _BRACKET.finditer(text, at):
        depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(found[0], 0)
        if depth == 0:
            return found.end()
    return len(text)


def _end_of(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    return found.end() if found else at
