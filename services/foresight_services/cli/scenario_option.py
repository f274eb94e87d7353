"""The option `--task`: a scenario by its name, or one's own from a file.

A scenario that a service knows travels by its name. One's own is written into the request, so that
it works with any service.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from foresight_services.cli.document import DocumentError, Value, parse_document
from foresight_services.cli.failures import wrong
from foresight_services.core.errors import InvalidInput, Violation
from foresight_services.core.suggest import one_of
from foresight_services.tasks.presets import (
    MAX_CHARACTERS,
    SUFFIX,
    Example,
    Scenario,
    load_scenarios,
    read_scenario,
)

Request = Mapping[str, Value]

_PARTS: Final = ("task", "objective", "simulation")


@dataclass(frozen=True, slots=True)
class ScenarioChoice:
    """What `--task` and `--example` chose."""

    name: str
    """The scenario's name, which the service knows; empty for one's own."""
    scenario: Scenario | None
    """The scenario; None where only the service knows it."""
    example: int = 1
    """Which of its examples stands in for a request, from 1."""

    def applied_to(self, request: Request) -> dict[str, Value]:
        """Return `request` with the scenario's defaults; what it says itself stays."""
        if self.name:
            task = request.get("task")
            if not isinstance(task, dict | None):
                return dict(request)
            return {**request, "task": {**(task or {}), "preset": self.name}}
        assert self.scenario is not None  # one's own was read from its file
        merged = dict(request)
        for part in _PARTS:
            given = request.get(part)
            if isinstance(given, dict | None):
                merged[part] = _merged(self.scenario.document[part], given or {})
        return merged

    def example_request(self) -> dict[str, Value]:
        """Return the chosen example as a request.

        Raises:
            InvalidInput: where the scenario has no such example.
        """
        examples = () if self.scenario is None else self.scenario.examples
        if not 1 <= self.example <= len(examples):
            problem = f"is {self.example}; the task has {len(examples)} examples"
            raise wrong("--example", problem if examples else "the task has no examples; give FILE")
        return self.applied_to(_request(examples[self.example - 1]))


def choose_scenario(text: str, *, example: int, folder: str, remote: bool) -> ScenarioChoice:
    """Return the scenario that `text` names.

    Args:
        text: name of a scenario, or path of a file that ends with `.yaml`.
        example: which of its examples to use, from 1.
        folder: the configuration's own scenarios; empty for none.
        remote: whether a service elsewhere is asked, which may know others.

    Raises:
        InvalidInput: where there is no such scenario or file, or its file is wrong.
    """
    if text.endswith(SUFFIX) or os.sep in text:
        return ScenarioChoice("", _read(text), example)
    known = load_scenarios(Path(folder) if folder else None)
    if text not in known and not remote:
        raise wrong("--task", one_of(text, known))
    return ScenarioChoice(text, known.get(text), example)


def _read(path: str) -> Scenario:
    try:
        with Path(path).open(encoding="utf-8") as stream:
            text = stream.read(MAX_CHARACTERS + 1)
    except (OSError, UnicodeDecodeError) as error:
        problem = getattr(error, "strerror", None) or str(error)
        raise wrong(path, f"cannot be read: {problem}") from error
    if len(text) > MAX_CHARACTERS:
        raise wrong(path, f"has more than {MAX_CHARACTERS} characters")
    try:
        return read_scenario("", parse_document(text))
    except DocumentError as error:
        raise wrong(path, str(error)) from error
    except InvalidInput as error:
        raise InvalidInput(
            tuple(Violation(f"{path}: {v.field}", v.description) for v in error.violations)
        ) from error


def _merged(defaults: Mapping[str, Value], given: Mapping[str, Value]) -> Value:
    merged: dict[str, Value] = {**defaults, **given}
    for key in ("metadata", "samples"):
        low, high = defaults.get(key), given.get(key)
        if isinstance(low, dict) and isinstance(high, dict):
            merged[key] = {**low, **high}
    return merged


def _request(example: Example) -> dict[str, Value]:
    fields = {
        "goal": example.task.goal,
        "reference": example.task.reference,
        "metadata": dict(example.task.metadata),
    }
    return {
        "task": cast(Value, {name: value for name, value in fields.items() if value}),
        "prefix": [{"role": m.role, "content": m.content} for m in example.prefix],
        "candidates": list(example.candidates),
    }
