"""Filling in a request's defaults, and every complaint at once.

What each wrong field is told is in the table of `tests/rpc/test_bad_requests.py`.
"""

from __future__ import annotations

import pytest

from foresight_services.core.conversation import Message
from foresight_services.core.errors import InvalidInput
from foresight_services.core.objective import MetricSpec, Objective
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
