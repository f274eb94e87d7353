"""A request file: read, overridden from the command line, and built by the client's own rules."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from foresight import build_request
from foresight.errors import InvalidRequestError
from foresight.v1.reward_service_pb2 import ComputeRewardsRequest
from foresight_services.cli.document import DocumentError, Value, parse_document
from foresight_services.cli.failures import wrong
from foresight_services.cli.scenario_option import ScenarioChoice

MAX_BYTES: Final = 64 << 20
"""Largest file that is read; no larger request can be sent."""

STDIN: Final = "-"


@dataclass(frozen=True, slots=True)
class Overrides:
    """What the command line says instead of the file; None where it says nothing."""

    horizon: int | None = None
    """Length of a future in messages."""
    samples: int | None = None
    """Futures for each candidate."""
    seed: int | None = None
    """Seed of every draw."""
    policy: str | None = None
    """`NAME` or `NAME@VERSION`."""
    baseline: int | None = None
    """Responses that the policy gives itself, to compare with; 0 for none."""

    def apply(self, request: Mapping[str, Value]) -> dict[str, Value]:
        """Return `request` with these values; a part that has the wrong type stays as it is."""
        simulation = request.get("simulation")
        if not isinstance(simulation, dict | None):
            return dict(request)
        changed = dict(simulation or {})
        if self.horizon is not None:
            changed["horizon_messages"] = self.horizon
        if self.seed is not None:
            changed["seed"] = self.seed
        if self.policy is not None:
            changed["policy"] = _policy(self.policy)
        if self.baseline is not None:
            changed.pop("baseline", None)
            if self.baseline != 0:
                changed["baseline"] = {"responses": self.baseline}
        if self.samples is not None:
            changed["samples"] = _samples(changed.get("samples"), self.samples)
        return {**request, "simulation": changed} if changed else dict(request)


def read_request(
    file: str | None, overrides: Overrides, scenario: ScenarioChoice | None = None
) -> ComputeRewardsRequest:
    """Return the request in `file`, `-` for standard input, with the defaults of `scenario`.

    Without a file it is the chosen example of the scenario.

    Raises:
        InvalidInput: `file` cannot be read or is no document.
        InvalidRequestError: with every field that is wrong.
    """
    if file is None:
        if scenario is None:
            raise wrong("FILE", "is missing; give a request, or a scenario with --task")
        return build_request(overrides.apply(scenario.example_request()))
    name, document = read_mapping(file, "a request has `task`, `prefix` and `candidates`")
    if scenario is not None:
        document = scenario.applied_to(document)
    try:
        return build_request(overrides.apply(document))
    except ValueError as error:
        if isinstance(error, InvalidRequestError):
            raise
        raise wrong(name, str(error)) from error


def read_mapping(file: str, fields: str) -> tuple[str, dict[str, Value]]:
    """Return what `file` is called in errors, and the mapping in it; `fields` says what it has.

    Raises:
        InvalidInput: `file` cannot be read or holds no mapping.
    """
    name = "(stdin)" if file == STDIN else file
    try:
        document = parse_document(_read(file, name))
    except DocumentError as error:
        raise wrong(name, str(error)) from error
    if document is None:
        raise wrong(name, f"is empty; {fields}")
    if not isinstance(document, dict):
        raise wrong(name, f"must be a mapping; {fields}")
    return name, document


def _read(file: str, name: str) -> str:
    try:
        if file == STDIN:
            content = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with Path(file).open("rb") as stream:
                content = stream.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise wrong(name, f"has more than {MAX_BYTES} bytes, which no request may have")
        return content.decode("utf-8-sig")
    except OSError as error:
        raise wrong(name, f"cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise wrong(name, f"is not UTF-8 text: {error.reason} at byte {error.start}") from error


def _policy(text: str) -> Value:
    name, at, version = text.rpartition("@")
    if at and version.isdecimal():
        return {"name": name, "version": version}
    return {"name": text}


def _samples(given: Value, most: int) -> Value:
    """Return `given` with another number of futures; a `min` above it no longer makes sense."""
    if not isinstance(given, dict | None):
        return given
    least = (given or {}).get("min")
    kept = {} if isinstance(least, int) and least > most else {"min": least}
    return {**(given or {}), "min": None, **kept, "max": most}
