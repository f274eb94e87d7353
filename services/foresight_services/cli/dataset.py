"""`foresight dataset`: data sets as tasks, ready for request files.

Reading blocks, on a pipe or on the network, so there is no event loop here: a signal breaks into
whatever is running.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import Annotated, Final, TextIO

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from foresight_services.cli.event_loop import STOP_SIGNALS, Cancelled
from foresight_services.cli.exit_codes import EPILOG, ExitCode
from foresight_services.cli.failures import wrong
from foresight_services.cli.terminal import complain, error_output
from foresight_services.core.errors import Precondition, Upstream
from foresight_services.datasets import (
    DATA_SETS,
    DEFAULT_SEED,
    Options,
    Split,
    TaskRow,
    load,
    task_fields,
)
from foresight_services.metrics.tokenizers import Tokenizers

_ALL: Final = "all"
_STDOUT: Final = "-"
_PATIENCE_SECONDS: Final = 1.0
"""Time that passes before the bar appears."""

_SPLITS: Final = {**{split.value: split for split in Split}, _ALL: None}


def dataset_app() -> typer.Typer:
    """Return the commands of `foresight dataset`."""
    app = typer.Typer(epilog=EPILOG, help="Data sets as tasks for requests.")
    app.callback()(_group)
    app.command("tasks", epilog=EPILOG)(tasks)
    return app


def _group() -> None:
    """Data sets as tasks for requests."""


def tasks(
    name: Annotated[
        str, typer.Argument(help=f"The data set: {', '.join(sorted(DATA_SETS))}.", metavar="NAME")
    ],
    file: Annotated[
        list[str] | None,
        typer.Option(
            help="JSON, JSON Lines, CSV or Parquet file; may be repeated. Default: the hub.",
            metavar="PATH",
        ),
    ] = None,
    repository: Annotated[
        str | None,
        typer.Option(help="Where the hub has the data set.", metavar="OWNER/NAME"),
    ] = None,
    split: Annotated[
        str, typer.Option(help="Which rows to print.", metavar="train|eval|all")
    ] = _ALL,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Print no more rows than this.", metavar="N")
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, help="Seed of a split that is drawn.", metavar="N")
    ] = DEFAULT_SEED,
    preset: Annotated[
        str | None, typer.Option(help="Preset of every task, in place of the data set's.")
    ] = None,
    output: Annotated[
        str, typer.Option(help="File to write; - for standard output.", metavar="FILE")
    ] = _STDOUT,
) -> int:
    """Print the tasks of a data set, one JSON object in each line.

    A line has `id`, `split` and `task`, which is the `task` of a request file.
    """
    if split not in _SPLITS:
        raise wrong("--split", f"must be {', '.join(_SPLITS)}")
    try:
        rows = load(
            name,
            files=file or (),
            repository=repository,
            split=_SPLITS[split],
            options=_options(name, seed, preset),
        )
        with _interruptible(), _opened(output) as stream:
            _write(islice(rows, limit), stream, limit)
    except (Precondition, Upstream) as error:
        complain(f"foresight: {error}")
        wanting = isinstance(error, Precondition)
        return ExitCode.WRONG_INPUT if wanting else ExitCode.UNAVAILABLE
    return ExitCode.OK


def _options(name: str, seed: int, preset: str | None) -> Options:
    known = DATA_SETS.get(name)
    count_tokens = Tokenizers({}).get("cl100k").count if known and known.by_tokens else None
    return Options(seed=seed, preset=preset, count_tokens=count_tokens)


def _write(rows: Iterator[TaskRow], stream: TextIO, total: int | None) -> None:
    with _progress(total, watched=not stream.isatty()) as advance:
        for row in rows:
            line = {"id": row.id, "split": row.split.value, "task": task_fields(row.task)}
            # In ASCII, so that no text of a stranger can steer a terminal.
            stream.write(f"{json.dumps(line)}\n")
            advance()


@contextmanager
def _opened(output: str) -> Iterator[TextIO]:
    """Open the file to write. It appears once it is complete, and not at all after a failure."""
    if output == _STDOUT:
        yield sys.stdout
        return
    path = Path(output)
    # A device or a pipe is written as it is and never replaced.
    partial = path if path.exists() and not path.is_file() else Path(f"{output}.partial")
    try:
        stream = partial.open("w", encoding="utf-8")
    except OSError as error:
        raise wrong("--output", f"cannot be written: {error.strerror or error}") from error
    try:
        with stream:
            yield stream
        if partial != path:
            partial.replace(path)
    except BaseException:
        if partial != path:
            partial.unlink(missing_ok=True)
        raise


@contextmanager
def _interruptible() -> Iterator[None]:
    """Within this context, SIGINT and SIGTERM end the command as they end every other.

    Raises:
        Cancelled: where one of them came.
    """
    received: list[int] = []

    def interrupt(signum: int, frame: FrameType | None) -> None:
        del frame
        received.append(signum)
        # Not an Exception, so that no library takes it for a failure of its own and tries again.
        raise KeyboardInterrupt

    previous = {signum: signal.signal(signum, interrupt) for signum in STOP_SIGNALS}
    try:
        yield
    except KeyboardInterrupt:
        raise Cancelled(received[0] if received else signal.SIGINT) from None
    finally:
        for signum, handler in previous.items():
            signal.signal(signum, handler)


@contextmanager
def _progress(total: int | None, *, watched: bool) -> Iterator[Callable[[], None]]:
    """Count on stderr, for a terminal only and once it takes a moment; yields what counts one."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=error_output(),
        transient=True,
        disable=not (watched and sys.stderr.isatty()),
        redirect_stdout=False,
    )
    counted = bar.add_task("tasks", total=total)
    timer = threading.Timer(_PATIENCE_SECONDS, bar.start)
    timer.daemon = True
    timer.start()
    try:
        yield lambda: bar.advance(counted)
    finally:
        timer.cancel()
        timer.join()
        bar.stop()
