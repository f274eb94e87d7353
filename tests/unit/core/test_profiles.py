"""Profiles: every formula by hand and recomputed in exact arithmetic."""

from __future__ import annotations

import random
from collections.abc import Sequence
from fractions import Fraction

import pytest

from foresight_services.core.aggregation import Row
from foresight_services.core.objective import Clamp, MetricSpec, Range
from foresight_services.core.profiles import PROFILES
from tests.fakes.objectives import UNIT, bound, drawn, spec


def test_the_profiles_and_their_versions() -> None:
    assert {name: profile.version for name, profile in PROFILES.items()} == {
        "release": "1",
        "paper": "1",
        "verl": "1",
        "custom": "1",
    }
    assert all(profile.name == name for name, profile in PROFILES.items())


# By hand.


def test_release_is_the_weighted_sum_without_cap_clamp_or_normalisation() -> None:
    metrics = (spec("accuracy"), spec("interactivity", 0.5), spec("token_amount", -2.0))
    assert bound("release", *metrics).value((3.0, 4.0, 1.5)) == 2.0
    assert bound("release", spec("a"), spec("b")).value((100.0, 200.0)) == 300.0
    assert bound("release", spec("token_amount", -1.0)).value((5.0,)) == -5.0
    assert bound("release", spec("token_amount", 1.0)).value((5.0,)) == 5.0


def test_release_is_exactly_rounded() -> None:
    # Added one after the other from the left, the one is lost.
    three = bound("release", *(spec(name) for name in "abc"))
    assert three.value((1e16, 1.0, -1e16)) == 1.0


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        # 1 + mean(0.8, 0.4) - min(0.5 * 1.5, 1)
        ((1.0, 0.8, 0.4, 1.5), 1.0 + 0.6 - 0.75),
        # The penalty ends at 1, reached at two thousand tokens.
        ((0.0, 0.0, 0.0, 2.0), -1.0),
        ((0.0, 1.0, 1.0, 7.0), 0.0),
        ((0.0, 0.0, 0.0, 0.0), 0.0),
    ],
)
def test_paper_caps_the_penalty_and_takes_the_mean_of_the_judges(scores, expected) -> None:
    paper = bound(
        "paper",
        spec("accuracy"),
        spec("interactivity"),
        spec("helpfulness"),
        spec("token_amount", -0.5),
    )
    assert paper.value(scores) == pytest.approx(expected, abs=1e-15)


def test_paper_weighs_each_judge_before_the_mean() -> None:
    judges = (spec("interactivity", 2.0), spec("helpfulness", 0.5, label="kind"))
    assert bound("paper", *judges).value((0.5, 0.4)) == pytest.approx((1.0 + 0.2) / 2)
    assert bound("paper", judges[0]).value((0.5,)) == 1.0


def test_paper_does_not_count_a_judge_of_weight_0() -> None:
    judges = (spec("interactivity"), spec("helpfulness", 0.0))
    assert bound("paper", *judges).value((0.5, 1.0)) == 0.5
    assert bound("paper", spec("helpfulness", 0.0)).value((1.0,)) == 0.0


def test_paper_knows_metrics_by_their_name_and_not_by_their_label() -> None:
    labelled = bound(
        "paper",
        spec("token_amount", -1.0, label="cost"),
        spec("rubric", label="interactivity"),
        spec("interactivity", label="token_amount"),
    )
    assert labelled.value((5.0, 0.25, 0.5)) == -1.0 + 0.25 + 0.5


def test_paper_caps_every_token_amount_on_its_own() -> None:
    twice = (spec("token_amount", -1.0), spec("token_amount", -0.5, label="again"))
    assert bound("paper", *twice).value((3.0, 1.0)) == -1.5


def test_verl_clamps_every_weighted_metric() -> None:
    verl = bound("verl", spec("accuracy", 2.0), spec("token_amount", -1e-4), spec("bleu", -3.0))
    assert verl.value((1.0, 500.0, 0.1)) == pytest.approx(1.0 - 0.05 - 0.3)
    assert verl.value((0.25, 20_000.0, 1.0)) == pytest.approx(0.5 - 1.0 - 1.0)


def test_verl_takes_the_means_first() -> None:
    verl = bound("verl", spec("accuracy", 2.0), spec("token_amount", -1.0))
    rows = [(1.0, 4.0), (0.0, 0.0), (0.2, 0.5)]
    # 2 * 0.4 = 0.8 is within the limits; -1.5 is not.
    assert verl.estimate(rows).mean == pytest.approx(0.8 - 1.0)
    # The mean of the conversations' own values is another number.
    assert sum(map(verl.value, rows)) / 3 == pytest.approx((0.0 + 0.0 + (0.4 - 0.5)) / 3)


