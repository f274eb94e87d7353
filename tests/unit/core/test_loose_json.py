"""Objects that models meant: what the suites of their readers do not reach."""

from __future__ import annotations

import pytest

from foresight_services.core.loose_json import read_object


@pytest.mark.parametrize(
    "text",
    [
        '{"thought": "fine", "accuracy": 0.5,\n}',
        '{"thought": "fine", "accuracy": 0.5, \n }',
        '{"accuracy": 0.5,\n"thought": "fine",}',
        "{'accuracy': 0.5,\n}",
        "{accuracy: 0.5,\n}",
        '{"accuracy": 0.5,',
        '{"accuracy": 0.5',
    ],
)
def test_a_bare_value_ends_before_a_comma_that_ends_the_line(text: str) -> None:
    found = read_object(text, ("accuracy",))
    assert found is not None
    assert found.members["accuracy"] == "0.5"
