"""Token counting without a vocabulary: words and punctuation marks."""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import islice
from typing import Final

_WORD: Final = re.compile(r"\w+|[^\w\s]")

_LONGEST_CACHED: Final = 2000


def words(text: str) -> list[str]:
    """Return the words and punctuation marks of `text`, in order."""
    return _WORD.findall(text)


def count_words(text: str) -> int:
    """Return the number of words and punctuation marks in `text`."""
    if len(text) > _LONGEST_CACHED:
        return len(_WORD.findall(text))
    return _count_short(text)


def first_words(text: str, most: int) -> str:
    """Return `text` up to and including its word or punctuation mark number `most`."""
    if count_words(text) <= most:
        return text
    return text[: next(islice(_WORD.finditer(text), most - 1, None)).end()]


@lru_cache(maxsize=8192)
def _count_short(text: str) -> int:
    # A conversation is counted again after each of its messages, so short texts recur.
    return len(_WORD.findall(text))