def test_custom_limits_normalises_and_limits_the_sum() -> None:
    custom = bound(
        "custom",
        spec("rubric", 2.0, normalise=True),
        spec("token_amount", -0.5, clamp=Clamp(-1.0)),
        spec("bleu", clamp=Clamp(0.1, 0.6)),
        ranges=(Range(1.0, 5.0), None, None),
        clamp=Clamp(-0.25, 2.0),
    )
    # 2 * (4 - 1) / 4 - 0.5 * 1 + 0.3
    assert custom.value((4.0, 1.0, 0.3)) == pytest.approx(1.3)
    assert custom.value((5.0, 0.0, 0.9)) == 2.0
    assert custom.value((1.0, 90.0, 0.0)) == -0.25
    # 2 * (2 - 1) / 4 - 1 + 0.6
    assert custom.value((2.0, 90.0, 7.0)) == pytest.approx(0.1)


def test_custom_limits_the_weighted_score_and_not_the_score() -> None:
    assert bound("custom", spec("a", 10.0, clamp=Clamp(high=2.0))).value((1.0,)) == 2.0


def test_custom_normalises_a_range_of_one_value_to_0() -> None:
    one = bound("custom", spec("a", 3.0, normalise=True), ranges=(Range(2.0, 2.0),))
    assert (one.value((2.0,)), one.range) == (0.0, Range(0.0, 0.0))


def test_custom_without_wishes_is_release() -> None:
    specs = (spec("a", 0.3), spec("b", -7.0))
    ranges = (UNIT, Range(-1.0, 3.0))
    custom, release = (bound(name, *specs, ranges=ranges) for name in ("custom", "release"))
    rows = [(0.1, 2.0), (0.7, -0.3)]
    assert custom.range == release.range
    assert custom.estimate(rows) == release.estimate(rows)


# Recomputed in exact arithmetic, without a line of the code that is tested.


def exact(profile: str, specs: Sequence[MetricSpec], ranges: Sequence[Range], row: Row) -> Fraction:
    def limited(value: Fraction, low: float | None, high: float | None) -> Fraction:
        value = value if low is None else max(value, Fraction(low))
        return value if high is None else min(value, Fraction(high))

    products = [Fraction(s.weight) * Fraction(x) for s, x in zip(specs, row, strict=True)]
    if profile == "release":
        return sum(products, Fraction(0))
    if profile == "verl":
        return sum((limited(p, -1.0, 1.0) for p in products), Fraction(0))
    if profile == "custom":
        total = Fraction(0)
        for s, x, r in zip(specs, row, ranges, strict=True):
            if s.normalise:
                score = (Fraction(x) - Fraction(r.low)) / (Fraction(r.high) - Fraction(r.low))
            else:
                score = Fraction(x)
            total += limited(Fraction(s.weight) * score, s.clamp.low, s.clamp.high)
        return total
    cost = external = judged = Fraction(0)
    judges = 0
    for s, product in zip(specs, products, strict=True):
        if s.name == "token_amount":
            cost += min(-product, Fraction(1))
        elif s.name in ("interactivity", "helpfulness"):
            judged, judges = judged + product, judges + (s.weight != 0)
        else:
            external += product
    return external - cost + (judged / judges if judges else 0)


@pytest.mark.parametrize("profile", PROFILES)
def test_values_agree_with_exact_arithmetic(profile: str) -> None:
    rng = random.Random(7)
    for _ in range(200):
        specs, ranges, rows = drawn(profile, rng)
        aggregation = bound(profile, *specs, ranges=ranges)
        expected = [exact(profile, specs, ranges, row) for row in rows]
        for row, value in zip(rows, expected, strict=True):
            assert aggregation.value(row) == pytest.approx(float(value), rel=1e-12, abs=1e-12)
        if profile == "verl":
            means = [sum(map(Fraction, column)) / len(rows) for column in zip(*rows, strict=True)]
            reward = exact(profile, specs, ranges, means)  # type: ignore[arg-type]
        else:
            reward = sum(expected, Fraction(0)) / len(rows)
        found = aggregation.estimate(rows)
        assert found.mean == pytest.approx(float(reward), rel=1e-12, abs=1e-12)
        assert found.n == len(rows)
