"""Who the simulated user is: personas as data, drawn by sample index."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from importlib import resources
from itertools import accumulate
from pathlib import Path
from typing import Annotated, Final

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from foresight_services.core.errors import InvalidInput, Violation

NO_PERSONA: Final = "An ordinary person, nothing more is known."
"""What the user's prompt says where no persona was drawn."""

_Phrase = Annotated[str, Field(min_length=1, max_length=500)]


class Persona(BaseModel):
    """One persona; every field but the name and the weight is shown to the user model."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: Annotated[str, Field(pattern=r"^[a-z0-9_]{1,64}$")]
    """Name in results."""
    patience: _Phrase
    """How long the person bears with an assistant that does not help."""
    knowledge: _Phrase
    """What the person knows of the subject."""
    typing: _Phrase
    """How the person types."""
    mistakes: _Phrase
    """What the person gets wrong."""
    language: _Phrase
    """The words that the person uses."""
    traits: list[_Phrase] = []
    """Whatever else marks the person."""
    weight: Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)] = 1.0
    """How often it is drawn, relative to the others."""

    @property
    def description(self) -> str:
        """The persona as the user's prompt shows it."""
        lines = [
            f"{field}: {getattr(self, field)}"
            for field in ("patience", "knowledge", "typing", "mistakes", "language")
        ]
        return "\n".join([*lines, *self.traits])


class _PersonasFile(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    personas: Annotated[list[Persona], Field(min_length=1, max_length=1000)]


class PersonaBook:
    """Personas of one file; implements the port `Personas`."""

    def __init__(self, path: Path | None = None) -> None:
        """Read the personas of `path`, by default those that ship.

        Raises:
            InvalidInput: with every field of the file that is wrong.
        """
        try:
            text = _text(path)
            found = _PersonasFile.model_validate(yaml.safe_load(text)).personas
        except ValidationError as error:
            raise InvalidInput(tuple(_violations(error, path))) from error
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            problem = f"{path} cannot be read: {' '.join(str(error).split())}"
            raise InvalidInput((Violation("personas", problem),)) from error
        names = [persona.name for persona in found]
        twice = next((name for index, name in enumerate(names) if name in names[:index]), None)
        if twice is not None:
            raise InvalidInput((Violation("personas", f"{path}: {twice!r} is there twice"),))
        self._personas = {persona.name: persona for persona in found}
        self._limits = list(accumulate(persona.weight for persona in found))
        self.digest = hashlib.sha256(text.encode()).hexdigest()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all personas, in the order of the file."""
        return tuple(self._personas)

    def draw(self, seed: int, among: tuple[str, ...] = ()) -> str:
        """Return the name of the persona that `seed` draws, in proportion to the weights.

        `among` names the personas to choose from, each of this book; empty for all.
        """
        names, limits = list(self._personas), self._limits
        if among:
            names = list(dict.fromkeys(among))
            limits = list(accumulate(self._personas[name].weight for name in names))
        return random.Random(seed).choices(names, cum_weights=limits)[0]

    def describe(self, name: str) -> str:
        """Return what the user model is told of the persona `name`; empty means none was drawn."""
        return self._personas[name].description if name else NO_PERSONA


def _text(path: Path | None) -> str:
    if path is not None:
        return path.read_text("utf-8")
    return resources.files(__package__).joinpath("personas.yaml").read_text("utf-8")


def _violations(error: ValidationError, path: Path | None) -> Iterator[Violation]:
    for problem in error.errors(include_url=False, include_input=False):
        field = ".".join(str(part) for part in problem["loc"]) or "personas"
        yield Violation(field, f"{path}: {problem['msg'][:1].lower()}{problem['msg'][1:]}")
