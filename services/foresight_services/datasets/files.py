"""Rows of local files: JSON, JSON Lines, CSV and Parquet.

The format follows from the file's name. JSON Lines and CSV are read row by row and a row is at most
`MAX_ROW_BYTES` long, so memory is bounded whatever the file; a JSON file is read whole and so has
at most `MAX_JSON_BYTES`. Files are untrusted: they hold data and nothing in them is executed.
"""

from __future__ import annotations

import codecs
import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Final, NoReturn

from foresight_services.core.suggest import one_of
from foresight_services.datasets.parquet import parquet_rows
from foresight_services.datasets.records import Record, kind_of, misplaced
from foresight_services.datasets.splits import part_of

MAX_ROW_BYTES: Final = 16 << 20
"""Longest line of JSON Lines, longest line and longest field of CSV."""
MAX_JSON_BYTES: Final = 256 << 20
"""Largest file that is read whole."""
ROWS_KEY: Final = "data"
"""Where a JSON document that is no list has its rows."""

_Row = tuple[str, Mapping[str, object]]
"""Name of a row's place, such as `row 3`, and its values."""


def file_rows(paths: Sequence[Path]) -> Iterator[Record]:
    """Yield the rows of all files, one after the other.

    Raises:
        InvalidInput: a file cannot be read, has an unknown format, or has a row that is none.
        Precondition: Parquet cannot be read on this machine.
    """
    for path in paths:
        reader = _READERS.get(path.suffix.lower())
        if reader is None:
            raise misplaced(str(path), f"has a format that is {one_of(path.suffix, _READERS)}")
        part = part_of(path)
        try:
            for where, values in reader(path):
                yield Record(f"{path}, {where}", values, part)
        except OSError as error:
            raise misplaced(str(path), f"cannot be read: {error.strerror or error}") from error


def _json_rows(path: Path) -> Iterator[_Row]:
    with path.open("rb") as stream:
        content = stream.read(MAX_JSON_BYTES + 1)
    if len(content) > MAX_JSON_BYTES:
        raise misplaced(
            str(path), f"has more than {MAX_JSON_BYTES} bytes; JSON Lines have no such limit"
        )
    document = _parsed(content.removeprefix(codecs.BOM_UTF8), str(path))
    rows = document.get(ROWS_KEY) if isinstance(document, Mapping) else document
    if not isinstance(rows, list):
        raise misplaced(
            str(path), f"must be a list of objects, or an object with one as {ROWS_KEY!r}"
        )
    for number, values in enumerate(rows, start=1):
        yield f"row {number}", _object(values, f"{path}, row {number}")


def _json_lines(path: Path) -> Iterator[_Row]:
    with path.open("rb") as stream:
        for number, line in _lines(stream, path):
            if line.strip():
                place = f"{path}, line {number}"
                yield f"line {number}", _object(_parsed(line, place), place)


def _csv_rows(path: Path) -> Iterator[_Row]:
    # The limit is the module's own and there is no other way to lift it.
    csv.field_size_limit(max(csv.field_size_limit(), MAX_ROW_BYTES))
    with path.open("rb") as stream:
        lines = _CsvLines(stream, path)
        reader = csv.reader(lines, strict=True)
        try:
            header = next(reader, [])
            if twice := {column for column in header if header.count(column) > 1}:
                raise misplaced(f"{path}, header", f"has the column {min(twice)[:64]!r} twice")
            for number, fields in enumerate(filter(None, reader), start=1):
                lines.row_bytes = 0
                yield f"row {number}", _csv_values(header, fields, f"{path}, row {number}")
        except csv.Error as error:
            raise misplaced(f"{path}, line {reader.line_num}", f"is not CSV: {error}") from error


class _CsvLines:
    """The lines of a file, as long as those of one row together are not too long."""

    def __init__(self, stream: BinaryIO, path: Path) -> None:
        self._lines = _lines(stream, path)
        self._path = path
        self.row_bytes = 0
        """Bytes since the last row ended; a quote that is left open would take the whole file."""

    def __iter__(self) -> Iterator[str]:
        for number, line in self._lines:
            place = f"{self._path}, line {number}"
            self.row_bytes += len(line)
            if self.row_bytes > MAX_ROW_BYTES:
                raise misplaced(place, f"is in a row of more than {MAX_ROW_BYTES} bytes")
            yield _decoded(line, place)


def _csv_values(header: list[str], fields: list[str], place: str) -> Mapping[str, object]:
    if len(fields) < len(header):
        raise misplaced(f"{place}, {header[len(fields)][:64]}", "is missing")
    if len(fields) > len(header):
        raise misplaced(place, f"has {len(fields)} fields, but the header has {len(header)}")
    # CSV knows no null: a field that is empty has no value.
    return {name: field or None for name, field in zip(header, fields, strict=True)}


def _parquet(path: Path) -> Iterator[_Row]:
    for number, values in enumerate(parquet_rows(path), start=1):
        yield f"row {number}", values


_READERS: Final = {
    ".json": _json_rows,
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".csv": _csv_rows,
    ".parquet": _parquet,
}


def _lines(stream: BinaryIO, path: Path) -> Iterator[tuple[int, bytes]]:
    number = 0
    while line := stream.readline(MAX_ROW_BYTES + 1):
        number += 1
        if len(line) > MAX_ROW_BYTES:
            raise misplaced(f"{path}, line {number}", f"has more than {MAX_ROW_BYTES} bytes")
        yield number, line.removeprefix(codecs.BOM_UTF8) if number == 1 else line


def _decoded(content: bytes, place: str) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise misplaced(place, f"is not UTF-8 text: {error.reason}") from error


def _parsed(content: bytes, place: str) -> object:
    text = _decoded(content, place)
    try:
        value: object = json.loads(text, parse_constant=_refuse, object_pairs_hook=_members)
    except RecursionError as error:
        raise misplaced(place, "is nested too deeply") from error
    except json.JSONDecodeError as error:
        raise misplaced(
            place, f"is not JSON: {error.msg} (line {error.lineno}, column {error.colno})"
        ) from error
    except ValueError as error:
        raise misplaced(place, f"is not JSON: {error}") from error
    return value


def _object(value: object, place: str) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise misplaced(place, f"must be an object, not {kind_of(value)}")
    return value


def _members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key[:64]!r} is there twice")
        found[key] = value
    return found


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")
