"""Loads a data set by name, from the hub or from files in its own format."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Final

from foresight_services.core.suggest import one_of
from foresight_services.datasets import abg_coqa, bigcodebench, math_hard, medium, single_turn
from foresight_services.datasets.files import file_rows
from foresight_services.datasets.hub import hub_rows
from foresight_services.datasets.options import Options
from foresight_services.datasets.records import Records, misplaced
from foresight_services.datasets.task_row import Split, TaskRow


@dataclass(frozen=True, slots=True)
class DataSet:
    """Where a data set is, and what makes tasks of its rows."""

    tasks: Callable[[Records, Options], Iterator[TaskRow]]
    """Yields a task for each row that is one."""
    repository: str = ""
    """Where the hub has it; empty where it has not."""
    parts: tuple[str, ...] = ()
    """Parts to read from the hub; empty for all."""
    by_tokens: bool = False
    """Whether rows are chosen by their tokens, so that `Options.count_tokens` is needed."""


DATA_SETS: Final[Mapping[str, DataSet]] = MappingProxyType(
    {
        abg_coqa.NAME: DataSet(abg_coqa.abg_coqa, abg_coqa.REPOSITORY),
        bigcodebench.NAME: DataSet(
            bigcodebench.bigcodebench, bigcodebench.REPOSITORY, (bigcodebench.PART,)
        ),
        math_hard.NAME: DataSet(math_hard.math_hard, math_hard.REPOSITORY),
        medium.NAME: DataSet(medium.medium, medium.REPOSITORY, by_tokens=True),
        single_turn.NAME: DataSet(single_turn.single_turn),
    }
)
"""Every data set by name."""

_NO_OPTIONS: Final = Options()


def load(
    name: str,
    *,
    files: Sequence[str | Path] = (),
    repository: str | None = None,
    split: Split | None = None,
    options: Options = _NO_OPTIONS,
) -> Iterator[TaskRow]:
    """Return the tasks of a data set, which are read as they are asked for.

    Args:
        name: one of `DATA_SETS`.
        files: files to read, in JSON, JSON Lines, CSV or Parquet; none reads the hub.
        repository: where the hub has the data set. Default: where CollabLLM takes it from.
        split: which rows. Default: all.
        options: how rows become tasks.

    Raises:
        InvalidInput: the name is not known, nothing says where the rows are, or, while reading, a
            row lacks a column or has a wrong value there.
        Precondition: while reading, a library of the extra `data` is missing.
        Upstream: while reading, the hub cannot be read.
    """
    if name not in DATA_SETS:
        raise misplaced("name", one_of(name, DATA_SETS))
    found = DATA_SETS[name]
    rows = found.tasks(_records(name, found, files, repository), options)
    return (row for row in rows if split in (None, row.split))


def _records(
    name: str, found: DataSet, files: Sequence[str | Path], repository: str | None
) -> Records:
    if files and repository is not None:
        raise misplaced("repository", "cannot be combined with files")
    if files:
        return partial(file_rows, [Path(file) for file in files])
    place = found.repository if repository is None else repository
    if not place:
        raise misplaced("file", f"is needed: {name} has no place of its own on the hub")
    return partial(hub_rows, place, found.parts)
