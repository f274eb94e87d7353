"""What the exit code of every command tells."""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class ExitCode(IntEnum):
    """A command that a signal ended exits with 128 plus the signal's number."""

    OK = 0
    NO_VALUE = 1
    """At least one candidate has no value."""
    WRONG_INPUT = 2
    """The input, the configuration or the command line is wrong."""
    UNAVAILABLE = 3
    """The service cannot be reached, or could not do its work."""
    DEADLINE = 4
    """The deadline came before an answer."""
    UNREAD = 141
    """Whoever read the output left before its end, as a shell reports for SIGPIPE."""


EPILOG: Final = (
    "Exit codes: 0 ok; 1 a candidate has no value; 2 wrong input, configuration or usage; "
    "3 the service cannot be reached or failed; 4 the deadline came first; 130 Ctrl-C; "
    "143 SIGTERM."
)
"""The end of every command's help."""
