"""Ranks: the greatest first, ties share, no value has no rank."""

import pytest

from foresight_services.cli.ranking import leaders, ranks


@pytest.mark.parametrize(
    ("values", "expected", "first"),
    [
        ([], [], []),
        ([None], [None], []),
        ([0.5], [1], [0]),
        ([0.1, 0.3, 0.2], [3, 1, 2], [1]),
        ([-1.0, None, 0.0], [2, None, 1], [2]),
        ([0.3, 0.1, 0.3, 0.1], [1, 3, 1, 3], [0, 2]),
    ],
)
def test_ranks(values, expected, first):
    assert ranks(values) == expected
    assert leaders(values) == first
