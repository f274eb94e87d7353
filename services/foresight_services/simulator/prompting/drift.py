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
from typing import Final

import yaml
from pydantic import BaseModel, ConfigDict, Field

from foresight_services.core.conversation import Conversation

_LOOKED_AT: Final = 3000
_APOSTROPHES: Final = str.maketrans("’‘ʼ", "'''")
# Of these alone a message says nothing; `?` or an emoji by itself says something.
_SAYS_NOTHING: Final = re.compile(r"[\s.…,;:\-–—_*\"'“”`\u200b-\u200f\u2060\ufeff]*")


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
            (rule, _any_of(rule.patterns), _any_of(rule.unless) if rule.unless else None)
            for rule in file.rules
        ]
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
        for earlier in reversed(conversation):
            if earlier.role != "system" and self._alike(said, _words(earlier.content)):
                if earlier.role == "assistant":
                    return Drift(DriftKind.ROLE_DRIFT, "echoes_the_assistant")
                return Drift(DriftKind.REPEATED, DriftKind.REPEATED)
        return None

    def _matching(self, message: str) -> str | None:
        ends = message
        if len(message) > 2 * _LOOKED_AT:
            ends = f"{message[:_LOOKED_AT]}\n{message[-_LOOKED_AT:]}"
        ends = ends.translate(_APOSTROPHES).strip()
        lines = re.sub(r"[^\S\n]*\n\s*", "\n", re.sub(r"[^\S\n]+", " ", ends))
        flat = lines.replace("\n", " ")
        for rule, patterns, unless in self._rules:
            text = lines if rule.lines else flat
            if patterns.search(text) and not (unless and unless.search(text)):
                return rule.name
        return None

    def _alike(self, one: tuple[str, ...], other: tuple[str, ...]) -> bool:
        if one == other:
            return True
        # Of very different lengths, they cannot have enough in common.
        if min(len(one), len(other)) < self._repeats.likeness * max(len(one), len(other)):
            return False
        first, second = _triples(one), _triples(other)
        return len(first & second) >= self._repeats.likeness * len(first | second)


@cache
def shipped_rules() -> DriftRules:
    """Return the rules that ship with the package."""
    return DriftRules(resources.files(__package__).joinpath("drift.yaml").read_text("utf-8"))


def _any_of(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns), re.IGNORECASE)


def _words(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"\w+", text.casefold()))


def _triples(words: tuple[str, ...]) -> set[tuple[str, ...]]:
    return {words[at : at + 3] for at in range(max(1, len(words) - 2))}
