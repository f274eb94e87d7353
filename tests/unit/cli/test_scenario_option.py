"""The option --task: which defaults reach the request, and which choices are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from foresight_services.cli.request_file import Overrides, read_request
from foresight_services.cli.scenario_option import choose_scenario
from foresight_services.core.errors import InvalidInput

OWN = {
    "task": {"description": "A talk.", "metadata": {"a": "1", "b": "2"}},
    "objective": {"profile": "custom", "metrics": [{"name": "messages", "weight": -1}]},
    "simulation": {"horizon_messages": 2, "samples": {"max": 5}, "max_message_tokens": 64},
    "examples": [
        {
            "title": "One",
            "goal": "a goal",
            "prefix": [{"role": "user", "content": "hi"}],
            "candidates": ["A", "B"],
        }
    ],
}

REQUEST = """
task: {goal: mine, metadata: {b: "3"}}
prefix: [{role: user, content: hello}]
candidates: [C]
simulation: {samples: {min: 1}}
"""


@pytest.fixture
def own(tmp_path: Path) -> str:
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(OWN), "utf-8")
    return str(path)


def wrong(text: str, *, remote: bool = False, folder: str = "") -> str:
    with pytest.raises(InvalidInput) as refused:
        choose_scenario(text, example=1, folder=folder, remote=remote)
    return str(refused.value)


def test_ones_own_scenario_is_written_into_the_request(own: str, tmp_path: Path) -> None:
    file = tmp_path / "request.yaml"
    file.write_text(REQUEST, "utf-8")
    scenario = choose_scenario(own, example=1, folder="", remote=True)

    request = read_request(str(file), Overrides(), scenario)

    assert (request.task.preset, request.task.goal) == ("", "mine")
    assert request.task.description == "A talk."
    assert dict(request.task.metadata) == {"a": "1", "b": "3"}
    assert request.objective.profile == "custom"
    assert (request.simulation.samples.min, request.simulation.samples.max) == (1, 5)
    assert request.simulation.horizon_messages == 2


def test_without_a_file_an_example_is_scored(own: str) -> None:
    scenario = choose_scenario(own, example=1, folder="", remote=False)
    request = read_request(None, Overrides(samples=2), scenario)
    assert list(request.candidates) == ["A", "B"]
    assert (request.task.goal, request.prefix[0].content) == ("a goal", "hi")
    assert request.simulation.samples.max == 2


def test_a_scenario_that_ships_travels_by_its_name() -> None:
    scenario = choose_scenario("math", example=2, folder="", remote=False)
    request = read_request(None, Overrides(), scenario)
    assert request.task.preset == "math"
    assert request.task.reference == "1440"
    assert not request.HasField("objective")


def test_a_name_may_be_one_that_only_the_service_knows(tmp_path: Path) -> None:
    file = tmp_path / "request.yaml"
    file.write_text(REQUEST, "utf-8")
    scenario = choose_scenario("theirs", example=1, folder="", remote=True)
    assert read_request(str(file), Overrides(), scenario).task.preset == "theirs"
    with pytest.raises(InvalidInput, match="--example: the task has no examples; give FILE"):
        read_request(None, Overrides(), scenario)


def test_a_folder_of_the_configuration_is_looked_into(own: str) -> None:
    folder = str(Path(own).parent)
    assert choose_scenario("own", example=1, folder=folder, remote=False).name == "own"


@pytest.mark.parametrize("example", [0, 3, -1])
def test_an_example_that_is_not_there_is_refused(example: int) -> None:
    scenario = choose_scenario("math", example=example, folder="", remote=False)
    with pytest.raises(InvalidInput, match=f"is {example}; the task has 2 examples"):
        read_request(None, Overrides(), scenario)


def test_neither_file_nor_scenario_is_refused() -> None:
    with pytest.raises(InvalidInput, match="FILE: is missing"):
        read_request(None, Overrides())


def test_wrong_choices_are_told(tmp_path: Path) -> None:
    assert "did you mean 'math'?" in wrong("maths")
    assert "cannot be read: No such file" in wrong(str(tmp_path / "none.yaml"))
    broken = tmp_path / "broken.yaml"
    broken.write_text("task: {descripton: x}\nobjective: 3\n", "utf-8")
    told = wrong(str(broken))
    assert f"{broken}: task.descripton: unknown 'descripton'" in told
    assert f"{broken}: simulation: field required" in told
    broken.write_text("a: [", "utf-8")
    assert "is not YAML" in wrong(str(broken))
    broken.write_bytes(b"\xff\xfe")
    assert "cannot be read" in wrong(str(broken))
