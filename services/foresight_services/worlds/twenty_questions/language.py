"""English in, moves out: what an assistant message asks, what a user message answers.

A message is read sentence by sentence until the first question or guess; the game allows one per
turn. Within a sentence the longest known phrase wins, so "bigger than a car" is an attribute and
"carpet" is not a car. Messages are untrusted: reading takes time linear in their length.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from foresight_services.worlds.twenty_questions import grammar
from foresight_services.worlds.twenty_questions.knowledge import Knowledge, KnowledgeError
from foresight_services.worlds.twenty_questions.moves import Ask, Guess, Move, NoMove
from foresight_services.worlds.twenty_questions.sentence import sentences, words_of

DEFAULT_TURN_LIMIT: Final = 20
"""Assistant messages allowed when the opening states no limit."""

_CACHED_MESSAGES: Final = 8192
_CACHED_CHARACTERS: Final = 2000
"""Longest text worth keeping: the cache is bounded by memory, not by count alone."""

_TURN_LIMIT: Final = re.compile(
    r"\b(\d{1,3}|" + "|".join(grammar.NUMBERS) + r")[ -](?:turns?|questions|guesses)\b"
)
"""Not "one question" and "one guess": that is what a single turn is for."""
_TITLES: Final = ("20 questions", "twenty questions")


class _Phrases:
    """Phrases that begin with the same words, indexed by the word that follows."""

    __slots__ = ("meaning", "next")

    def __init__(self) -> None:
        self.next: dict[str, _Phrases] = {}
        self.meaning: Ask | Guess | None = None


class Language:
    """Reads messages about the things of one knowledge."""

    def __init__(self, knowledge: Knowledge) -> None:
        """Index the phrases of `knowledge`.

        Raises KnowledgeError when a phrase has two meanings, or when a policy's own sentence would
        not be understood.
        """
        self._knowledge = knowledge
        self._phrases = _Phrases()
        self._index()
        self._cached_parse = lru_cache(_CACHED_MESSAGES)(self._parse)
        self._cached_answer = lru_cache(_CACHED_MESSAGES)(_answer)
        self._cached_turn_limit = lru_cache(_CACHED_MESSAGES)(_turn_limit)
        self._check_own_sentences()

    def parse(self, text: str) -> Move:
        """Return what the assistant message `text` asks or guesses."""
        if len(text) > _CACHED_CHARACTERS:
            return self._parse(text)
        return self._cached_parse(text)

    def answer(self, text: str) -> bool | None:
        """Return whether the user message `text` says yes or no; None when it says neither."""
        return self._cached_answer(text[:_CACHED_CHARACTERS])

    def turn_limit(self, text: str) -> int:
        """Return how many assistant messages the opening user message `text` allows."""
        return self._cached_turn_limit(text[:_CACHED_CHARACTERS])

    def _index(self) -> None:
        def learn(phrase: str, meaning: Ask | Guess, where: str) -> None:
            node = self._phrases
            for word in words_of(phrase):
                node = node.next.setdefault(word, _Phrases())
            if node is self._phrases:
                raise KnowledgeError(f"{where}: the phrase {phrase!r} has no word")
            if node.meaning not in (None, meaning):
                raise KnowledgeError(f"{where}: the phrase {phrase!r} already means something else")
            node.meaning = meaning

        for index, attribute in enumerate(self._knowledge.attributes):
            where = f"attribute {attribute.id!r}"
            for phrase in (attribute.question, *attribute.phrases):
                learn(phrase, Ask(index), where)
            for phrase in attribute.antonyms:
                learn(phrase, Ask(index, negated=True), where)
        for index, thing in enumerate(self._knowledge.things):
            for phrase in (thing.name, *thing.aliases):
                learn(phrase, Guess(index), f"thing {thing.name!r}")

    def _check_own_sentences(self) -> None:
        for index, attribute in enumerate(self._knowledge.attributes):
            if self.parse(attribute.question) != Ask(index):
                raise KnowledgeError(
                    f"attribute {attribute.id!r}: the question {attribute.question!r} is not"
                    " understood; it must begin with a verb such as 'Is' or 'Can' and end with '?'"
                )
        for index, thing in enumerate(self._knowledge.things):
            if self.parse(thing.guess) != Guess(index):
                raise KnowledgeError(
                    f"thing {thing.name!r}: the guess {thing.guess!r} is understood as something"
                    " else; check the phrases of the attributes"
                )

    def _parse(self, text: str) -> Move:
        guess: Guess | None = None
        named: set[int] = set()
        for sentence in sentences(text):
            tagged: Ask | None = None
            for start, end, meaning in self._mentions(sentence.words):
                if isinstance(meaning, Guess):
                    named.add(meaning.thing)
                    if guess is None and sentence.guesses_at(start, end):
                        guess = meaning
                    if guess is not None and len(named) > 1:
                        return NoMove.SEVERAL
                elif guess is None:
                    if sentence.asks_at(start):
                        return Ask(meaning.attribute, meaning.negated ^ sentence.denies_at(start))
                    tagged = tagged or meaning
            if guess is None and tagged is not None and sentence.is_tag_question:
                return tagged
        if guess is not None:
            return guess
        return NoMove.SEVERAL if len(named) > 1 else NoMove.UNCLEAR

    def _mentions(self, words: list[str]) -> Iterator[tuple[int, int, Ask | Guess]]:
        """Yield start, end and meaning of each phrase: the longest at a word, no overlaps."""
        position = 0
        while position < len(words):
            node = self._phrases
            meaning: Ask | Guess | None = None
            end = ahead = position
            while ahead < len(words) and words[ahead] in node.next:
                node = node.next[words[ahead]]
                ahead += 1
                if node.meaning is not None:
                    meaning, end = node.meaning, ahead
            if meaning is None:
                position += 1
            else:
                yield position, end, meaning
                position = end


def _answer(text: str) -> bool | None:
    words = words_of(text)[:4]
    if any(pair in grammar.DOUBTS for pair in zip(words, words[1:], strict=False)):
        return None
    for word, following in zip(words, (*words[1:], ""), strict=False):
        if word in grammar.AGREEMENTS and following != "not":
            return True
        if word in grammar.REFUSALS:
            return False
    # "It is." answers; "It is hard to say." does not.
    if len(words) == 2 and words[0] in ("it", "they", "you") and words[1] in grammar.AUXILIARIES:
        return True
    return None


def _turn_limit(text: str) -> int:
    for match in _TURN_LIMIT.finditer(text.casefold()):
        number = grammar.NUMBERS.get(match[1]) or int(match[1])
        # The title of the game is no limit; where it is all there is, it equals the default.
        if number > 0 and match[0] not in _TITLES:
            return number
    return DEFAULT_TURN_LIMIT
