"""ROUGE, as the library `rouge-score` computes it."""

from __future__ import annotations

import pytest

from foresight_services.core.errors import InvalidInput, Precondition
from foresight_services.metrics.rouge import DEFINITION
from tests.fakes.subjects import score_text

REFERENCE = "The cats sat on the mat.\nThey slept."


@pytest.mark.parametrize(
    ("parameters", "text", "precision", "recall"),
    [
        # Of 6 words 5 are in the reference's 8, in its order.
        ({}, "the cats sat on a mat", 5 / 6, 5 / 8),
        ({"variant": "rouge1"}, "mat the on sat cats a", 5 / 6, 5 / 8),
        ({"variant": "rougeL"}, "mat the on sat cats a", 2 / 6, 2 / 8),
        # the cats, cats sat, sat on: 3 pairs of 5, and of the reference's 7.
        ({"variant": "rouge2"}, "the cats sat on a mat", 3 / 5, 3 / 7),
        # Sentence by sentence the order of the lines does not matter.
        ({"variant": "rougeLsum"}, "They slept.\nThe cats sat on the mat.", 1.0, 1.0),
        ({}, "the cat sat", 2 / 3, 2 / 8),
        ({"stemmer": True}, "the cat sat", 1.0, 3 / 8),
    ],
)
async def test_the_f_measure_of_each_variant(parameters, text, precision, recall) -> None:
    score = await score_text(DEFINITION, text, reference=REFERENCE, **parameters)
    f_measure = 2 * precision * recall / (precision + recall)
    assert score.value == pytest.approx(f_measure)
    assert score.parts == pytest.approx({"precision": precision, "recall": recall})


async def test_an_unknown_variant_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"parameters\.variant.*rougeL"):
        await score_text(DEFINITION, "text", reference="text", variant="rouge9")


async def test_a_missing_library_is_named_with_its_extra(monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(Precondition, match=r"foresight\[metrics\]") as caught:
        await score_text(DEFINITION, "text", reference="text")
    assert caught.value.metadata == {"metric": "rouge", "needs": "foresight[metrics]"}
