"""Scenarios as data: the YAML files beside this module, one preset each."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources
from types import MappingProxyType

import yaml
from pydantic import BaseModel, ConfigDict, Field

from foresight_services.core.objective import MetricSpec, Objective
from foresight_services.core.task import Preset, Task


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Task(_Strict):
    description: str
    guidance: str = ""
    goal: str = ""
    reference: str = ""
    world: str = ""


class _Metric(_Strict):
    name: str
    weight: float = Field(default=1.0, allow_inf_nan=False)
    artifact: str = ""
    parameters: dict[str, str | float | bool] = {}


class _Objective(_Strict):
    profile: str
    metrics: tuple[_Metric, ...]


class _Samples(_Strict):
    max: int = Field(ge=1)


class _Simulation(_Strict):
    horizon_messages: int = Field(ge=0)
    samples: _Samples
    max_message_tokens: int = Field(ge=1)


class _PresetFile(_Strict):
    task: _Task
    objective: _Objective
    simulation: _Simulation


@cache
def load_presets() -> Mapping[str, Preset]:
    """Return the presets that ship with the package, by the names of their files."""
    files = sorted(resources.files(__package__).iterdir(), key=lambda file: file.name)
    return MappingProxyType(
        {
            file.name.removesuffix(".yaml"): parse_preset(
                file.name.removesuffix(".yaml"), file.read_text("utf-8")
            )
            for file in files
            if file.name.endswith(".yaml")
        }
    )


def parse_preset(name: str, text: str) -> Preset:
    """Return the preset that `text`, a YAML document, describes."""
    file = _PresetFile.model_validate(yaml.safe_load(text))
    metrics = (
        MetricSpec(m.name, m.weight, m.artifact, m.parameters) for m in file.objective.metrics
    )
    return Preset(
        task=Task(preset=name, **file.task.model_dump()),
        objective=Objective(file.objective.profile, tuple(metrics)),
        horizon_messages=file.simulation.horizon_messages,
        samples_max=file.simulation.samples.max,
        max_message_tokens=file.simulation.max_message_tokens,
    )
