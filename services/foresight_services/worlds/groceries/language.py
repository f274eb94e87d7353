"""Reads English: what an assistant's message asks or orders, what a shopper's message states.

Anybody may have written the message, so nothing in it is an error: what is not understood is passed
over. Rules, in the order in which they apply to a message of the assistant:

- a sentence asks if it has a question mark, opens like a question, or requests ("please tell me");
  the items of a list that such a sentence introduces with a colon ask too;
- any other sentence that announces an order places it, unless it denies or conditions it
  ("I can't place the order", "I'll order once ...");
- a message that places an order only orders, with the values that its other sentences state.

In a message of the shopper, a question states nothing unless it is a polite request ("can you order
vegan food?"), and a clause that says "don't mind" states so of every need it names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from foresight_services.worlds.groceries.cues import CUES, NEGATIONS, PADDING, Cue
from foresight_services.worlds.groceries.needs import Knowledge
from foresight_services.worlds.groceries.phrases import PhraseBook, words_of
from foresight_services.worlds.groceries.sentences import ORDERS, does_not_mind

_SENTENCE_END: Final = re.compile(r"(?<=[.!?])\s+")
_CLAUSE_END: Final = re.compile(r";|\bbut\b|,\s*(?=(?:i|it|we|please)\b)", re.IGNORECASE)
_LIST_ITEM: Final = re.compile(r"\s*(?:[-*\N{BULLET}]|\d{1,2}[.)])\s+")

_CACHED_READINGS: Final = 1024
_LONGEST_CACHED: Final = 2000
"""Characters. Both limits together bound what remembered texts take to 16 MB at worst."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What one message of the assistant does."""

    asks: frozenset[str]
    """Ids of the needs it asks about; empty if it places an order."""
    order: Mapping[str, str] | None
    """If it places an order, the values it states: need id -> value name; otherwise None."""


Statements = tuple[tuple[str, str | None], ...]
"""What one message of the shopper states, in its order: need ids with the name of the wanted value,
or None for "don't mind"."""


@dataclass(frozen=True, slots=True)
class _Mention:
    need: str
    value: str | None


@dataclass(frozen=True, slots=True)
class _Sentence:
    text: str
    words: list[str]
    in_list: bool


class Reader:
    """Understands messages about one set of needs. Immutable but for its bounded caches."""

    def __init__(self, knowledge: Knowledge) -> None:
        """Index the phrases of `knowledge`; sentences it would misread are a `ValueError`."""
        self._mentions = PhraseBook(_mentions(knowledge))
        self._heard = lru_cache(_CACHED_READINGS)(self._hear)
        self._said = lru_cache(_CACHED_READINGS)(self._listen)
        self._check(knowledge)

    def assistant(self, text: str) -> Heard:
        """Read a message of the assistant."""
        return self._heard(text) if len(text) <= _LONGEST_CACHED else self._hear(text)

    def shopper(self, text: str) -> Statements:
        """Read a message of the shopper."""
        return self._said(text) if len(text) <= _LONGEST_CACHED else self._listen(text)

    def _hear(self, text: str) -> Heard:
        asked: set[str] = set()
        stated: dict[str, str] = {}
        orders = False
        list_asks = False
        for sentence in _sentences(text):
            cues = list(CUES.find([word for word in sentence.words if word not in PADDING]))
            asking = _is_question(sentence.text, cues) or (list_asks and sentence.in_list)
            if not sentence.in_list:
                list_asks = asking and sentence.text.endswith(":")
            if asking:
                asked.update(mention.need for _, mention in self._mentions.find(sentence.words))
            else:
                orders = orders or _is_order(cues)
                stated.update(self._values(sentence.words))
        if orders:
            return Heard(frozenset(), MappingProxyType(stated))
        return Heard(frozenset(asked), None)

    def _listen(self, text: str) -> Statements:
        return tuple(self._statements(text))

    def _statements(self, text: str) -> Iterator[tuple[str, str | None]]:
        for sentence in _sentences(text):
            for clause in _CLAUSE_END.split(sentence.text):
                words = words_of(clause)
                cues = {cue for _, cue in CUES.find(words)}
                if "?" in clause and Cue.POLITE not in cues:
                    continue
                if Cue.INDIFFERENT in cues:
                    yield from ((mention.need, None) for _, mention in self._mentions.find(words))
                else:
                    yield from self._values(words)

    def _values(self, words: list[str]) -> Iterator[tuple[str, str]]:
        for start, mention in self._mentions.find(words):
            if mention.value and NEGATIONS.isdisjoint(words[max(0, start - 2) : start]):
                yield mention.need, mention.value

    def _check(self, knowledge: Knowledge) -> None:
        """Refuse needs whose own sentences the reader would take for something else."""
        if self.assistant(ORDERS).order != {}:
            raise ValueError(f"a phrase of the needs occurs in {ORDERS!r}")
        for need in knowledge.needs:
            if self.assistant(need.question) != Heard(frozenset({need.id}), None):
                raise ValueError(f"{need.question!r} does not read as a question about {need.id}")
            for sentence in (need.question, *(value.says for value in need.values)):
                # Sentences are joined into messages, so each must show where it ends.
                if not sentence.endswith((".", "!", "?")):
                    raise ValueError(f"{sentence!r} must end with '.', '!' or '?'")
            said: list[tuple[str, str | None]] = [(does_not_mind(need), None)]
            for sentence, value in said + [(value.says, value.name) for value in need.values]:
                if set(self.shopper(sentence)) != {(need.id, value)}:
                    meaning = f"{need.id}: {value or 'no matter'}"
                    raise ValueError(f"{sentence!r} does not read as {meaning!r}")


def _mentions(knowledge: Knowledge) -> dict[str, _Mention]:
    mentions: dict[str, _Mention] = {}

    def add(phrase: str, mention: _Mention) -> None:
        if mentions.setdefault(" ".join(words_of(phrase)), mention) != mention:
            raise ValueError(f"the phrase {phrase!r} stands for two things")

    for need in knowledge.needs:
        for phrase in need.asked_by:
            add(phrase, _Mention(need.id, None))
        for value in need.values:
            for phrase in value.heard_as:
                add(phrase, _Mention(need.id, value.name))
    return mentions


def _sentences(text: str) -> Iterator[_Sentence]:
    for line in filter(str.strip, text.splitlines()):
        item = _LIST_ITEM.match(line)
        for sentence in _SENTENCE_END.split(line[item.end() :] if item else line):
            if words := words_of(sentence):
                yield _Sentence(sentence.rstrip(), words, item is not None)


def _is_question(text: str, cues: list[tuple[int, Cue]]) -> bool:
    return "?" in text or any(
        cue is Cue.REQUEST or (at == 0 and cue in (Cue.OPENER, Cue.POLITE)) for at, cue in cues
    )


def _is_order(cues: list[tuple[int, Cue]]) -> bool:
    if any(cue is Cue.CONDITION for _, cue in cues):
        return False
    for _, cue in cues:
        if cue is Cue.DENIAL:
            return False
        if cue is Cue.ORDER:
            return True
    return False
