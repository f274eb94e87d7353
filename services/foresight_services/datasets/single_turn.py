"""Single-turn rows of any origin: a prompt, its known good completion, and facts.

Columns as CollabLLM writes them, `single_turn_prompt`, `single_turn_completion` and
`single_turn_metadata`, or `prompt` and `completion` with every other column as metadata. A column
`split` names the part; else the file or the hub does; else the split is drawn.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Final

from foresight_services.core.suggest import one_of
from foresight_services.core.task import Task
from foresight_services.datasets.options import Options
from foresight_services.datasets.records import Record, Records
from foresight_services.datasets.splits import PARTS, drawn_split, published_split
from foresight_services.datasets.task_row import Split, TaskRow, task_row

NAME: Final = "single-turn"
EVAL_SHARE: Final = 0.1
"""Share that is held out where no part is named."""

_SPLIT: Final = "split"
_PREFIX: Final = "single_turn_"


def single_turn(records: Records, options: Options) -> Iterator[TaskRow]:
    """Yield the tasks."""
    has_split: bool | None = None
    for record in records():
        if has_split is None:
            has_split = record.has(_SPLIT)
        elif record.has(_SPLIT) != has_split:
            # A row that lost its part could end up on the other side.
            raise record.wrong(_SPLIT, "must be in all rows or in none")
        yield _row(record, options)


def _row(record: Record, options: Options) -> TaskRow:
    prefix = _PREFIX if record.has(f"{_PREFIX}prompt") else ""
    prompt, completion = record.text(f"{prefix}prompt"), record.text(f"{prefix}completion")
    metadata = _column_metadata(record) if prefix else _other_columns(record)
    return task_row(
        record,
        dataset=NAME,
        content=(prompt, completion, json.dumps(metadata, sort_keys=True)),
        split=_split(record, options, prompt),
        task=Task(options.preset_or(""), goal=prompt, reference=completion, metadata=metadata),
    )


def _split(record: Record, options: Options, prompt: str) -> Split:
    if record.has(_SPLIT):
        part = record.text(_SPLIT)
        if part not in PARTS:
            raise record.wrong(_SPLIT, one_of(part, PARTS))
        return PARTS[part]
    return published_split(record) or drawn_split(options.seed, prompt, EVAL_SHARE)


def _column_metadata(record: Record) -> dict[str, str]:
    column = f"{_PREFIX}metadata"
    found = record.value(column)
    if isinstance(found, str):
        # A table of texts alone, such as CSV, has objects as JSON.
        try:
            found = json.loads(found)
        except (ValueError, RecursionError) as error:
            raise record.wrong(column, "must be an object, or the JSON of one") from error
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        raise record.wrong(column, "must be an object, or the JSON of one")
    inner = Record(record.place, found, path=f"{column}.")
    return {key: _as_text(inner, key) for key in found if inner.values[key] is not None}


def _other_columns(record: Record) -> dict[str, str]:
    taken = ("prompt", "completion", _SPLIT)
    return {
        key: _as_text(record, key)
        for key, value in record.values.items()
        if key not in taken and value is not None
    }


def _as_text(record: Record, column: str) -> str:
    """Return a value as text: text as it is, everything else as JSON."""
    value = record.values[column]
    if isinstance(value, str):
        return record.text(column, blank=True)
    try:
        return json.dumps(value, allow_nan=False, ensure_ascii=False, sort_keys=True)
    except (TypeError, ValueError, RecursionError) as error:
        raise record.wrong(column, "must be something that JSON can hold") from error
