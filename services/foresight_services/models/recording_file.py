"""Files of recorded model calls: JSON Lines, written as calls end and read as a whole.

Every run begins with a header line that tells the version of the format; the first line of a file
is one. A line is whole or it is the last one: it is written with its newline by a process that has
the file to itself, so what a killed process leaves is a valid file and at most the beginning of one
more line. That beginning is dropped with a warning when the file is read or written again.
"""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import os
import stat
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

_log: Final = logging.getLogger(__name__)

VERSION: Final = 1
"""Version of the format."""

_MARK: Final = "foresight_recording"
"""The header's field with the version; no recorded call has it."""

MOST_PENDING: Final = 1024
"""Lines that may wait to be written before calls wait for room."""

_TAIL_BYTES: Final = 1 << 16
"""How much of a file's end is read at once to find the beginning of its last line."""

_RECORDING_MODE: Final = 0o600
"""Recordings hold conversations: they are for whoever made them."""

_OPEN_FLAGS: Final = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
"""On the systems that have them; opening a pipe must not wait for its other end."""


class RecordingError(Exception):
    """A file that is no recording, or cannot be read or written; names the file and the line."""

    def __init__(self, path: Path, problem: str, *, line: int | None = None) -> None:
        where = str(path) if line is None else f"{path}, line {line}"
        super().__init__(f"{where}: {problem}")


@dataclass(frozen=True, slots=True)
class Line:
    """One recorded call, as it stands in the file."""

    run: int
    """The run that recorded it, counted from 0."""
    number: int
    """Number of the line, counted from 1."""
    document: dict[str, Any]
    """The line's fields."""


def read_lines(path: Path) -> Iterator[Line]:
    """Yield the recorded calls of a file.

    Raises:
        RecordingError: where it is no recording, of a newer version, or has a broken line that is
            not the cut last one.
    """
    run = -1
    with os.fdopen(_open(path, os.O_RDONLY), "rb") as file:
        for number, raw in enumerate(file, 1):
            document = _parse(raw)
            if document is None and number > 1 and not raw.endswith(b"\n"):
                _log.warning("%s, line %d: was cut off and is dropped", path, number)
                return
            if number == 1 or (document is not None and _MARK in document):
                _check_header(path, number, document)
                run += 1
            elif document is None:
                raise RecordingError(path, "is not a JSON object", line=number)
            else:
                yield Line(run, number, document)
    if run < 0:
        raise RecordingError(path, "is empty, and no recording of model calls", line=1)


class RecordingWriter:
    """Appends lines to a file, in a thread of its own. For one event loop; close with `aclose`.

    Lines are written in the order in which they are put, as soon as those before them are. Where
    the file cannot be written any more, it is left as it was after the last whole line, and calls
    go on unrecorded.
    """

    def __init__(self, path: Path) -> None:
        """Create the file, or go on after its last whole line, and begin a run.

        Raises:
            RecordingError: where it is something else, or another process is writing it.
        """
        self._path = path
        self._thread = ThreadPoolExecutor(1, "recording")
        self._pending: list[bytes] = []
        self._writing: asyncio.Task[None] | None = None
        self._room = asyncio.Event()
        self._lost = 0
        self._fd = _open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        try:
            _lock(path, self._fd)
            self._end = _mend(path, self._fd)
            self._append(json.dumps({_MARK: VERSION}).encode() + b"\n")
        except OSError as error:
            os.close(self._fd)
            raise _unusable(path, error) from error
        except BaseException:
            os.close(self._fd)
            raise

    def put(self, line: bytes) -> None:
        """Have `line`, which ends with a newline, written; returns at once."""
        if self._fd < 0:
            self._lost += 1
            return
        self._pending.append(line)
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())

    async def room(self) -> None:
        """Return when few enough lines wait to be written."""
        while len(self._pending) >= MOST_PENDING:
            self._room.clear()
            await self._room.wait()

    async def aclose(self) -> None:
        """Write what is pending and close the file."""
        while self._writing is not None:
            await asyncio.wait([self._writing])
        self._thread.shutdown()
        self._close()
        if self._lost:
            _log.error("%s: incomplete, %d calls are missing", self._path, self._lost)

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._pending:
                lines, self._pending = self._pending, []
                self._room.set()
                try:
                    await loop.run_in_executor(self._thread, self._append, b"".join(lines))
                except OSError as error:
                    _log.error("recording ends: %s", _unusable(self._path, error))
                    self._lost += len(lines) + len(self._pending)
                    self._pending.clear()
                    self._close()
        finally:
            self._writing = None
            self._room.set()

    def _append(self, data: bytes) -> None:
        """Write all of `data`, or leave the file as it was."""
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(self._fd, left) :]
        except OSError:
            os.ftruncate(self._fd, self._end)
            raise
        self._end += len(data)

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _open(path: Path, flags: int) -> int:
    """Open a regular file, without waiting for whoever is at the other end of anything else."""
    try:
        fd = os.open(path, flags | _OPEN_FLAGS, _RECORDING_MODE)
    except OSError as error:
        raise _unusable(path, error) from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise RecordingError(path, "is no regular file")
    return fd


def _lock(path: Path, fd: int) -> None:
    """Keep every other process from writing the file, for as long as it is open here."""
    if sys.platform != "win32":
        import fcntl

        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                raise
            raise RecordingError(path, "is being written by another process") from error


def _mend(path: Path, fd: int) -> int:
    """Check that the file is a recording or empty, drop a cut last line, and return its length."""
    length = os.fstat(fd).st_size
    if not length:
        return 0
    with os.fdopen(os.dup(fd), "rb") as file:
        file.seek(0)
        _check_header(path, 1, _parse(file.readline()))
        start = _last_line(file, length)
        file.seek(start)
        last = file.read()
    if last.endswith(b"\n"):
        return length
    if _parse(last) is not None:
        return length + os.write(fd, b"\n")
    _log.warning("%s: its last line was cut off and is dropped", path)
    os.ftruncate(fd, start)
    return start


def _last_line(file: Any, length: int) -> int:
    """Return where the last line begins, its own newline not counted."""
    end = length - 1
    while end > 0:
        start = max(0, end - _TAIL_BYTES)
        file.seek(start)
        found = file.read(end - start).rfind(b"\n")
        if found >= 0:
            return int(start + found + 1)
        end = start
    return 0


def _parse(raw: bytes) -> dict[str, Any] | None:
    """Return the JSON object on a line; None where there is none."""
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _check_header(path: Path, number: int, document: dict[str, Any] | None) -> None:
    version = None if document is None else document.get(_MARK)
    if type(version) is not int:
        raise RecordingError(path, "is not the header of a recording of model calls", line=number)
    if version != VERSION:
        problem = f"is of version {version} of the format; this program knows version {VERSION}"
        raise RecordingError(path, problem, line=number)


def _unusable(path: Path, error: OSError) -> RecordingError:
    return RecordingError(path, f"cannot be used: {error.strerror or error}")
