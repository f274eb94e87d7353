"""Counting tokens without a vocabulary."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foresight_services.metrics.words import count_words, first_words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", 0),
        (" \n\t", 0),
        ("one two", 2),
        ("Is it alive?", 4),
        ("don't", 3),
        ("naïve 東京", 2),
        ("[[TERMINATE CHAT]]", 6),
        ("word " * 1000, 1000),
    ],
)
def test_words_and_punctuation_marks_count(text: str, words: int) -> None:
    assert count_words(text) == words


@pytest.mark.parametrize(
    ("most", "start"), [(1, "Is"), (3, "Is  it alive"), (4, "Is  it alive?"), (9, "Is  it alive?")]
)
def test_the_start_of_a_text_keeps_its_spacing(most: int, start: str) -> None:
    assert first_words("Is  it alive?", most) == start


@given(st.text(max_size=200), st.integers(1, 50))
def test_the_start_is_as_long_as_it_may_be(text: str, most: int) -> None:
    start = first_words(text, most)
    assert text.startswith(start)
    assert count_words(start) == min(most, count_words(text))
