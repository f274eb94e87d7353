"""Rows of the Hugging Face hub, streamed through the library `datasets`.

Only data is fetched: older versions of the library could run code that a repository brings, so
they are refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from foresight_services.core.errors import Precondition, Reason, Upstream
from foresight_services.core.suggest import one_of
from foresight_services.datasets.optional import optional_library
from foresight_services.datasets.records import Record, kind_of, misplaced

_FIRST_WITHOUT_CODE: Final = 4


def hub_rows(repository: str, parts: tuple[str, ...] = ()) -> Iterator[Record]:
    """Yield the rows of `parts` of a repository, all of its parts where none is named.

    Raises:
        InvalidInput: the repository has no such part, or a row that is none.
        Precondition: the library is missing or too old.
        Upstream: the hub cannot be reached or does not have the data.
    """
    library: Any = optional_library("datasets")
    if int(library.__version__.partition(".")[0]) < _FIRST_WITHOUT_CODE:
        raise Precondition(
            Reason.SERVICE_UNAVAILABLE,
            f"the library 'datasets' is of version {library.__version__}, which may run code of a"
            f" repository; {_FIRST_WITHOUT_CODE} or newer is needed: pip install 'foresight[data]'",
            metadata={"library": "datasets", "extra": "data"},
        )
    try:
        published: Mapping[str, Any] = library.load_dataset(repository, streaming=True)
    except Exception as error:  # what a failed download raises depends on many libraries
        raise _failed(repository, error, _first_line(error)) from error
    for part in parts or tuple(published):
        if part not in published:
            raise misplaced(repository, f"has no such part: {one_of(part, published)}")
        place = f"{repository}, {part}"
        for number, values in enumerate(_read(repository, published[part]), start=1):
            if not isinstance(values, Mapping):
                raise misplaced(
                    f"{place}, row {number}", f"must be an object, not {kind_of(values)}"
                )
            yield Record(f"{place}, row {number}", values, part)


def _read(repository: str, rows: Any) -> Iterator[object]:
    stream = iter(rows)
    while True:
        try:
            values = next(stream)
        except StopIteration:
            return
        except Exception as error:  # as above; the text may quote the data
            raise _failed(repository, error, "while reading rows") from error
        yield values


def _failed(repository: str, error: Exception, problem: str) -> Upstream:
    return Upstream(
        Reason.SERVICE_UNAVAILABLE,
        f"{repository} cannot be read from the hub: {type(error).__name__}: {problem}",
        metadata={"repository": repository},
    )


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "")[:200]
