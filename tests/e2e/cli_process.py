"""Runs of the command in processes of its own, and what they say."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import Queue
from typing import IO

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "foresight_services.cli"]
PATIENCE = 60
"""Seconds after which a process that says nothing counts as stuck."""

CLEAN = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith("FORESIGHT_") and name not in ("FORCE_COLOR", "COLUMNS")
}


def foresight(*arguments, stdin="", env=None) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        input=stdin,
        env=CLEAN | (env or {}),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


class Lines:
    """Lines of a stream, read by a thread so that no process waits for its reader."""

    def __init__(self, stream: IO[str]) -> None:
        self.seen: list[str] = []
        self._queue: Queue[str | None] = Queue()
        self._ended = False
        self._thread = threading.Thread(target=self._read, args=(stream,), daemon=True)
        self._thread.start()

    def _read(self, stream: IO[str]) -> None:
        try:
            for line in stream:
                self._queue.put(line.rstrip("\n"))
        except (OSError, ValueError):  # a pseudo-terminal whose other end is gone
            pass
        self._queue.put(None)

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Return the match of the next line that has `pattern`."""
        for line in self:
            if match := re.search(pattern, line):
                return match
        raise AssertionError(f"ended without {pattern!r}: {self.seen}")

    def rest(self) -> list[str]:
        """Return all lines, once there are no more."""
        for _ in self:
            pass
        return self.seen

    def __iter__(self) -> Iterator[str]:
        while not self._ended:
            line = self._queue.get(timeout=PATIENCE)
            if line is None:
                self._ended = True
                self._thread.join(PATIENCE)
            else:
                self.seen.append(line)
                yield line


@dataclass
class Running:
    """A process that goes on."""

    process: subprocess.Popen[str]
    out: Lines
    err: Lines
    address: str = field(default="")
    metrics: str = field(default="")

    def send(self, signum: signal.Signals) -> None:
        self.process.send_signal(signum)

    def wait(self) -> int:
        """Return the exit code."""
        return self.process.wait(PATIENCE)


@contextmanager
def started(*arguments, env=None, terminal=False) -> Iterator[Running]:
    """Start the command; `terminal` makes its stderr one."""
    master, slave = pty.openpty() if terminal else (-1, subprocess.PIPE)
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        env=CLEAN | {"COLUMNS": "80", "TERM": "xterm"} | (env or {}),
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=slave,
        text=True,
    )
    if terminal:
        os.close(slave)
        # A progress bar returns the carriage and never ends its line.
        stderr: IO[str] = open(master, encoding="utf-8", errors="replace", newline="\r")
    else:
        assert process.stderr is not None
        stderr = process.stderr
    assert process.stdout is not None
    running = Running(process, Lines(process.stdout), Lines(stderr))
    try:
        yield running
    finally:
        process.kill()
        process.wait()
        running.out.rest()
        running.err.rest()
        process.stdout.close()
        stderr.close()


@contextmanager
def serving(what, *arguments, config, listen="127.0.0.1:0", env=None) -> Iterator[Running]:
    """Start a service and wait until it listens."""
    options = ["--config", config, "--listen", listen, "--metrics", "127.0.0.1:0", *arguments]
    with started("serve", what, *options, env=env) as running:
        match = running.out.wait_for(rf"^serving {what} on (\S+), metrics on http://(\S+)/metrics$")
        running.address, running.metrics = match.groups()
        yield running
