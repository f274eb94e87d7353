"""What the world knows: things, yes/no attributes, and the words for both.

A set of things is an integer bitmask over the order of the file, so narrowing the possibilities
down by an answer is one `&`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Final

import yaml


class KnowledgeError(ValueError):
    """A knowledge file that cannot be played with; the text names the file and the entry."""


@dataclass(frozen=True, slots=True)
class Attribute:
    """One yes/no property."""

    id: str
    """How things refer to it."""
    question: str
    """The question by which a policy asks it."""
    phrases: tuple[str, ...]
    """Words by which an English question asks for it."""
    antonyms: tuple[str, ...]
    """Words by which an English question asks for its opposite."""
    things: int
    """Bitmask of the things it holds for."""


@dataclass(frozen=True, slots=True)
class Thing:
    """One possible secret."""

    name: str
    """The goal that stands for it."""
    aliases: tuple[str, ...]
    """Other names that count as the same guess."""
    guess: str
    """The sentence by which a policy guesses it."""


@dataclass(frozen=True, slots=True)
class Knowledge:
    """Things and attributes in the order of the file; an index into either is its identity."""

    attributes: tuple[Attribute, ...]
    things: tuple[Thing, ...]
    names: Mapping[str, int]
    """Index of the thing for each name and alias, lower case."""

    @property
    def everything(self) -> int:
        """Bitmask of all things."""
        return (1 << len(self.things)) - 1

    def find(self, name: str) -> int | None:
        """Return the index of the thing called `name`, any case, or None."""
        return self.names.get(_plain(name))

    def nearest(self, name: str) -> str:
        """Return the known name that looks most like `name`."""
        closest = difflib.get_close_matches(_plain(name)[:80], self.names, n=1, cutoff=0.0)
        return self.things[self.names[closest[0]]].name


def members(things: int) -> Iterator[int]:
    """Yield the indices in the bitmask `things`, in ascending order."""
    while things:
        lowest = things & -things
        yield lowest.bit_length() - 1
        things ^= lowest


@cache
def builtin_knowledge() -> Knowledge:
    """Return the knowledge that ships with the package."""
    file = resources.files(__package__) / "things.yaml"
    return parse_knowledge(file.read_text(encoding="utf-8"), source="things.yaml")


def load_knowledge(path: Path) -> Knowledge:
    """Read a knowledge file in the format of `things.yaml`.

    Raises KnowledgeError on a mistake in it, OSError when it cannot be read.
    """
    return parse_knowledge(path.read_text(encoding="utf-8"), source=path.name)


def parse_knowledge(text: str, *, source: str) -> Knowledge:
    """Parse and check the YAML `text`; `source` names it in the text of KnowledgeError."""
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise KnowledgeError(f"{source}: not valid YAML: {error}") from error
    try:
        return _decode(document)
    except KnowledgeError as error:
        raise KnowledgeError(f"{source}: {error}") from error


_TOP_KEYS: Final = frozenset({"attributes", "things"})
_ATTRIBUTE_KEYS: Final = frozenset({"id", "question", "phrases", "antonyms"})
_THING_KEYS: Final = frozenset({"name", "aliases", "article", "is"})


def _decode(document: object) -> Knowledge:
    top = _entry(document, _TOP_KEYS, "the file")
    described = _entries(top, "attributes", "id", _ATTRIBUTE_KEYS)
    named = _entries(top, "things", "name", _THING_KEYS)
    holders = dict.fromkeys(described, 0)
    things: list[Thing] = []
    names: dict[str, int] = {}
    twins: dict[frozenset[str], str] = {}
    for index, (name, entry) in enumerate(named.items()):
        where = f"thing {name!r}"
        held = _strings(entry, "is", where)
        for attribute_id in held:
            if attribute_id not in holders:
                raise KnowledgeError(f"{where}: unknown attribute {attribute_id!r}")
            holders[attribute_id] |= 1 << index
        twin = twins.setdefault(frozenset(held), name)
        if twin != name:
            raise KnowledgeError(f"{where}: no attribute tells it from {twin!r}")
        aliases = _strings(entry, "aliases", where)
        for word in (name, *aliases):
            if names.setdefault(_plain(word), index) != index:
                other = things[names[_plain(word)]].name
                raise KnowledgeError(f"{where}: {word!r} already names {other!r}")
        things.append(Thing(name, aliases, _guess(name, entry, where)))
    attributes = tuple(
        _attribute(attribute_id, entry, holders[attribute_id])
        for attribute_id, entry in described.items()
    )
    return Knowledge(attributes, tuple(things), names)


def _attribute(attribute_id: str, entry: Mapping[str, Any], things: int) -> Attribute:
    where = f"attribute {attribute_id!r}"
    return Attribute(
        id=attribute_id,
        question=_string(entry, "question", where),
        phrases=_strings(entry, "phrases", where),
        antonyms=_strings(entry, "antonyms", where),
        things=things,
    )


def _guess(name: str, entry: Mapping[str, Any], where: str) -> str:
    article = "an" if name[0] in "aeiou" else "a"
    if "article" in entry:
        article = _string(entry, "article", where)
    return f"Is it {article} {name}?" if article else f"Is it {name}?"


def _entries(
    top: Mapping[str, Any], section: str, key: str, allowed: frozenset[str]
) -> dict[str, Mapping[str, Any]]:
    listed = top.get(section)
    if not isinstance(listed, list) or not listed:
        raise KnowledgeError(f"{section!r} must be a list with at least one entry")
    found: dict[str, Mapping[str, Any]] = {}
    for number, item in enumerate(listed, start=1):
        where = f"entry {number} of {section!r}"
        name = _string(_entry(item, None, where), key, where)
        if not name or name != _plain(name):
            raise KnowledgeError(f"{where}: {key} {name!r} must be lower case without extra spaces")
        if name in found:
            raise KnowledgeError(f"{where}: duplicate {key} {name!r}")
        found[name] = _entry(item, allowed, f"{where} ({name!r})")
    return found


def _entry(value: object, allowed: frozenset[str] | None, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise KnowledgeError(f"{where} must be a mapping")
    for key in value:
        if allowed is not None and key not in allowed:
            nearest = difflib.get_close_matches(key, sorted(allowed), n=1, cutoff=0.0)[0]
            raise KnowledgeError(f"{where}: unknown key {key!r}; did you mean {nearest!r}?")
    return value


def _string(entry: Mapping[str, Any], key: str, where: str) -> str:
    value = entry.get(key)
    if not isinstance(value, str):
        raise KnowledgeError(f"{where}: {key!r} must be text, not {value!r}")
    return value


def _strings(entry: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
    value = entry.get(key, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise KnowledgeError(f"{where}: {key!r} must be a list of texts, not {value!r}")
    return tuple(value)


def _plain(name: str) -> str:
    """Fold case and squeeze white space, so that a name is looked up as it is said."""
    return " ".join(name.casefold().split())
