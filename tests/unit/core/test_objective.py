"""Profiles: the arithmetic that joins metric scores, and the range of its results."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foresight_services.core.objective import PROFILES, Range, Release

RELEASE = Release()


def test_release_is_the_weighted_sum_without_cap_clamp_or_normalisation() -> None:
    assert RELEASE.value((1.0, 0.5, -2.0), (3.0, 4.0, 1.5)) == 2.0
    assert RELEASE.value((1.0, 1.0), (100.0, 200.0)) == 300.0
    assert RELEASE.value((-1.0,), (5.0,)) == -5.0


def test_release_is_exactly_rounded() -> None:
    # Added one after the other from the left, the one is lost.
    assert RELEASE.value((1.0, 1.0, 1.0), (1e16, 1.0, -1e16)) == 1.0


def test_every_score_needs_its_weight() -> None:
    with pytest.raises(ValueError, match="zip"):
        RELEASE.value((1.0, 1.0), (0.5,))
    with pytest.raises(ValueError, match="zip"):
        RELEASE.value_range((1.0,), ())


@pytest.mark.parametrize(
    ("weights", "ranges", "expected"),
    [
        ((1.0,), (Range(0.0, 1.0),), Range(0.0, 1.0)),
        ((2.0, -0.5), (Range(0.0, 1.0), Range(1.0, 5.0)), Range(-2.5, 1.5)),
        ((-1.0,), (Range(-3.0, 2.0),), Range(-2.0, 3.0)),
        ((1.0, 1.0), (Range(0.0, 1.0), None), None),
        # A metric that does not count needs no bounds.
        ((1.0, 0.0), (Range(0.0, 1.0), None), Range(0.0, 1.0)),
        ((0.0,), (None,), Range(0.0, 0.0)),
    ],
)
def test_the_range_of_the_sum(weights, ranges, expected) -> None:
    assert RELEASE.value_range(weights, ranges) == expected


@given(
    st.lists(
        st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.floats(0, 1e6), st.floats(0, 1)),
        min_size=1,
        max_size=8,
    )
)
def test_every_value_lies_in_the_range_but_for_rounding(metrics) -> None:
    weights = [weight for weight, *_ in metrics]
    ranges = [Range(low, low + span) for _, low, span, _ in metrics]
    scores = [
        min(low + where * span, ends.high)
        for (_, low, span, where), ends in zip(metrics, ranges, strict=True)
    ]
    found = RELEASE.value_range(weights, ranges)
    assert found is not None
    slack = 1e-9 * max(1.0, abs(found.low), abs(found.high))
    assert found.low - slack <= RELEASE.value(weights, scores) <= found.high + slack
    assert math.isfinite(found.low)


def test_profiles_are_known_by_their_names_and_carry_a_version() -> None:
    assert PROFILES
    for name, profile in PROFILES.items():
        assert profile.name == name
        assert profile.version
