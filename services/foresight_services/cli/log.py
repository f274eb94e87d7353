"""Where a process that serves logs to, and how much."""

from __future__ import annotations

import logging
import sys
from enum import StrEnum


class LogLevel(StrEnum):
    """How much is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def log_to_stderr(level: LogLevel, who: str = "") -> None:
    """Log to stderr what is at least as severe as `level`; lines tell `who` it was, if anybody."""
    name = f"{who}: %(name)s" if who else "%(name)s"
    logging.basicConfig(
        stream=sys.stderr,
        level=level.upper(),
        format=f"%(asctime)s %(levelname)s {name}: %(message)s",
    )
