"""Whether a text gives the mathematical answer of the reference."""

from __future__ import annotations

import pytest

from foresight_services.core.errors import InvalidInput, Upstream
from foresight_services.metrics import math_equal
from foresight_services.metrics.math_equal import DEFINITION
from tests.fakes.subjects import score_text

TOWER = "$9^{9^{9^{9}}}$"


@pytest.mark.parametrize(
    ("text", "reference", "value"),
    [
        ("2", "2", 1.0),
        ("3", "2", 0.0),
        ("The answer is 5.", "5", 1.0),
        ("The answer is 6.", "5", 0.0),
        ("x = 2", "2", 1.0),
        (r"\frac{1}{2}", "0.5", 1.0),
        (r"\frac{1}{2}", "2", 0.0),
        (r"First $x = 3$, hence \boxed{\frac{1}{2}}.", "1/2", 1.0),
        ("1/2", r"We find $x = 3$, hence the answer is \boxed{\frac12}.", 1.0),
        ("x^2 + 2x + 1", "(x + 1)^2", 1.0),
        (r"2\sqrt{3}", r"\sqrt{12}", 1.0),
        ("(1, 2)", "$(2, 1)$", 0.0),
        ("so we have 7 and 5, in all 12", "#### 12", 1.0),
        ("I do not know", "5", 0.0),
        ("east", r"\text{east}", 1.0),
    ],
)
async def test_answers_are_compared_as_mathematics(text, reference, value) -> None:
    assert (await score_text(DEFINITION, text, reference=reference)).value == value


async def test_a_reference_without_an_answer_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"task\.reference"):
        await score_text(DEFINITION, "5", reference="we do not say")


async def test_an_answer_that_cannot_be_computed_is_no_score(monkeypatch) -> None:
    await score_text(DEFINITION, "2", reference="2")
    monkeypatch.setattr(math_equal, "_SECONDS", 0.5)
    with pytest.raises(Upstream, match="took longer than 0.5 s") as caught:
        await score_text(DEFINITION, TOWER, reference="2")
    assert caught.value.metadata == {"metric": "math_equal"}
    assert "9^" not in caught.value.message
