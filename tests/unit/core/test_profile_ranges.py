"""Ranges of rewards: no value leaves them, both ends are reached; scores beyond reckoning."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foresight_services.core.errors import Reason, Upstream
from foresight_services.core.objective import Clamp, Range
from foresight_services.core.profiles import PROFILES
from tests.fakes.objectives import UNIT, bound, drawn, spec

LENGTHS = Range(0.0, 9.0)


@pytest.mark.parametrize("profile", PROFILES)
def test_no_value_leaves_the_range_and_both_ends_are_reached(profile: str) -> None:
    rng = random.Random(11)
    for _ in range(200):
        specs, ranges, rows = drawn(profile, rng)
        clamp = Clamp()
        if profile == "custom" and rng.random() < 0.5:
            clamp = Clamp(rng.uniform(-2.0, 0.0), rng.uniform(0.0, 2.0))
        aggregation = bound(profile, *specs, ranges=ranges, clamp=clamp)
        found = aggregation.range
        assert found is not None
        assert all(found.low <= aggregation.value(row) <= found.high for row in rows)
        assert found.low <= aggregation.estimate(rows).mean <= found.high
        worst = [r.low if s.weight > 0 else r.high for s, r in zip(specs, ranges, strict=True)]
        best = [r.high if s.weight > 0 else r.low for s, r in zip(specs, ranges, strict=True)]
        assert (aggregation.value(worst), aggregation.value(best)) == (found.low, found.high)


@given(
    st.lists(
        st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.floats(0, 1e6), st.floats(0, 1)),
        min_size=1,
        max_size=8,
    ),
    st.sampled_from(("release", "verl", "custom")),
)
def test_rounding_leads_no_value_out_of_the_range(metrics, profile: str) -> None:
    specs = [
        spec("a", weight, label=str(i), normalise=profile == "custom")
        for i, (weight, *_) in enumerate(metrics)
    ]
    ranges = [Range(low, low + span) for _, low, span, _ in metrics]
    row = [
        min(low + where * span, ends.high)
        for (_, low, span, where), ends in zip(metrics, ranges, strict=True)
    ]
    aggregation = bound(profile, *specs, ranges=ranges)
    found = aggregation.range
    assert found is not None
    assert found.low <= aggregation.value(row) <= found.high
    assert found.low <= aggregation.estimate([row, row, row]).mean <= found.high


@pytest.mark.parametrize(
    ("profile", "metrics", "ranges", "expected"),
    [
        ("release", (spec("a"),), (UNIT,), UNIT),
        ("release", (spec("a", 2.0), spec("b", -0.5)), (UNIT, Range(1.0, 5.0)), Range(-2.5, 1.5)),
        ("release", (spec("a", -1.0),), (Range(-3.0, 2.0),), Range(-2.0, 3.0)),
        ("release", (spec("a"), spec("b")), (UNIT, None), None),
        # A metric that does not count needs no bounds.
        ("release", (spec("a"), spec("b", 0.0)), (UNIT, None), UNIT),
        ("release", (spec("a", 0.0),), (None,), Range(0.0, 0.0)),
        ("release", (spec("a"),), (Range(-1e300, 1e300),), None),
        ("paper", (spec("a"), spec("token_amount", -0.5)), (UNIT, LENGTHS), Range(-1.0, 1.0)),
        ("paper", (spec("token_amount", -0.5),), (Range(0.5, 1.5),), Range(-0.75, -0.25)),
        ("paper", (spec("token_amount", -0.5),), (Range(3.0, 9.0),), Range(-1.0, -1.0)),
        ("paper", (spec("token_amount", -0.5),), (None,), Range(-1.0, 0.0)),
        ("paper", (spec("interactivity"), spec("helpfulness")), (UNIT, UNIT), UNIT),
        ("paper", (spec("interactivity"), spec("helpfulness")), (UNIT, None), None),
        ("verl", (spec("a", 3.0), spec("b", -0.5)), (UNIT, UNIT), Range(-0.5, 1.0)),
        ("verl", (spec("a", 3.0), spec("b")), (None, UNIT), Range(-1.0, 2.0)),
        ("verl", (spec("a", 0.0),), (None,), Range(0.0, 0.0)),
        ("custom", (spec("a", 2.0, clamp=Clamp(0.5, 1.5)),), (UNIT,), Range(0.5, 1.5)),
        ("custom", (spec("a", clamp=Clamp(0.5, 1.5)),), (None,), Range(0.5, 1.5)),
        ("custom", (spec("a", clamp=Clamp(low=0.5)),), (None,), None),
        ("custom", (spec("a", -3.0, normalise=True),), (Range(5.0, 9.0),), Range(-3.0, 0.0)),
    ],
)
def test_the_range_of_a_reward(profile, metrics, ranges, expected) -> None:
    assert bound(profile, *metrics, ranges=ranges).range == expected


def test_limits_of_the_sum_are_its_range_where_the_metrics_have_none() -> None:
    assert bound("custom", spec("a"), clamp=Clamp(-1.0, 4.0)).range == Range(-1.0, 4.0)
    assert bound("custom", spec("a"), ranges=(UNIT,), clamp=Clamp(high=0.5)).range == Range(0, 0.5)


@pytest.mark.parametrize("profile", PROFILES)
def test_zero_has_no_sign(profile: str) -> None:
    aggregation = bound(profile, spec("token_amount", -1.0), ranges=(UNIT,))
    assert math.copysign(1.0, aggregation.value((0.0,))) == 1.0
    assert aggregation.range is not None
    assert math.copysign(1.0, aggregation.range.high) == 1.0


# What cannot be reckoned with.


@pytest.mark.parametrize("profile", PROFILES)
def test_every_score_needs_its_weight_and_its_range(profile: str) -> None:
    aggregation = bound(profile, spec("a"), spec("b"))
    with pytest.raises(ValueError, match="zip"):
        aggregation.value((0.5,))
    with pytest.raises(ValueError, match="zip"):
        bound(profile, spec("a"), ranges=())


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("score", [1e200, -1e200, 1e145, math.nan, math.inf])
def test_a_score_that_is_too_large_is_the_failure_of_its_metric(profile, score) -> None:
    aggregation = bound(profile, spec("a"), spec("b", 1e9, label="large"))
    with pytest.raises(Upstream, match="^large: ") as refused:
        aggregation.value((0.5, score))
    assert refused.value.reason is Reason.METRIC_FAILED
    assert refused.value.metadata == {"metric": "large"}


@pytest.mark.parametrize("profile", PROFILES)
def test_a_small_weight_does_not_make_a_score_that_is_too_large_usable(profile) -> None:
    with pytest.raises(Upstream, match="^a: "):
        bound(profile, spec("a", 1e-100)).value((1e151,))


def test_what_rounding_adds_to_a_score_beyond_its_range_is_taken_off() -> None:
    for profile in PROFILES:
        aggregation = bound(profile, spec("a"), ranges=(UNIT,))
        assert aggregation.value((1.0 + 1e-12,)) == 1.0
        assert aggregation.estimate([(1.0 + 1e-12,), (-1e-12,)]).mean == 0.5
