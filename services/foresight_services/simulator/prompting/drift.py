"""Tell when a simulated user stops being one: speaks as the assistant, says nothing, repeats.

The rules are data, `drift.yaml`. They look at the beginning and the end of a long message only, so
that their work is bounded.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib import resources
from itertools import chain
from typing import Final

import yaml
from pydantic import BaseModel, ConfigDict, Field

from foresight_services.core.conversation import Conversation

_LOOKED_AT: Final = 3000
_WORD: Final = re.compile(r"\w+")
_LETTERS: Final = 8  # of a word and what follows it, or somewhat more
_APOSTROPHES: Final = str.maketrans("’‘ʼ", "'''")
# Of these alone a message says nothing; `?` or an emoji by itself says something.
_SAYS_NOTHING: Final = re.compile(r"[\s.…,;:\-–—_*\"'“”`\u200b-\u200f\u2060\ufeff]*")
# Patterns without capital letters; those of escapes are none.
_IN_SMALL: Final = re.compile(r"(?:\\.|[^\\A-Z])*+", re.DOTALL)
# Escapes and sets of characters, in which brackets and bars mean themselves.
_QUOTED: Final = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\\\]])*+\]", re.DOTALL)


_Triple = tuple[str, ...]


class DriftKind(StrEnum):
    """How a user message can go wrong."""

    ROLE_DRIFT = "role_drift"
    EMPTY = "empty"
    REPEATED = "repeated"
    MALFORMED = "malformed"


@dataclass(frozen=True, slots=True)
class Drift:
    """What is wrong with a message."""

    kind: DriftKind
    """Kind of drift."""
    rule: str
    """Name of the rule that found it; the kind itself where there is but one."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Rule(_Strict):
    name: str
    patterns: tuple[str, ...]
    unless: tuple[str, ...] = ()
    lines: bool = False


class _Repeats(_Strict):
    least_words: int = Field(ge=1)
    likeness: float = Field(gt=0, le=1)


class _RulesFile(_Strict):
    rules: tuple[_Rule, ...]
    repeats: _Repeats
    notes: dict[DriftKind, str]


class DriftRules:
    """The rules, ready to be applied."""

    def __init__(self, text: str) -> None:
        """Read the rules of `text`, a YAML document; ValueError where it is none of rules."""
        file = _RulesFile.model_validate(yaml.safe_load(text))
        self._rules = [
            (rule, _AnyOf(rule.patterns), _AnyOf(rule.unless) if rule.unless else None)
            for rule in file.rules
        ]
        # All at once: a search costs as much for the places where it begins as for its patterns.
        in_flat = [rule.patterns for rule in file.rules if not rule.lines]
        self._any_in_flat = _AnyOf(tuple(chain.from_iterable(in_flat))) if in_flat else None
        self._repeats = file.repeats
        missing = set(DriftKind) - set(file.notes)
        if missing:
            raise ValueError(f"notes lacks {', '.join(sorted(missing))}")
        self.notes = file.notes
        self.digest = hashlib.sha256(text.encode()).hexdigest()
        """SHA-256 of the rules."""

    def find(self, message: str, conversation: Conversation, *, done: bool) -> Drift | None:
        """Return what is wrong with `message`, the user's next one after `conversation`.

        Args:
            message: the message, the termination signal left out.
            conversation: everything said before.
            done: whether the user leaves with this message, which then need not say anything.
        """
        if _SAYS_NOTHING.fullmatch(message):
            return None if done else Drift(DriftKind.EMPTY, DriftKind.EMPTY)
        rule = self._matching(message)
        if rule is not None:
            return Drift(DriftKind.ROLE_DRIFT, rule)
        said = _words(message)
        if len(said) < self._repeats.least_words:
            return None
        triples = _triples(said)
        for earlier in reversed(conversation):
            if earlier.role != "system" and self._alike(said, triples, earlier.content):
                if earlier.role == "assistant":
                    return Drift(DriftKind.ROLE_DRIFT, "echoes_the_assistant")
                return Drift(DriftKind.REPEATED, DriftKind.REPEATED)
        return None

    def _matching(self, message: str) -> str | None:
        ends = message
        if len(message) > 2 * _LOOKED_AT:
            ends = f"{message[:_LOOKED_AT]}\n{message[-_LOOKED_AT:]}"
        ends = ends.translate(_APOSTROPHES)
        stripped = (" ".join(line.split()) for line in ends.split("\n"))
        lines = "\n".join(line for line in stripped if line)
        flat = lines.replace("\n", " ")
        suspect = self._any_in_flat is not None and self._any_in_flat.found_in(flat)
        for rule, patterns, unless in self._rules:
            if not (suspect or rule.lines):
                continue
            text = lines if rule.lines else flat
            if patterns.found_in(text) and not (unless and unless.found_in(text)):
                return rule.name
        return None

    def _alike(self, said: tuple[str, ...], triples: set[_Triple], earlier: str) -> bool:
        """Tell whether `said`, whose triples are `triples`, has nearly all those of `earlier`.

        Args:
            said: the words of one message.
            triples: those of the same.
            earlier: the other message.
        """
        likeness = self._repeats.likeness
        # Of very different lengths, they cannot have enough in common. So there is a bound on the
        # triples of `earlier`, and one on those that only it has; most messages have more of these
        # among their first words, and nothing else of them is looked at.
        most = (len(said) / likeness - likeness * len(triples)) / (1 + likeness)
        begins = _words(earlier[: _LETTERS * (int(most) + 4)])[:-1]  # the last one may go on
        if len(_all_triples(begins).difference(triples)) > most:
            return False
        other = _words(earlier)
        if said == other:
            return True
        if min(len(said), len(other)) < likeness * max(len(said), len(other)):
            return False
        second = _triples(other)
        return len(triples & second) >= likeness * len(triples | second)


