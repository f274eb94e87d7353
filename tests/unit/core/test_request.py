"""Filling in a request's defaults, and every complaint at once.

What each wrong field is told is in the table of `tests/rpc/test_bad_requests.py`.
"""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from foresight_services.core.conversation import Message
from foresight_services.core.errors import InvalidInput
from foresight_services.core.objective import NO_CLAMP, Clamp, MetricSpec, Objective
from foresight_services.core.request import RewardQuery, RewardRequest, resolve
from foresight_services.core.task import PolicyRef, Preset, Task

PREFIX = (Message("user", "hello"),)
METRICS = (MetricSpec("success"),)

PRESETS = {
    "math": Preset(
        task=Task(
            preset="math",
            description="preset's description",
            guidance="preset's guidance",
            goal="preset's goal",
            reference="preset's reference",
            world="preset's world",
            metadata={"a": "preset", "b": "preset"},
        ),
        objective=Objective("release", (MetricSpec("success", 2.0), MetricSpec("messages"))),
        horizon_messages=6,
        samples_max=9,
        max_message_tokens=77,
    )
}


def resolved(**fields) -> RewardRequest:
    given = {"task": Task(preset="math"), "prefix": PREFIX, "candidates": ("Sure.",), **fields}
    return resolve(RewardQuery(**given), PRESETS)


def bare(**fields) -> RewardRequest:
    return resolved(task=Task(goal="goal"), objective=Objective("", METRICS), **fields)


def test_defaults_without_a_preset() -> None:
    request = bare()
    assert request.objective.profile == "release"
    assert (request.horizon_messages, request.max_message_tokens) == (4, 1024)
    assert (request.samples_min, request.samples_max) == (2, 3)
    assert (request.seed, request.policy) == (0, PolicyRef("policy", 0))
    assert request.task == Task(goal="goal")


def test_a_preset_gives_every_field_that_is_left_open() -> None:
    request = resolved()
    assert request.task == PRESETS["math"].task
    assert request.objective == PRESETS["math"].objective
    assert (request.horizon_messages, request.max_message_tokens) == (6, 77)
    assert (request.samples_min, request.samples_max) == (5, 9)


def test_what_is_asked_for_goes_before_the_preset() -> None:
    request = resolved(
        task=Task(preset="math", goal="my goal", metadata={"b": "mine", "c": "mine"}),
        objective=Objective("", METRICS),
        horizon_messages=2,
        max_message_tokens=5,
        samples_max=4,
        samples_min=1,
    )
    assert request.task.goal == "my goal"
    assert request.task.description == "preset's description"
    assert dict(request.task.metadata) == {"a": "preset", "b": "mine", "c": "mine"}
    assert request.objective == Objective("release", METRICS)
    assert (request.horizon_messages, request.max_message_tokens) == (2, 5)
    assert (request.samples_min, request.samples_max) == (1, 4)


def test_a_horizon_of_0_is_asked_for_and_not_the_default() -> None:
    assert resolved(horizon_messages=0).horizon_messages == 0


@pytest.mark.parametrize(
    ("asked_min", "asked_max", "least", "most"),
    [
        (None, None, 2, 3),
        (None, 1, 1, 1),
        (None, 4, 2, 4),
        (None, 5, 3, 5),
        (3, None, 3, 3),
        # More than the default maximum: there must be that many.
        (8, None, 8, 8),
        (1, None, 1, 3),
        (1024, 1024, 1024, 1024),
    ],
)
def test_samples_are_half_of_the_most_rounded_up(asked_min, asked_max, least, most) -> None:
    request = bare(samples_min=asked_min, samples_max=asked_max)
    assert (request.samples_min, request.samples_max) == (least, most)


def test_a_world_stands_in_for_a_goal() -> None:
    request = resolved(task=Task(world="groceries"), objective=Objective("", METRICS))
    assert (request.task.goal, request.task.world) == ("", "groceries")


def test_every_complaint_is_told_at_once_in_the_order_of_the_contract() -> None:
    with pytest.raises(InvalidInput) as refused:
        resolved(
            task=Task(),
            prefix=(),
            candidates=("",),
            horizon_messages=-1,
            samples_min=0,
            request_id="x" * 129,
        )
    assert [v.field for v in refused.value.violations] == [
        "request_id",
        "task.goal",
        "prefix",
        "candidates[0]",
        "objective.metrics",
        "simulation.horizon_messages",
        "simulation.samples.min",
    ]
    assert refused.value.metadata == {"field": "request_id"}


def test_a_misspelt_preset_is_the_only_complaint_about_what_it_would_have_given() -> None:
    with pytest.raises(InvalidInput) as refused:
        resolved(task=Task(preset="maths"))
    assert [(v.field, v.description) for v in refused.value.violations] == [
        ("task.preset", "unknown 'maths'; did you mean 'math'? (known: math)")
    ]


def test_a_refusal_quotes_no_long_text() -> None:
    with pytest.raises(InvalidInput) as refused:
        resolved(task=Task(preset="x" * 100_000), prefix=(Message("user", "y" * 2_000_000),))
    assert len(refused.value.message) < 1000


def test_texts_are_measured_in_bytes_of_utf8() -> None:
    half_a_mebibyte_of_characters = "é" * (1 << 19)
    fits = bare(candidates=(half_a_mebibyte_of_characters,))
    assert fits.candidates == (half_a_mebibyte_of_characters,)
    with pytest.raises(InvalidInput, match=r"candidates\[0\]: is 1048578 bytes long"):
        bare(candidates=(half_a_mebibyte_of_characters + "é",))


# Objectives.


