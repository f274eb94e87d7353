"""Prompts: texts with named fields, each replaceable by a file of the operator's.

A field is a name in braces, `{goal}`; any other brace is text, so that JSON can be shown as it is,
and `{{goal}}` writes the name itself in braces. Values are put in as they are and never searched
for fields. The line break that ends a file's last line is no part of its prompt; every other byte
is. A wrong prompt is found when it is loaded, not when a conversation meets it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from foresight_services.core.errors import InvalidInput, Violation
from foresight_services.core.suggest import one_of

MAX_PROMPT_CHARACTERS: Final = 200_000

# The looser third form finds what was meant as a field, so that `{Goal}` and `{ goal }` are errors
# and not text that a model is shown.
_FIELD: Final = re.compile(r"\{\{([a-z_]+)\}\}|\{([a-z_]+)\}|\{ {0,3}([A-Za-z_]\w*) {0,3}\}")

_LAST_LINE_BREAK: Final = re.compile(r"\r?\n\Z")


class Readable(Protocol):
    """A file of a package or of the disk."""

    def read_bytes(self) -> bytes:
        """Return what the file holds."""
        ...


class Folder(Protocol):
    """A folder of a package or of the disk."""

    def joinpath(self, name: str, /) -> Readable:
        """Return the file called `name`."""
        ...


@dataclass(frozen=True, slots=True)
class PromptSpec:
    """A prompt that exists, and the fields that its text may use."""

    name: str
    """Name in the configuration; the file that ships is called `<name>.txt`."""
    required: frozenset[str] = frozenset()
    """Fields that the text must have."""
    optional: frozenset[str] = frozenset()
    """Further fields that it may have."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt that was checked."""

    name: str
    """Name in the configuration."""
    text: str
    """The text, its fields not filled in."""

    @property
    def digest(self) -> str:
        """SHA-256 of the text, as hexadecimal digits."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def render(self, **fields: str) -> str:
        """Return the text with its fields filled in; a field that it does not have is left out."""

        def value(found: re.Match[str]) -> str:
            return f"{{{found[1]}}}" if found[1] else fields[found[2]]

        return _FIELD.sub(value, self.text)


def parse_prompt(spec: PromptSpec, text: str, source: str) -> Prompt:
    """Return the prompt `text`, less one line break at its end.

    Raises:
        InvalidInput: naming `source`, with every field that is unknown or missing.
    """
    violations = tuple(_violations(spec, text, source))
    if violations:
        raise InvalidInput(violations)
    return Prompt(spec.name, _LAST_LINE_BREAK.sub("", text, count=1))


def _violations(spec: PromptSpec, text: str, source: str) -> Iterator[Violation]:
    path = f"prompts.{spec.name}"
    if len(text) > MAX_PROMPT_CHARACTERS:
        yield Violation(path, f"{source} is longer than {MAX_PROMPT_CHARACTERS} characters")
        return
    known = spec.required | spec.optional
    found = set()
    for match in _FIELD.finditer(text):
        name = match[2] or match[3]
        if match[1]:
            continue
        if match[3] or name not in known:
            line = text.count("\n", 0, match.start()) + 1
            problem = one_of(name, known) if known else f"{name[:64]!r}: this prompt has no fields"
            yield Violation(path, f"{source}, line {line}: {match[0][:70]} is no field: {problem}")
        found.add(name)
    for name in sorted(spec.required - found):
        yield Violation(path, f"{source} lacks the field {{{name}}}")


class PromptFiles:
    """The prompts of one part: those that ship with the package and those that replace them."""

    def __init__(
        self,
        specs: tuple[PromptSpec, ...],
        shipped: Folder,
        replaced: Mapping[str, Path] | None = None,
    ) -> None:
        """Read and check every prompt.

        Args:
            specs: the prompts that there are.
            shipped: where the files that ship are.
            replaced: files of the operator's, by the names of the prompts that they replace.

        Raises:
            InvalidInput: with every name, file and field that is wrong.
        """
        replaced = replaced or {}
        names = [spec.name for spec in specs]
        violations = [
            Violation(f"prompts.{name}", one_of(name, names))
            for name in replaced
            if name not in names
        ]
        self._prompts: dict[str, Prompt] = {}
        for spec in specs:
            try:
                self._prompts[spec.name] = _load(spec, shipped, replaced.get(spec.name))
            except InvalidInput as error:
                violations.extend(error.violations)
        if violations:
            raise InvalidInput(tuple(violations))

    def __getitem__(self, name: str) -> Prompt:
        return self._prompts[name]

    @property
    def digest(self) -> str:
        """SHA-256 over the digests of all prompts, as hexadecimal digits."""
        lines = (f"{name} {prompt.digest}\n" for name, prompt in sorted(self._prompts.items()))
        return hashlib.sha256("".join(lines).encode()).hexdigest()


def _load(spec: PromptSpec, shipped: Folder, replaced: Path | None) -> Prompt:
    if replaced is None:
        name = f"{spec.name}.txt"
        return parse_prompt(spec, shipped.joinpath(name).read_bytes().decode(), name)
    try:
        # Not `read_text`, which would turn the line breaks of other systems into its own.
        text = replaced.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        problem = f"{replaced} cannot be read: {' '.join(str(error).split())}"
        raise InvalidInput((Violation(f"prompts.{spec.name}", problem),)) from error
    return parse_prompt(spec, text, str(replaced))
