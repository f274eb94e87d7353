"""Scenarios: those that ship can be used as they are, and a wrong file is told field by field."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from foresight_services.core.errors import InvalidInput
from foresight_services.core.objective import Clamp
from foresight_services.core.request import RewardQuery, resolve
from foresight_services.core.task import PolicyRef, Task
from foresight_services.simulator.prompting.personas import PersonaBook
from foresight_services.tasks.presets import (
    load_presets,
    load_scenarios,
    read_scenario,
    shipped_scenarios,
)

NAMES = (
    "ambiguous_qa",
    "code_generation",
    "dating_advice",
    "document_editing",
    "groceries",
    "math",
    "medical_triage",
    "review_writing",
    "tutoring",
    "twenty_questions",
)


def document(**parts: Any) -> dict[str, Any]:
    return {
        "task": {"description": "A talk."},
        "objective": {"metrics": [{"name": "success"}]},
        "simulation": {"horizon_messages": 2, "samples": {"max": 3}, "max_message_tokens": 64},
        **parts,
    }


def violations(wrong: object) -> dict[str, str]:
    with pytest.raises(InvalidInput) as refused:
        read_scenario("mine", wrong)
    return {v.field: v.description for v in refused.value.violations}


def test_these_scenarios_ship() -> None:
    assert tuple(shipped_scenarios()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_example_is_a_complete_request(name: str) -> None:
    scenario = shipped_scenarios()[name]
    assert len(scenario.examples) == 2
    for example in scenario.examples:
        assert len(example.candidates) >= 2
        request = resolve(
            RewardQuery(task=example.task, prefix=example.prefix, candidates=example.candidates),
            load_presets(),
        )
        assert request.objective.metrics
        assert request.horizon_messages == scenario.preset.horizon_messages
        assert request.task.description == scenario.preset.task.description
        assert request.personas == scenario.preset.personas


@pytest.mark.parametrize("name", NAMES)
def test_every_persona_of_a_scenario_is_one_that_ships(name: str) -> None:
    assert set(shipped_scenarios()[name].preset.personas) <= set(PersonaBook().names)


@pytest.mark.parametrize("name", NAMES)
def test_tasks_with_an_artifact_say_what_it_has_to_meet(name: str) -> None:
    preset = shipped_scenarios()[name].preset
    wants = any(metric.artifact for metric in preset.objective.metrics)
    assert wants == ("extraction_requirement" in preset.task.metadata)


def test_a_file_says_everything_that_a_request_can_say_of_its_objective() -> None:
    metric = {
        "name": "rubric",
        "weight": 2,
        "artifact": "letter",
        "parameters": {"criteria": [{"name": "kind", "anchors": {"0": "no"}}]},
        "label": "kindness",
        "normalise": True,
        "clamp": {"min": -1, "max": 0.5},
    }
    objective = {"profile": "custom", "metrics": [metric], "clamp": {"max": 3}}
    found = read_scenario("mine", document(objective=objective)).preset.objective
    (spec,) = found.metrics
    assert (found.profile, found.clamp) == ("custom", Clamp(None, 3.0))
    assert (spec.name, spec.title, spec.weight, spec.artifact) == (
        "rubric",
        "kindness",
        2,
        "letter",
    )
    assert (spec.normalise, spec.clamp) == (True, Clamp(-1.0, 0.5))
    assert spec.parameters == metric["parameters"]


def test_everything_that_is_wrong_is_told_at_once() -> None:
    wrong = document(
        task={"descripton": "a"},
        objective={"metrics": []},
        simulation={"horizon_messages": 1.5, "samples": {"max": 0}, "max_message_tokens": 5},
        examples=[
            {"title": "x", "prefix": [{"role": "assistant", "content": "h"}], "candidates": ["a"]}
        ],
    )
    found = violations(wrong)
    assert "did you mean 'description'?" in found["task.descripton"]
    assert set(found) == {
        "task.descripton",
        "objective.metrics",
        "simulation.horizon_messages",
        "simulation.samples.max",
        "examples.0",
    }


@pytest.mark.parametrize("wrong", [None, [], "text", 3])
def test_a_file_that_is_no_mapping_is_refused(wrong: object) -> None:
    assert list(violations(wrong)) == ["(file)"]


def test_a_folder_adds_scenarios_and_replaces_shipped_ones(tmp_path: Path) -> None:
    (tmp_path / "haiku.yaml").write_text(yaml.safe_dump(document()), "utf-8")
    (tmp_path / "math.yaml").write_text(yaml.safe_dump(document()), "utf-8")
    (tmp_path / "notes.txt").write_text("not a scenario", "utf-8")
    found = load_scenarios(tmp_path)
    assert set(found) == {*NAMES, "haiku"}
    assert found["math"].preset.task == Task(preset="math", description="A talk.")


def test_wrong_files_of_a_folder_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("task: [", "utf-8")
    (tmp_path / "b.yaml").write_text(yaml.safe_dump(document(extra=1)), "utf-8")
    (tmp_path / "c.yaml").write_bytes(b"\xff")
    with pytest.raises(InvalidInput) as refused:
        load_scenarios(tmp_path)
    fields = [v.field for v in refused.value.violations]
    assert fields == [
        f"{tmp_path / 'a.yaml'}: (file)",
        f"{tmp_path / 'b.yaml'}: extra",
        f"{tmp_path / 'c.yaml'}: (file)",
    ]


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as refused:
        load_scenarios(tmp_path / "none")
    assert [v.field for v in refused.value.violations] == ["tasks_path"]


def test_a_requests_own_personas_win() -> None:
    query = RewardQuery(
        task=Task(preset="math", goal="g", reference="r"),
        prefix=shipped_scenarios()["math"].examples[0].prefix,
        candidates=("a",),
        policy=PolicyRef(),
        personas=("blunt_customer",),
    )
    assert resolve(query, load_presets()).personas == ("blunt_customer",)
