"""A task of a data set: its name, its split and what is asked.

A row's id is a digest of the columns that make it what it is, so it is the same in every format,
order and process, and does not change when our own words around them do.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from foresight_services.core import checks
from foresight_services.core.errors import InvalidInput, Violation
from foresight_services.core.request import MAX_METADATA
from foresight_services.core.task import Task
from foresight_services.datasets.records import Record

_DIGEST_BYTES: Final = 12


class Split(StrEnum):
    """What a row is for."""

    TRAIN = "train"
    EVAL = "eval"
    """Held out: what data sets call test, validation or dev."""


@dataclass(frozen=True, slots=True)
class TaskRow:
    """One task of a data set."""

    id: str
    """Name of the data set and a digest of the row's content; equal rows have equal ids."""
    split: Split
    """What the row is for."""
    task: Task
    """What is asked."""


def digest(*texts: str) -> str:
    """Return a digest of `texts` that tells where one ends and the next begins."""
    content = json.dumps(texts, ensure_ascii=True, separators=(",", ":")).encode()
    return hashlib.blake2b(content, digest_size=_DIGEST_BYTES).hexdigest()


def task_row(
    record: Record,
    *,
    dataset: str,
    content: Iterable[str],
    split: Split,
    task: Task,
) -> TaskRow:
    """Return the row, checked against the limits of the contract.

    Args:
        record: where the row comes from.
        dataset: name of the data set.
        content: the texts of its columns that make the row what it is.
        split: what the row is for.
        task: what is asked; metadata without a value is left out.

    Raises:
        InvalidInput: a text is too long or there is too much metadata.
    """
    metadata = {key: value for key, value in task.metadata.items() if value}
    checked = Task(
        preset=task.preset,
        goal=task.goal,
        reference=task.reference,
        metadata=MappingProxyType(metadata),
    )
    found = tuple(
        Violation(f"{record.place}, {violation.field}", violation.description)
        for violation in _violations(checked)
    )
    if found:
        raise InvalidInput(found)
    return TaskRow(f"{dataset}-{digest(dataset, *content)}", split, checked)


def task_fields(task: Task) -> Mapping[str, object]:
    """Return the fields of `task` that are set, as a request file spells them."""
    fields: dict[str, object] = {
        "preset": task.preset,
        "description": task.description,
        "guidance": task.guidance,
        "goal": task.goal,
        "reference": task.reference,
        "world": task.world,
        "metadata": dict(task.metadata),
    }
    return {name: value for name, value in fields.items() if value}


def _violations(task: Task) -> Iterator[Violation]:
    yield from checks.size("task.goal", task.goal)
    yield from checks.size("task.reference", task.reference)
    if len(task.metadata) > MAX_METADATA:
        yield Violation(
            "task.metadata", f"has {len(task.metadata)} entries; at most {MAX_METADATA}"
        )
    for key, value in task.metadata.items():
        for text in (key, value):
            yield from checks.size(f"task.metadata[{key[:64]!r}]", text)
