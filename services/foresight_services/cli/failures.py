"""From an exception to lines on stderr and an exit code. A failure never shows a traceback."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from foresight.errors import (
    ContradictoryPrefixError,
    DeadlineExceededError,
    ForesightError,
    InvalidRequestError,
    NotImplementedByServerError,
    UnauthenticatedError,
    UnknownPolicyError,
    UnknownRewardError,
)
from foresight_services.cli.event_loop import Cancelled
from foresight_services.cli.exit_codes import ExitCode
from foresight_services.cli.terminal import complain, one_line
from foresight_services.core.errors import InvalidInput, Violation

KNOWN: Final = (Cancelled, ForesightError, InvalidInput)
"""What a command may end with; anything else is a defect."""

_CALLER_ERRORS: Final = (
    ContradictoryPrefixError,
    InvalidRequestError,
    NotImplementedByServerError,
    UnauthenticatedError,
    UnknownPolicyError,
    UnknownRewardError,
)


def wrong(field: str, description: str) -> InvalidInput:
    """Return the error for one wrong option, file or field."""
    return InvalidInput((Violation(field, description),))


def report(error: Exception) -> int:
    """Tell `error`, one of `KNOWN`, in one line for each problem; return the exit code."""
    match error:
        case Cancelled():
            complain("cancelled")
            return error.exit_code
        case InvalidInput():
            _list((v.field, v.description) for v in error.violations)
            return ExitCode.WRONG_INPUT
        case InvalidRequestError() if error.violations:
            _list((v.field, v.description) for v in error.violations)
            return ExitCode.WRONG_INPUT
    if isinstance(error, DeadlineExceededError):
        complain(f"foresight: the deadline came before an answer: {error}")
        return ExitCode.DEADLINE
    complain(f"foresight: {error}")
    return ExitCode.WRONG_INPUT if isinstance(error, _CALLER_ERRORS) else ExitCode.UNAVAILABLE


def _list(violations: Iterable[tuple[str, str]]) -> None:
    for field, description in violations:
        # A wrong key may be a whole document; its start is enough to find it.
        complain(f"{one_line(field, 200)}: {description}" if field else description)
