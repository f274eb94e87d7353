"""The shape of one English sentence: where it asks, where it guesses, what it denies."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property
from typing import Final

from foresight_services.worlds.twenty_questions import grammar

_TOKEN: Final = re.compile(r"[^\W_]+(?:'[^\W_]+)*|[.?!;\n,:()–—]")
_ENDINGS: Final = frozenset(".?!;\n")
_MARKS: Final = frozenset(",:()–—")
_QUOTES: Final = str.maketrans("’‘", "''")

_LOOK_BACK: Final = 6
"""Words before a guess that are searched for a negation; bounds the work per named thing."""


def words_of(text: str) -> tuple[str, ...]:
    """Return the words of `text`, lower case, without punctuation."""
    tokens = _TOKEN.findall(text.casefold().translate(_QUOTES))
    return tuple(token for token in tokens if token not in _ENDINGS and token not in _MARKS)


def sentences(text: str) -> Iterator[Sentence]:
    """Split `text` into its sentences, in order, without empty ones."""
    words: list[str] = []
    for match in _TOKEN.finditer(text.casefold().translate(_QUOTES)):
        token = match[0]
        if token not in _ENDINGS:
            words.append(token)
        elif words:
            yield Sentence(words, ending=token)
            words = []
    if words:
        yield Sentence(words, ending="")


class Sentence:
    """Words and clause marks of one sentence."""

    def __init__(self, words: list[str], *, ending: str) -> None:
        self.words: Final = words
        """Words in lower case; commas, colons, brackets and dashes stay as items of their own."""
        self._ending = ending

    @cached_property
    def _asks_from(self) -> int | None:
        """Where the question begins, None for a statement."""
        return _question_start(self.words, self._ending)

    @property
    def _asks_by_verb(self) -> bool:
        start = self._asks_from
        return start is not None and self.words[start] in grammar.AUXILIARIES

    @property
    def is_tag_question(self) -> bool:
        """Whether the question at the end only tags a statement ("It is alive, isn't it?")."""
        start = self._asks_from or 0
        return start > 0 and self._asks_by_verb and len(self.words) - start == 2

    def asks_at(self, position: int) -> bool:
        """Return whether the word at `position` belongs to the sentence's question."""
        return self._asks_from is not None and position >= self._asks_from

    def denies_at(self, position: int) -> bool:
        """Return whether the question turns what follows at `position` into its opposite.

        A negation in the opening ("Isn't it", "Is it not") expects an answer but asks the same.
        """
        start = self._asks_from or 0
        opening = {start, start + 2} if self._asks_by_verb else set()
        denials = 0
        for index in range(start, position):
            word = self.words[index]
            opens = index in opening and (index == start or word == "not")
            denials += word in grammar.NEGATIONS and not opens
        return denials % 2 == 1

    def guesses_at(self, start: int, end: int) -> bool:
        """Return whether the thing named by the words from `start` to `end` is guessed there."""
        words = self.words
        if end < len(words) and words[end] not in _MARKS and words[end] not in grammar.TAILS:
            return False
        lead = start
        while lead > max(0, start - _LOOK_BACK) and words[lead - 1] in grammar.FILLERS:
            lead -= 1
        if lead == 0 or words[lead - 1] in _MARKS:
            return True
        if lead >= 2 and (words[lead - 2], words[lead - 1]) in grammar.PAIRED_LEADS:
            lead -= 2
        elif words[lead - 1] in grammar.LEADS:
            lead -= 1
        else:
            return False
        return not self._withheld(lead)

    def _withheld(self, lead: int) -> bool:
        """Return whether the words before a guess's opening at `lead` take it back."""
        for index in range(lead - 1, max(-1, lead - 1 - _LOOK_BACK), -1):
            word = self.words[index]
            if word in _MARKS:
                return False
            if word in grammar.HYPOTHETICALS:
                return not (index > 0 and self.words[index - 1] in grammar.REPORTERS)
            # "Couldn't it be a dog?" guesses a dog; "It couldn't be a dog" does not.
            opens = index == 0 or self.words[index - 1] in _MARKS
            if word in grammar.NEGATIONS and not (opens and word in grammar.AUXILIARIES):
                return True
        return False


def _question_start(words: list[str], ending: str) -> int | None:
    """Return where the question of a sentence begins, None for a statement."""
    if words[0] in grammar.AUXILIARIES:
        return 0
    for index in range(1, len(words) - 1):
        if words[index] in grammar.AUXILIARIES and words[index + 1] in grammar.SUBJECTS:
            return index
    for index in range(1, len(words) - 1):
        if words[index] in ("if", "whether") and words[index - 1] in grammar.REPORTERS:
            return index + 1
    return 0 if ending == "?" else None
