"""One row of a data set, read by column: what is missing or wrong is told with its place.

Rows come from files of strangers. A column is there and of its type, or the row is an error that
names file, row and column; nothing is converted by guessing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from foresight_services.core.errors import InvalidInput, Violation

_SHOWN = 64
"""Greatest number of characters of a strange name that an error quotes."""


@dataclass(frozen=True, slots=True)
class Record:
    """A row, or an object within one."""

    place: str
    """Where it is, for errors: a file or repository, and the row."""
    values: Mapping[str, object]
    """Values by column; None is a value that is missing."""
    part: str = ""
    """Published part of the data set that the row belongs to, such as `test`; empty for none."""
    path: str = ""
    """Path of the columns within the row, such as `target_turn.`."""

    def has(self, column: str) -> bool:
        """Whether the column is there, with a value or without."""
        return column in self.values

    def value(self, column: str) -> object:
        """Return the value of a column that must be there; None where it has none."""
        if column not in self.values:
            raise self.wrong(column, "is missing")
        return self.values[column]

    def text(self, column: str, *, blank: bool = False) -> str:
        """Return the text of a column as it is; `blank` says that it may have no words."""
        found = self.value(column)
        if found is None:
            found = ""
        if not isinstance(found, str):
            raise self.wrong(column, f"must be text, not {kind_of(found)}")
        if not blank and not found.strip():
            raise self.wrong(column, "is empty")
        return self._whole(column, found)

    def optional_text(self, column: str) -> str:
        """Return the text of a column that may be missing; empty where it is."""
        return self.text(column, blank=True) if self.has(column) else ""

    def record(self, column: str) -> Record:
        """Return the object in a column."""
        return self._nested(column, self.value(column))

    def optional_record(self, column: str) -> Record | None:
        """Return the object in a column, None where it holds nothing.

        Tables give every row the same members, so an object whose members are all None is none.
        """
        found = self.values.get(column)
        if found is None:
            return None
        nested = self._nested(column, found)
        return nested if any(entry is not None for entry in nested.values.values()) else None

    def records(self, column: str) -> list[Record]:
        """Return the objects of the list in a column."""
        found = self.value(column)
        if not isinstance(found, list):
            raise self.wrong(column, f"must be a list, not {kind_of(found)}")
        return [self._nested(f"{column}[{index}]", entry) for index, entry in enumerate(found)]

    def wrong(self, column: str, description: str) -> InvalidInput:
        """Return the error for one column."""
        return misplaced(f"{self.place}, {self.path}{column[:_SHOWN]}", description)

    def _nested(self, column: str, found: object) -> Record:
        if not isinstance(found, Mapping):
            raise self.wrong(column, f"must be an object, not {kind_of(found)}")
        return Record(self.place, found, self.part, f"{self.path}{column}.")

    def _whole(self, column: str, text: str) -> str:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise self.wrong(column, "is no Unicode text: it holds half a character") from error
        return text


Records = Callable[[], Iterator[Record]]
"""Reads all rows, from the first one with every call."""


def misplaced(place: str, description: str) -> InvalidInput:
    """Return the error for one place in what was read."""
    return InvalidInput((Violation(place, description),))


def kind_of(value: object) -> str:
    """Return what JSON calls a value of this type."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case list():
            return "a list"
        case Mapping():
            return "an object"
    return type(value).__name__
