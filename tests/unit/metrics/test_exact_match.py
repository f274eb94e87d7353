"""Whether a text is the reference."""

from __future__ import annotations

from typing import Any

import pytest

from foresight_services.metrics.exact_match import DEFINITION
from tests.fakes.subjects import score_text


@pytest.mark.parametrize(
    ("text", "parameters", "value"),
    [
        ("Straße 7, Ulm", {}, 1.0),
        (" Straße 7, Ulm\n", {}, 1.0),
        (" Straße 7, Ulm\n", {"strip": False}, 0.0),
        ("Straße 8, Ulm", {}, 0.0),
        ("STRASSE 7, ULM", {}, 0.0),
        ("STRASSE 7, ULM", {"ignore_case": True}, 1.0),
        ("Straße 7 – Ulm!", {}, 0.0),
        ("Straße 7 – Ulm!", {"ignore_punctuation": True}, 1.0),
        ("straße 7\nulm", {"ignore_punctuation": True, "ignore_case": True}, 1.0),
        ("Straße 7 Ulm", {"ignore_case": True}, 0.0),
    ],
)
async def test_what_counts_as_equal(text: str, parameters: dict[str, Any], value: float) -> None:
    score = await score_text(DEFINITION, text, reference="Straße 7, Ulm", **parameters)
    assert score.value == value
