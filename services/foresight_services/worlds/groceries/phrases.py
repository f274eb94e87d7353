"""Phrases found in words: whole words only, one pass, time linear in the text whatever it says."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Generic, TypeVar

T = TypeVar("T")
"""What phrases stand for; not None."""

# Numbers keep their currency sign and decimals, so that "$40" is found in neither "$400" nor
# "$40.50"; no alternative can give back what it took, so the pattern never backtracks far.
_WORD: Final = re.compile(r"[$€£]?\d+(?:[.,]\d+)*|[^\W\d_]+(?:'[^\W\d_]+)*")


def words_of(text: str) -> list[str]:
    """Return the words of `text` in lower case, hyphens and other signs left out."""
    return _WORD.findall(text.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))


class _Step(Generic[T]):
    """A word of a phrase: the words that may follow it, and what the phrase means if it ends."""

    __slots__ = ("following", "meaning")

    def __init__(self) -> None:
        self.following: dict[str, _Step[T]] = {}
        self.meaning: T | None = None


class PhraseBook(Generic[T]):
    """Meanings of phrases. Where phrases overlap, the first wins, then the longest."""

    def __init__(self, meanings: Mapping[str, T]) -> None:
        """Index `meanings`: phrase -> what it stands for; a phrase without words is refused."""
        self._root = _Step[T]()
        for phrase, meaning in meanings.items():
            if not (words := words_of(phrase)):
                raise ValueError(f"the phrase {phrase!r} has no word in it")
            step = self._root
            for word in words:
                step = step.following.setdefault(word, _Step())
            step.meaning = meaning

    def find(self, words: Sequence[str]) -> Iterator[tuple[int, T]]:
        """Yield where each phrase starts in `words`, and what it stands for."""
        first_words = self._root.following
        resume = 0
        for start, word in enumerate(words):
            if start < resume or word not in first_words:
                continue
            longest: T | None = None
            at, step = start, self._root
            while at < len(words) and (following := step.following.get(words[at])):
                at, step = at + 1, following
                if step.meaning is not None:
                    longest, resume = step.meaning, at
            if longest is not None:
                yield start, longest
