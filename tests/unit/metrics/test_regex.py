"""Whether a text matches a pattern."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from foresight_services.core.errors import InvalidInput, Precondition
from foresight_services.metrics.offload import LONG_TEXT
from foresight_services.metrics.regex import DEFINITION, MAX_PATTERN
from tests.fakes.subjects import score_text


@pytest.mark.parametrize(
    ("pattern", "parameters", "value"),
    [
        (r"\bid: \d+", {}, 1.0),
        (r"^\d+$", {}, 0.0),
        (r"\d+", {"full": True}, 0.0),
        (r"The id: \d+\nis ß", {"full": True}, 1.0),
        (r"the ID", {}, 0.0),
        (r"the ID", {"ignore_case": True}, 1.0),
        (r"^is", {}, 0.0),
        (r"^is", {"multiline": True}, 1.0),
        (r"id.*ß", {}, 0.0),
        (r"id.*ß", {"dot_all": True}, 1.0),
        (r"THE.*^IS", {"ignore_case": True, "dot_all": True, "multiline": True}, 1.0),
        (r"absent|ß$", {"ignore_case": True}, 1.0),
    ],
)
async def test_the_pattern_is_looked_for(
    pattern: str, parameters: dict[str, Any], value: float
) -> None:
    score = await score_text(DEFINITION, "The id: 17\nis ß", pattern=pattern, **parameters)
    assert score.value == value


@pytest.mark.parametrize("pattern", ["(", r"(a)\1", "(?=a)", "a" * (MAX_PATTERN + 1)])
async def test_a_pattern_that_is_none_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        await score_text(DEFINITION, "text", pattern=pattern)
    assert caught.value.violations[0].field == "metrics[0].parameters.pattern"


async def test_a_pattern_is_required() -> None:
    with pytest.raises(InvalidInput, match=r"parameters\.pattern: is missing"):
        await score_text(DEFINITION, "text")


async def test_what_takes_others_exponential_time_ends() -> None:
    text = "a" * (4 * LONG_TEXT) + "!"
    assert (await score_text(DEFINITION, text, pattern="^(a+)+$")).value == 0.0


async def test_a_missing_library_is_named_with_its_extra(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "re2", None)
    with pytest.raises(Precondition, match=r"foresight\[metrics\]"):
        await score_text(DEFINITION, "text", pattern="a")
