"""BLEU over words, smoothed."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

from foresight_services.metrics.bleu import LONG
from foresight_services.metrics.bleu_word import DEFINITION, word_bleu_score
from foresight_services.metrics.words import words
from tests.fakes.subjects import score_text

WORDS = st.lists(st.sampled_from(["a", "b", "cat", "."]), max_size=12).map(" ".join)


def nltk_bleu(text: str, reference: str) -> float:
    method = SmoothingFunction().method3
    return float(sentence_bleu([words(reference)], words(text), smoothing_function=method))


async def test_words_are_compared() -> None:
    score = await score_text(DEFINITION, "the cat sat on a mat", reference="the cat sat on the mat")
    assert score.value == pytest.approx(0.537284965911771, rel=1e-12)


@given(WORDS, WORDS)
@example("cat", "cat")
@example("", "cat")
@example("cat", "")
def test_every_value_is_that_of_nltk(text: str, reference: str) -> None:
    assert word_bleu_score(text, reference) == nltk_bleu(text, reference)


async def test_a_long_text_is_compared_in_a_worker_with_the_same_value() -> None:
    reference = "the cat sat on the mat and " * (LONG // 20)
    text = reference.replace("cat", "dog", 100)
    score = await score_text(DEFINITION, text, reference=reference)
    assert score.value == nltk_bleu(text, reference)