@cache
def shipped_rules() -> DriftRules:
    """Return the rules that ship with the package."""
    return DriftRules(resources.files(__package__).joinpath("drift.yaml").read_text("utf-8"))


class _AnyOf:
    """Finds any of several patterns, case ignored."""

    __slots__ = ("_any", "_small")

    def __init__(self, patterns: tuple[str, ...]) -> None:
        self._any = _Search(patterns, re.IGNORECASE)
        # Several times as fast, and the same for a text in small letters that has no others.
        self._small = _Search(patterns) if all(map(_IN_SMALL.fullmatch, patterns)) else None

    def found_in(self, text: str) -> bool:
        """Tell whether one of them is somewhere in `text`."""
        if self._small is not None and text.isascii():
            return self._small.finds(text.lower())
        return self._any.finds(text)


class _Search:
    """Searches for several patterns at once, and only where each of them can begin."""

    __slots__ = ("_anywhere", "_at_the_start")

    def __init__(self, patterns: tuple[str, ...], flags: int = 0) -> None:
        single = [pattern for pattern in patterns if not _has_alternatives(pattern)]
        starts = [pattern for pattern in single if pattern.startswith("^")]
        words = [pattern[2:] for pattern in single if pattern.startswith(r"\b")]
        others = [p for p in patterns if p not in starts and p.removeprefix(r"\b") not in words]
        anywhere = [rf"\b(?:{_joined(words)})"] if words else []
        anywhere += others
        self._at_the_start = re.compile(_joined(starts), flags) if starts else None
        self._anywhere = re.compile(_joined(anywhere), flags) if anywhere else None

    def finds(self, text: str) -> bool:
        """Tell whether one of them is somewhere in `text`."""
        if self._at_the_start is not None and self._at_the_start.match(text):
            return True
        return self._anywhere is not None and self._anywhere.search(text) is not None


def _has_alternatives(pattern: str) -> bool:
    """Tell whether `pattern` is several, of which its beginning belongs to the first alone."""
    depth = 0
    for character in _QUOTED.sub("", pattern):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "|" and depth == 0:
            return True
    return False


def _joined(patterns: list[str]) -> str:
    return "|".join(f"(?:{pattern})" for pattern in patterns)


def _words(text: str) -> tuple[str, ...]:
    return tuple(_WORD.findall(text.casefold()))


def _triples(words: tuple[str, ...]) -> set[_Triple]:
    return _all_triples(words) or {words}


def _all_triples(words: tuple[str, ...]) -> set[_Triple]:
    return set(zip(words, words[1:], words[2:], strict=False))
