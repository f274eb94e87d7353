"""The configured policies, by name."""

from __future__ import annotations

import pytest

from foresight_services.core.errors import NotFound, Reason
from foresight_services.core.task import PolicyRef, Task
from foresight_services.models.builtin import BuiltinModel
from foresight_services.models.directory import ConfiguredPolicies
from foresight_services.models.metered import MeteredModel
from foresight_services.worlds.registry import make_worlds
from tests.fakes.telemetry import RecordingTelemetry
from tests.fakes.virtual_time import LoopClock

GAME = Task(world="twenty_questions")


def policies(**skills: str) -> tuple[ConfiguredPolicies, dict[str, MeteredModel]]:
    worlds = make_worlds()
    rules = {name: BuiltinModel(worlds, skill=skill) for name, skill in skills.items()}
    metered = {
        name: MeteredModel(model, clock=LoopClock(), telemetry=RecordingTelemetry())
        for name, model in rules.items()
    }
    return ConfiguredPolicies({name: (rules[name], metered[name]) for name in rules}), metered


async def test_a_configured_policy_is_its_metered_model_at_version_0() -> None:
    known, metered = policies(policy="", asker="asker")
    found = await known.resolve(PolicyRef("asker"), GAME)
    assert found.ref == PolicyRef("asker", 0)
    assert found.model is metered["asker"]


async def test_an_unknown_name_is_told_with_the_nearest_and_the_known() -> None:
    known, _ = policies(policy="", asker="asker")
    with pytest.raises(NotFound) as refused:
        await known.resolve(PolicyRef("polcy"), GAME)
    assert refused.value.reason is Reason.UNKNOWN_POLICY
    assert "did you mean 'policy'?" in refused.value.message
    assert refused.value.metadata == {"policy": "polcy", "known": "asker, policy"}


async def test_there_is_no_version_but_0() -> None:
    known, _ = policies(policy="")
    with pytest.raises(NotFound) as refused:
        await known.resolve(PolicyRef("policy", 3), GAME)
    assert refused.value.metadata == {"policy": "policy", "version": "3"}


async def test_a_policy_must_play_the_tasks_world() -> None:
    known, _ = policies(asker="asker")
    with pytest.raises(NotFound) as refused:
        await known.resolve(PolicyRef("asker"), Task(world="groceries"))
    assert "policy 'asker' does not play 'groceries'" in refused.value.message
    assert refused.value.metadata == {
        "policy": "asker",
        "known": "assumer, interrogator, focused",
    }
