"""BLEU over characters: CollabLLM's numbers, and NLTK's to the last bit."""

from __future__ import annotations

import warnings

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from nltk.translate.bleu_score import sentence_bleu

from foresight_services.core.errors import InvalidInput
from foresight_services.core.objective import MetricSpec
from foresight_services.core.task import Task
from foresight_services.metrics.bleu import DEFINITION, LONG, bleu_score
from tests.fakes.subjects import built, score_text, setup_for, subject_of

# Few letters, so that n-grams recur.
TEXTS = st.text("ab \n", max_size=40) | st.text(max_size=40)


def nltk_bleu(text: str, reference: str) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(sentence_bleu([reference], text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("the cat sat on a mat", pytest.approx(0.77625351, abs=5e-9)),
        ("the cat sat on the mat", 1.0),
        ("THE CAT", pytest.approx(0.0, abs=1e-6)),
        ("", 0.0),
        ("xyz", 0.0),
    ],
)
async def test_the_values_of_collabllm(text: str, expected: float) -> None:
    score = await score_text(DEFINITION, text, reference="the cat sat on the mat")
    assert score.value == expected


async def test_a_text_of_three_characters_has_no_four_in_a_row() -> None:
    score = await score_text(DEFINITION, "abc", reference="abc")
    assert 0.0 < score.value == pytest.approx(1.2e-77, rel=0.02)


@given(TEXTS, TEXTS)
@example("abc", "abc")
@example("", "a")
@example("a", "")
def test_every_value_is_that_of_nltk(text: str, reference: str) -> None:
    assert bleu_score(text, reference) == nltk_bleu(text, reference)


async def test_a_long_text_is_compared_in_a_worker_with_the_same_value() -> None:
    reference = "the cat sat on the mat and " * (LONG // 20)
    text = reference.replace("cat", "dog", 100)
    score = await score_text(DEFINITION, text, reference=reference)
    assert score.value == nltk_bleu(text, reference)


async def test_an_artifact_is_compared_in_place_of_the_reply() -> None:
    spec = MetricSpec("bleu", artifact="document")
    setup = setup_for(
        spec, task=Task(goal="g", reference="a document"), candidates=("Here it is.",)
    )
    metric = await built(DEFINITION, setup)
    async with subject_of(setup, artifacts={"document": "a document"}) as subject:
        assert (await metric.score(subject)).value == 1.0


async def test_without_a_reference_there_is_nothing_to_compare_with() -> None:
    with pytest.raises(InvalidInput, match=r"task\.reference"):
        await score_text(DEFINITION, "text")
