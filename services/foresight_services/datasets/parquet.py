"""Rows of Parquet files, through the library `pyarrow`, which is imported when a file needs it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from foresight_services.datasets.optional import optional_library
from foresight_services.datasets.records import misplaced

_BATCH_ROWS: Final = 64


def parquet_rows(path: Path) -> Iterator[Mapping[str, object]]:
    """Yield the rows of one file, a few of them in memory at a time.

    Raises:
        InvalidInput: the file is not Parquet.
        Precondition: the library is missing.
    """
    arrow: Any = optional_library("pyarrow")
    parquet: Any = optional_library("pyarrow.parquet")
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_BATCH_ROWS):
                yield from batch.to_pylist()
    except arrow.ArrowException as error:
        raise misplaced(
            str(path), f"is not Parquet that can be read: {type(error).__name__}"
        ) from error
