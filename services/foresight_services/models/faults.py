"""What can go wrong in a model call, told apart so that each kind is handled as it deserves."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from foresight_services.core.errors import DomainError, Family, Reason


class FaultKind(StrEnum):
    """Kind of a failed model call."""

    TIMEOUT = "timeout"
    RATE_LIMITED = "rate_limited"
    OVERLOADED = "overloaded"
    SERVER_ERROR = "server_error"
    CONNECTION = "connection"
    MALFORMED = "malformed"
    EMPTY = "empty"
    REFUSED = "refused"
    CONTEXT = "context"
    BAD_REQUEST = "bad_request"
    UNKNOWN_MODEL = "unknown_model"
    UNAUTHORIZED = "unauthorized"
    BREAKER_OPEN = "breaker_open"


RETRYABLE: Final = frozenset(
    {
        FaultKind.TIMEOUT,
        FaultKind.RATE_LIMITED,
        FaultKind.OVERLOADED,
        FaultKind.SERVER_ERROR,
        FaultKind.CONNECTION,
        FaultKind.MALFORMED,
        FaultKind.EMPTY,
        FaultKind.REFUSED,
        FaultKind.BREAKER_OPEN,
    }
)
"""Kinds that another try may mend."""

REJECTED: Final = frozenset(
    {FaultKind.BAD_REQUEST, FaultKind.UNKNOWN_MODEL, FaultKind.UNAUTHORIZED}
)
"""Kinds that the operator must mend; trying again would only repeat them."""

LOAD: Final = frozenset({FaultKind.TIMEOUT, FaultKind.RATE_LIMITED, FaultKind.OVERLOADED})
"""Kinds that tell that the backend has too much to do."""


class ModelFault(DomainError):
    """A model call failed."""

    def __init__(
        self,
        kind: FaultKind,
        model: str,
        message: str,
        *,
        retry_after_seconds: float | None = None,
    ) -> None:
        """Describe the fault.

        Args:
            kind: what kind of fault it is.
            model: the configuration's name of the model.
            message: for people; no text of a conversation and no secret.
            retry_after_seconds: how long the backend asked to be left alone.
        """
        if kind is FaultKind.CONTEXT:
            reason = Reason.CONTEXT_EXHAUSTED
        else:
            reason = Reason.MODEL_REJECTED if kind in REJECTED else Reason.MODEL_FAILED
        super().__init__(
            reason, f"model {model!r}: {message}", metadata={"model": model, "kind": kind}
        )
        self.kind = kind
        self.retry_after_seconds = retry_after_seconds

    @property
    def family(self) -> Family:  # type: ignore[override]
        """FAILED_PRECONDITION for what the operator must mend, else UNAVAILABLE."""
        return Family.PRECONDITION if self.kind in REJECTED else Family.UPSTREAM

    @property
    def retryable(self) -> bool:
        """Whether another try may mend it."""
        return self.kind in RETRYABLE
