"""Scenarios as data: one YAML file each, those that ship beside this module and the operator's own.

A scenario gives the defaults of a task, its objective and its simulation, and examples to try it
with. The format is the request's own, so what holds for a request holds here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from foresight_services.core import checks
from foresight_services.core.conversation import Conversation, Message
from foresight_services.core.errors import InvalidInput, Violation
from foresight_services.core.objective import Clamp, MetricSpec, Objective
from foresight_services.core.suggest import one_of
from foresight_services.core.task import Preset, Task

SUFFIX: Final = ".yaml"
MAX_CHARACTERS: Final = 1 << 20

Number = Annotated[float, Field(allow_inf_nan=False)]
Text = Annotated[str, Field(min_length=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class _Task(_Strict):
    description: str = ""
    guidance: str = ""
    goal: str = ""
    reference: str = ""
    world: str = ""
    metadata: dict[str, str] = {}


class _Clamp(_Strict):
    min: Number | None = None
    max: Number | None = None


class _Metric(_Strict):
    name: Text
    weight: Number = 1.0
    artifact: str = ""
    parameters: dict[str, Any] = {}
    label: str = ""
    normalise: bool = False
    clamp: _Clamp = _Clamp()


class _Objective(_Strict):
    profile: str = "release"
    metrics: Annotated[list[_Metric], Field(min_length=1)]
    clamp: _Clamp = _Clamp()


class _Samples(_Strict):
    max: int = Field(ge=1, le=checks.MAX_SAMPLES)


class _Simulation(_Strict):
    horizon_messages: int = Field(ge=0, le=checks.MAX_HORIZON)
    samples: _Samples
    max_message_tokens: int = Field(ge=1, le=checks.MAX_MESSAGE_TOKENS)
    personas: list[str] = []


class _Message(_Strict):
    role: Literal["system", "user", "assistant"]
    content: Text


class _Example(_Strict):
    title: Text
    goal: str = ""
    reference: str = ""
    metadata: dict[str, str] = {}
    prefix: Annotated[list[_Message], Field(min_length=1)]
    candidates: Annotated[list[Text], Field(min_length=1)]

    @model_validator(mode="after")
    def _ends_with_the_user(self) -> _Example:
        if self.prefix[-1].role != "user":
            raise ValueError("the prefix must end with a message of the user")
        return self


class _ScenarioFile(_Strict):
    task: _Task
    objective: _Objective
    simulation: _Simulation
    examples: list[_Example] = []


@dataclass(frozen=True, slots=True)
class Example:
    """A moment of a scenario to try it with."""

    title: str
    """What it shows."""
    task: Task
    """What the user wants in it; all else is the scenario's."""
    prefix: Conversation
    """The conversation so far."""
    candidates: tuple[str, ...]
    """Responses to compare."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A scenario as its file describes it."""

    preset: Preset
    """The defaults that it gives."""
    examples: tuple[Example, ...]
    """Moments to try it with."""
    document: Mapping[str, Any]
    """The defaults as a request would write them: `task`, `objective`, `simulation`."""


@cache
def shipped_scenarios() -> Mapping[str, Scenario]:
    """Return the scenarios that ship with the package, by the names of their files."""
    files = sorted(resources.files(__package__).iterdir(), key=lambda file: file.name)
    return MappingProxyType(
        {
            (name := file.name.removesuffix(SUFFIX)): read_scenario(
                name, yaml.safe_load(file.read_text("utf-8"))
            )
            for file in files
            if file.name.endswith(SUFFIX)
        }
    )


def load_scenarios(folder: Path | None = None) -> Mapping[str, Scenario]:
    """Return the scenarios that ship and those of `folder`, which win where names are equal.

    Raises:
        InvalidInput: naming every file and field that is wrong.
    """
    if folder is None:
        return shipped_scenarios()
    try:
        files = sorted(path for path in folder.iterdir() if path.suffix == SUFFIX)
    except OSError as error:
        problem = f"{folder} cannot be read: {error.strerror or error}"
        raise InvalidInput((Violation("tasks_path", problem),)) from error
    own: dict[str, Scenario] = {}
    violations: list[Violation] = []
    for path in files:
        try:
            own[path.stem] = read_scenario(path.stem, _document(path))
        except InvalidInput as error:
            violations += [Violation(f"{path}: {v.field}", v.description) for v in error.violations]
    if violations:
        raise InvalidInput(tuple(violations))
    return MappingProxyType({**shipped_scenarios(), **own})


def load_presets(folder: Path | None = None) -> Mapping[str, Preset]:
    """Return the defaults of all scenarios by their names; see `load_scenarios`."""
    return {name: scenario.preset for name, scenario in load_scenarios(folder).items()}


def read_scenario(name: str, document: object) -> Scenario:
    """Return the scenario that `document`, a decoded YAML file, describes.

    Raises:
        InvalidInput: with every field that is wrong.
    """
    if not isinstance(document, dict):
        problem = "must be a mapping with `task`, `objective` and `simulation`"
        raise InvalidInput((Violation("(file)", problem),))
    try:
        file = _ScenarioFile.model_validate(document)
    except ValidationError as error:
        raise InvalidInput(tuple(_violations(error))) from error
    task = Task(preset=name, **file.task.model_dump())
    return Scenario(
        preset=Preset(
            task=task,
            objective=_objective(file.objective),
            horizon_messages=file.simulation.horizon_messages,
            samples_max=file.simulation.samples.max,
            max_message_tokens=file.simulation.max_message_tokens,
            personas=tuple(file.simulation.personas),
        ),
        examples=tuple(_example(name, example) for example in file.examples),
        document={key: document[key] for key in ("task", "objective", "simulation")},
    )


def _objective(file: _Objective) -> Objective:
    return Objective(
        file.profile,
        tuple(
            MetricSpec(
                name=metric.name,
                weight=metric.weight,
                artifact=metric.artifact,
                parameters=metric.parameters,
                label=metric.label,
                normalise=metric.normalise,
                clamp=Clamp(metric.clamp.min, metric.clamp.max),
            )
            for metric in file.metrics
        ),
        Clamp(file.clamp.min, file.clamp.max),
    )


def _example(name: str, file: _Example) -> Example:
    return Example(
        title=file.title,
        task=Task(preset=name, goal=file.goal, reference=file.reference, metadata=file.metadata),
        prefix=tuple(Message(message.role, message.content) for message in file.prefix),
        candidates=tuple(file.candidates),
    )


def _document(path: Path) -> object:
    try:
        text = path.read_text("utf-8")
        if len(text) > MAX_CHARACTERS:
            raise ValueError(f"has more than {MAX_CHARACTERS} characters")
        return yaml.safe_load(text)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        problem = f"cannot be read: {' '.join(str(error).split())}"
        raise InvalidInput((Violation("(file)", problem),)) from error


def _violations(error: ValidationError) -> Iterator[Violation]:
    for problem in error.errors(include_url=False, include_input=False):
        path = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            known = _known_keys(problem["loc"][:-1])
            yield Violation(path, one_of(str(problem["loc"][-1]), known))
        else:
            yield Violation(path, problem["msg"][:1].lower() + problem["msg"][1:])


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    """Return the keys that the mapping at `location` may have."""
    sections: dict[str, type[_Strict]] = {
        "task": _Task,
        "objective": _Objective,
        "simulation": _Simulation,
        "metrics": _Metric,
        "clamp": _Clamp,
        "samples": _Samples,
        "examples": _Example,
        "prefix": _Message,
    }
    names = [part for part in location if isinstance(part, str)]
    return list((sections[names[-1]] if names else _ScenarioFile).model_fields)