def complaints(objective: Objective, **fields) -> list[tuple[str, str]]:
    """Return what is wrong with a request that has this objective and no other fault."""
    with pytest.raises(InvalidInput) as refused:
        resolved(task=Task(goal="goal"), objective=objective, **fields)
    return [(v.field, v.description) for v in refused.value.violations]


@pytest.mark.parametrize(
    ("profile", "parameters"),
    [
        ("release", {}),
        ("paper", {"scope": "future"}),
        ("verl", {"scope": "future", "tokenizer": "whitespace", "unit": "token"}),
        ("custom", {}),
    ],
)
def test_the_profile_fills_in_parameters_for_the_evaluator(profile, parameters) -> None:
    metrics = (MetricSpec("success"), MetricSpec("token_amount", -0.5))
    found = resolved(task=Task(goal="goal"), objective=Objective(profile, metrics)).objective
    assert found.profile == profile
    assert [dict(spec.parameters) for spec in found.metrics] == [{}, parameters]


def test_the_profile_fills_in_parameters_of_the_presets_metrics_too() -> None:
    costly = Objective("release", (MetricSpec("token_amount", -0.5),))
    presets = {"math": replace(PRESETS["math"], objective=costly)}
    request = resolve(
        RewardQuery(Task(preset="math"), PREFIX, ("Sure.",), Objective("paper")), presets
    )
    assert dict(request.objective.metrics[0].parameters) == {"scope": "future"}


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (Objective(""), Clamp(-1.0, 1.0)),
        (Objective("", METRICS), Clamp(-1.0, 1.0)),
        (Objective("", clamp=Clamp(high=2.0)), Clamp(high=2.0)),
        # A profile that is named is the caller's own, the preset's limits are not in it.
        (Objective("custom"), NO_CLAMP),
        (Objective("release", METRICS), NO_CLAMP),
    ],
)
def test_a_presets_limits_belong_to_its_profile(asked, expected) -> None:
    limited = Objective("custom", METRICS, Clamp(-1.0, 1.0))
    presets = {"math": replace(PRESETS["math"], objective=limited)}
    request = resolve(RewardQuery(Task(preset="math"), PREFIX, ("Sure.",), asked), presets)
    assert request.objective.clamp == expected


def test_every_entry_has_a_name_of_its_own() -> None:
    twice = (MetricSpec("rubric"), MetricSpec("rubric", label="kind"), MetricSpec("rubric"))
    assert complaints(Objective("", twice)) == [
        ("objective.metrics[2].name", "'rubric' is already metric 0; give each its own label")
    ]
    same_label = (MetricSpec("rubric", label="kind"), MetricSpec("helpfulness", label="kind"))
    assert complaints(Objective("", same_label)) == [
        ("objective.metrics[1].label", "'kind' is already metric 0; give each its own label")
    ]
    borrowed = (MetricSpec("rubric", label="success"), MetricSpec("success"))
    assert complaints(Objective("", borrowed)) == [
        ("objective.metrics[1].name", "'success' is already metric 0; give each its own label")
    ]
    labelled = tuple(MetricSpec("rubric", label=label) for label in ("", "clear", "kind"))
    request = resolved(task=Task(goal="goal"), objective=Objective("", labelled))
    assert [spec.title for spec in request.objective.metrics] == ["rubric", "clear", "kind"]


def test_labels_are_short() -> None:
    assert complaints(Objective("", (MetricSpec("rubric", label="x" * 65),))) == [
        ("objective.metrics[0].label", "has 65 characters; at most 64")
    ]
    long_names = (MetricSpec("x" * 1_000_000), MetricSpec("x" * 1_000_000))
    (found,) = complaints(Objective("", long_names))
    assert len(found[1]) < 200


def test_an_unknown_profile_is_told_with_the_known_ones() -> None:
    assert complaints(Objective("papers", METRICS)) == [
        (
            "objective.profile",
            "unknown 'papers'; did you mean 'paper'? (known: custom, paper, release, verl)",
        )
    ]


@pytest.mark.parametrize(
    ("objective", "fields"),
    [
        (
            Objective("", (MetricSpec("a", normalise=True),), Clamp(low=0.0)),
            ["objective.metrics[0].normalise", "objective.clamp"],
        ),
        (
            Objective("verl", (MetricSpec("a", clamp=Clamp(high=0.0)),)),
            ["objective.metrics[0].clamp"],
        ),
        (
            Objective("paper", (MetricSpec("a"), MetricSpec("token_amount"))),
            ["objective.metrics[1].weight"],
        ),
        (
            Objective(
                "custom", (MetricSpec("a", clamp=Clamp(1.0, 0.0)),), Clamp(math.nan, math.inf)
            ),
            ["objective.metrics[0].clamp.min", "objective.clamp.min", "objective.clamp.max"],
        ),
        (
            Objective("paper", (MetricSpec("token_amount", math.nan),)),
            ["objective.metrics[0].weight"],
        ),
    ],
)
def test_what_a_profile_cannot_serve_is_told_with_the_rest(objective, fields) -> None:
    assert [field for field, _ in complaints(objective)] == fields
    both = complaints(objective, horizon_messages=-1)
    assert [field for field, _ in both] == [*fields, "simulation.horizon_messages"]


def test_a_profile_that_does_not_fit_the_presets_metrics_is_told() -> None:
    rewarding = Objective("release", (MetricSpec("token_amount", 0.5),))
    presets = {"math": replace(PRESETS["math"], objective=rewarding)}
    with pytest.raises(InvalidInput, match=r"^objective.metrics\[0\].weight: is 0.5; "):
        resolve(RewardQuery(Task(preset="math"), PREFIX, ("Sure.",), Objective("paper")), presets)
