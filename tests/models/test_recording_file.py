"""Files of recorded calls: whole lines whatever happens, and one line for what is wrong."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from foresight_services.models.recording_file import (
    MOST_PENDING,
    VERSION,
    RecordingError,
    RecordingWriter,
    read_lines,
)
from tests.fakes.waiting import PATIENCE_SECONDS, eventually

HEADER = b'{"foresight_recording": 1}\n'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "calls.jsonl"


def line(number: int, text: str = "") -> bytes:
    return json.dumps({"number": number, "text": text}).encode() + b"\n"


def read(path: Path) -> list[tuple[int, int]]:
    """Return run and number of every line."""
    return [(each.run, each.document["number"]) for each in read_lines(path)]


def write(path: Path, *lines: bytes) -> None:
    """Append lines as one run."""

    async def run() -> None:
        writer = RecordingWriter(path)
        for each in lines:
            writer.put(each)
        await writer.aclose()

    asyncio.run(run())


def problem(path: Path) -> str:
    """Return what is wrong with a file, which is one line that names it."""
    with pytest.raises(RecordingError) as refused:
        list(read_lines(path))
    text = str(refused.value)
    assert text.startswith(str(path))
    assert "\n" not in text
    return text.removeprefix(str(path))


def test_lines_come_back_in_their_order_by_run(path: Path) -> None:
    write(path, *(line(n) for n in range(3000)))
    write(path)
    write(path, line(7), line(8))
    assert read(path) == [*((0, n) for n in range(3000)), (2, 7), (2, 8)]


def test_recordings_can_be_put_together(path: Path, tmp_path: Path) -> None:
    write(path, line(1))
    write(tmp_path / "other", line(2))
    both = tmp_path / "both"
    both.write_bytes(path.read_bytes() + (tmp_path / "other").read_bytes())
    assert read(both) == [(0, 1), (1, 2)]


@pytest.mark.parametrize("cut", range(1, len(line(2, "é€")) + 1))
def test_a_cut_last_line_is_dropped_and_never_continued(
    path: Path, caplog: pytest.LogCaptureFixture, cut: int
) -> None:
    path.write_bytes(HEADER + line(1) + line(2, "é€")[:-cut])
    # What lacks but its newline is whole, and where nothing is left nothing is missing.
    expected = [(0, 1), (0, 2)] if cut == 1 else [(0, 1)]
    warned = 1 < cut < len(line(2, "é€"))
    assert read(path) == expected
    assert [record.message for record in caplog.records] == (
        [f"{path}, line 3: was cut off and is dropped"] if warned else []
    )
    caplog.clear()
    write(path, line(3))
    assert [record.message for record in caplog.records] == (
        [f"{path}: its last line was cut off and is dropped"] if warned else []
    )
    assert read(path) == [*expected, (1, 3)]


def test_a_cut_line_that_is_longer_than_what_is_read_at_once_is_dropped(path: Path) -> None:
    write(path, line(1))
    whole = path.read_bytes()
    path.write_bytes(whole + line(2, "x" * 200_000)[:-5])
    write(path, line(3))
    assert path.read_bytes() == whole + HEADER + line(3)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", ", line 1: is empty, and no recording of model calls"),
        (b"\n", ", line 1: is not the header of a recording of model calls"),
        (b"id,text\n1,a\n", ", line 1: is not the header of a recording of model calls"),
        (b'{"number": 1}\n', ", line 1: is not the header of a recording of model calls"),
        (b'[{"foresight_recording": 1}]\n', ", line 1: is not the header of a recording of model"),
        (b'{"foresight_recording": "1"}\n', ", line 1: is not the header of a recording of model"),
        (HEADER[:-2], ", line 1: is not the header of a recording of model calls"),
        (b"\x1f\x8b\x00\xff" * 9, ", line 1: is not the header of a recording of model calls"),
        (
            b'{"foresight_recording": 2}\n{"new": true}\n',
            f", line 1: is of version 2 of the format; this program knows version {VERSION}",
        ),
        (HEADER + line(1) + b'{"foresight_recording": 9}\n', ", line 3: is of version 9 of the"),
        (HEADER + line(1)[:-4] + b"\n" + line(2), ", line 2: is not a JSON object"),
        (HEADER + line(1)[:-4] + HEADER + line(2), ", line 2: is not a JSON object"),
        (HEADER + b"\n" + line(2), ", line 2: is not a JSON object"),
        (HEADER + line(1) + b"\x00" * 64 + b"\n", ", line 3: is not a JSON object"),
        (HEADER + b"[" * 100_000 + b"\n", ", line 2: is not a JSON object"),
        (HEADER + b"[1]\n", ", line 2: is not a JSON object"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(path: Path, content: bytes, said: str) -> None:
    path.write_bytes(content)
    assert problem(path).startswith(said)


@pytest.mark.parametrize("content", [b"id,text\n1,a", b"hello", HEADER[:-2], b"\n"])
def test_a_foreign_file_is_never_written(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(RecordingError, match="line 1: is not the header"):
        RecordingWriter(path)
    assert path.read_bytes() == content


def test_a_recording_of_a_newer_version_is_never_written(path: Path) -> None:
    path.write_bytes(HEADER.replace(b"1", b"2"))
    with pytest.raises(RecordingError, match="is of version 2"):
        RecordingWriter(path)


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, said in (
        ("pipe", "is no regular file"),
        (".", "is no regular file"),
        ("none/file", "cannot be used: No such file or directory"),
    ):
        with pytest.raises(RecordingError, match=said):
            list(read_lines(tmp_path / name))
        with pytest.raises(RecordingError):
            RecordingWriter(tmp_path / name)


async def test_a_file_has_one_writer(path: Path) -> None:
    writer = RecordingWriter(path)
    with pytest.raises(RecordingError, match="is being written by another process"):
        RecordingWriter(path)
    assert read(path) == []
    await writer.aclose()
    await RecordingWriter(path).aclose()


def test_a_file_is_its_owners_alone_whatever_the_umask(path: Path) -> None:
    previous = os.umask(0)
    try:
        write(path, line(1))
    finally:
        os.umask(previous)
    assert path.stat().st_mode & 0o777 == 0o600


class HeldWriter(RecordingWriter):
    """Cannot write until `released` is set."""

    def __init__(self, path: Path) -> None:
        self.released = threading.Event()
        self.released.set()
        super().__init__(path)
        self.released.clear()

    def _append(self, data: bytes) -> None:
        assert self.released.wait(PATIENCE_SECONDS)
        super()._append(data)


async def test_a_slow_disk_holds_calls_back_and_never_the_event_loop(path: Path) -> None:
    writer = HeldWriter(path)
    try:
        writer.put(line(0))
        await asyncio.wait_for(writer.room(), PATIENCE_SECONDS)
        # One line is being written; these wait behind it.
        await asyncio.sleep(0)
        for number in range(1, MOST_PENDING + 1):
            writer.put(line(number))
        waiting = [asyncio.create_task(writer.room()) for _ in range(3)]
        await asyncio.sleep(0)
        assert not any(each.done() for each in waiting)
        assert read(path) == []
    finally:
        writer.released.set()
    await asyncio.wait_for(asyncio.gather(*waiting), PATIENCE_SECONDS)
    await writer.aclose()
    assert read(path) == [(0, number) for number in range(MOST_PENDING + 1)]


async def test_a_line_is_written_without_waiting_for_the_next_or_for_the_end(path: Path) -> None:
    writer = RecordingWriter(path)
    for number in range(3):
        writer.put(line(number))
        await eventually(lambda n=number: read(path) == [(0, k) for k in range(n + 1)])  # type: ignore[misc]
    await writer.aclose()


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let no file of this process become larger."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_full_disk_ends_the_recording_with_a_whole_line(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    writer = RecordingWriter(path)
    writer.put(line(1))
    await eventually(lambda: read(path) == [(0, 1)])
    with largest_file(len(HEADER + line(1)) + 10):
        writer.put(line(2))
        await eventually(lambda: bool(caplog.records))
    writer.put(line(3))
    await writer.room()
    await writer.aclose()
    assert read(path) == [(0, 1)]
    assert [record.message for record in caplog.records] == [
        f"recording ends: {path}: cannot be used: File too large",
        f"{path}: incomplete, 2 calls are missing",
    ]
    assert {record.levelno for record in caplog.records} == {logging.ERROR}


WRITE_FOR_EVER = """
import asyncio, itertools, json, sys
from pathlib import Path
from foresight_services.models.recording_file import RecordingWriter

async def main():
    writer = RecordingWriter(Path(sys.argv[1]))
    for number in itertools.count():
        text = "x" * (number * 997 % 60_000)
        writer.put(json.dumps({"number": number, "text": text}).encode() + b"\\n")
        await writer.room()
        if number == 200:
            print("go", flush=True)
        await asyncio.sleep(0)

asyncio.run(main())
"""


@pytest.mark.e2e
def test_a_killed_process_leaves_a_recording(path: Path) -> None:
    for run in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", WRITE_FOR_EVER, str(path)], stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"go\n"
            process.send_signal(signal.SIGKILL)
        lines = read(path)
        numbers = [number for found, number in lines if found == run]
        assert numbers == list(range(len(numbers)))
        assert len(numbers) > 200 - MOST_PENDING
        assert numbers
    write(path, line(5))
    assert read(path)[-1] == (3, 5)
