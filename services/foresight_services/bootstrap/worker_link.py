"""What a supervisor and its workers tell each other, as JSON lines over a socket of their own.

The socket's end is a message too: a worker whose supervisor is gone, however it went, stops.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

from foresight_services.core.errors import InvalidInput, Violation

STOP_SECONDS: Final = 5.0
"""Time that a worker is given to stop at once before it is killed, or kills itself."""

LINE_BYTES: Final = 1 << 24
"""Longest line, which holds a configuration."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker is to do."""

    worker: int
    """Its number, from 0."""
    what: str
    """What it serves."""
    config: str
    """The configuration as JSON, without secrets, its address resolved."""
    log_level: str
    """Least severe messages to log."""
    directory: str
    """Where its telemetry is kept; empty for none."""

    def line(self) -> bytes:
        """Return it as one line."""
        return _line(asdict(self))

    @classmethod
    def read(cls, line: bytes) -> Self:
        """Return the job that `line` holds."""
        return cls(**json.loads(line))


def order(signum: int, *, at_once: bool) -> bytes:
    """Return the line that has a worker end as `signum` would, with or without draining."""
    return _line({"signal": signum, "at_once": at_once})


class Supervisor:
    """A worker's end of the socket."""

    def __init__(self, descriptor: int) -> None:
        """Use the socket that was inherited as `descriptor`."""
        self._socket = socket.socket(fileno=descriptor)
        self._socket.set_inheritable(False)
        self._lines = self._socket.makefile("rb")
        self.job = Job.read(self._lines.readline(LINE_BYTES))
        """What it was told to do."""

    def listens(self) -> None:
        """Tell that calls are taken."""
        self._tell({"is": "listening"})

    def is_ready(self) -> None:
        """Tell that it is SERVING."""
        self._tell({"is": "ready"})

    def refuses(self, error: InvalidInput) -> None:
        """Tell what is wrong with the job."""
        problems = [(v.field, v.description) for v in error.violations]
        self._tell({"is": "refused", "violations": problems})

    def obey(self, end: Callable[[int, bool], None]) -> None:
        """Call `end`, on a thread, with every order, a signal and whether to obey it at once.

        When the supervisor is gone, and when it wants an end at once, the process ends within
        `STOP_SECONDS` whatever `end` does.
        """
        threading.Thread(target=self._obey, args=(end,), daemon=True).start()

    def _obey(self, end: Callable[[int, bool], None]) -> None:
        signum = self._obey_until_at_once(end)
        if signum is None:
            signum = signal.SIGKILL
            if self.job.directory:
                # Nobody else is left to remove it.
                shutil.rmtree(self.job.directory, ignore_errors=True)
        end(signum, True)
        threading.Event().wait(STOP_SECONDS)
        os._exit(128 + signum)

    def _obey_until_at_once(self, end: Callable[[int, bool], None]) -> int | None:
        """Return the signal that is to be obeyed at once; None when the supervisor is gone."""
        try:
            for line in self._lines:
                told = json.loads(line)
                signum = int(told["signal"])
                if told["at_once"]:
                    return signum
                end(signum, False)
        except OSError:
            return None
        return None

    def _tell(self, message: dict[str, Any]) -> None:
        try:
            self._socket.sendall(_line(message))
        except OSError:
            # It is gone, which the thread notices.
            return


def refusal_in(message: dict[str, Any]) -> InvalidInput:
    """Return the error that a worker told."""
    return InvalidInput(tuple(Violation(*problem) for problem in message["violations"]))


def _line(message: dict[str, Any]) -> bytes:
    return json.dumps(message).encode() + b"\n"
