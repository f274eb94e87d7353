"""What profiles fill in, and what they refuse, field by field."""

from __future__ import annotations

import math

import pytest

from foresight_services.core.errors import InvalidInput
from foresight_services.core.objective import Clamp, Objective, Range
from foresight_services.core.profiles import MAX_LIMIT, PROFILES
from tests.fakes.objectives import UNIT, bound, spec

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("profile", "given", "expected"),
    [
        ("release", {}, {}),
        ("paper", {}, {"scope": "future"}),
        ("paper", {"scope": "all"}, {"scope": "all"}),
        ("paper", {"tokenizer": "words"}, {"scope": "future", "tokenizer": "words"}),
        ("verl", {}, {"scope": "future", "tokenizer": "whitespace", "unit": "token"}),
        (
            "verl",
            {"unit": "thousand", "scope": "assistant"},
            {"scope": "assistant", "tokenizer": "whitespace", "unit": "thousand"},
        ),
        ("custom", {}, {}),
    ],
)
def test_a_profile_fills_in_the_parameters_of_token_amount(profile, given, expected) -> None:
    asked = spec("token_amount", -0.5, parameters=given, label="cost")
    prepared = PROFILES[profile].prepared(asked)
    assert dict(prepared.parameters) == expected
    assert (prepared.name, prepared.weight, prepared.label) == ("token_amount", -0.5, "cost")
    assert PROFILES[profile].prepared(spec("accuracy")) == spec("accuracy")


@pytest.mark.parametrize("profile", ["release", "paper", "verl"])
def test_limits_and_normalisation_are_for_custom_alone(profile: str) -> None:
    objective = Objective(
        profile,
        (spec("a"), spec("b", normalise=True), spec("c", clamp=Clamp(high=1.0))),
        Clamp(low=0.0),
    )
    found = [(v.field, v.description) for v in PROFILES[profile].violations(objective)]
    only = "is for the profile 'custom' alone"
    assert found == [
        ("objective.metrics[1].normalise", only),
        ("objective.metrics[2].clamp", only),
        ("objective.clamp", only),
    ]


def test_paper_refuses_to_reward_length() -> None:
    metrics = (spec("token_amount", -1.0), spec("token_amount", 0.5, label="b"), spec("c", 2.0))
    (found,) = PROFILES["paper"].violations(Objective("paper", metrics))
    assert found.field == "objective.metrics[1].weight"
    assert "give a weight of at most 0" in found.description
    assert not list(PROFILES["verl"].violations(Objective("verl", metrics)))


@pytest.mark.parametrize(
    ("clamp", "field", "description"),
    [
        (Clamp(NAN, 1.0), "min", "is nan; must be a finite number"),
        (Clamp(0.0, NAN), "max", "is nan; must be a finite number"),
        (Clamp(-INF, 1.0), "min", "is -inf; must be a finite number"),
        (Clamp(high=INF), "max", "is inf; must be a finite number"),
        (Clamp(high=2 * MAX_LIMIT), "max", "must be a finite number, -1e+100 to 1e+100"),
        (Clamp(2.0, 1.0), "min", "is 2, more than `max`, 1; must be at most that"),
    ],
)
def test_custom_refuses_limits_that_are_none(clamp, field, description) -> None:
    custom = PROFILES["custom"]
    (found,) = custom.violations(Objective("custom", (spec("a"), spec("b", clamp=clamp))))
    assert found.field == f"objective.metrics[1].clamp.{field}"
    assert description in found.description
    (found,) = custom.violations(Objective("custom", (spec("a"),), clamp))
    assert found.field == f"objective.clamp.{field}"
    assert description in found.description


def test_custom_takes_one_limit_two_equal_ones_and_the_largest() -> None:
    for clamp in (Clamp(low=1.0), Clamp(1.0, 1.0), Clamp(-MAX_LIMIT, MAX_LIMIT)):
        objective = Objective("custom", (spec("a", clamp=clamp),), clamp)
        assert not list(PROFILES["custom"].violations(objective))


def test_custom_names_every_end_that_is_wrong() -> None:
    both = Objective("custom", (spec("a"),), Clamp(NAN, INF))
    fields = [v.field for v in PROFILES["custom"].violations(both)]
    assert fields == ["objective.clamp.min", "objective.clamp.max"]


def test_custom_cannot_normalise_without_a_range() -> None:
    specs = (
        spec("a", normalise=True),
        spec("b", normalise=True, label="reward model"),
        spec("c"),
        spec("d", normalise=True),
    )
    with pytest.raises(InvalidInput) as refused:
        bound("custom", *specs, ranges=(UNIT, None, None, Range(-1e300, 1e300)))
    assert [(v.field, v.description) for v in refused.value.violations] == [
        (
            "objective.metrics[1].normalise",
            "'reward model' has no range here to be normalised by",
        ),
        ("objective.metrics[3].normalise", "'d' has no range here to be normalised by"),
    ]
