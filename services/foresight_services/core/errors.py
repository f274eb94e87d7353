"""What can go wrong, in domain terms.

    DomainError
    ├── InvalidInput        the caller must change the request; lists every violation
    ├── NotFound            something the request names is not known
    ├── Precondition        the request is well formed but cannot be served as things stand
    ├── LimitReached        a limit or a budget was reached
    ├── Upstream            a model, a metric or a peer service failed
    ├── DeadlinePassed      the caller's deadline came first
    ├── Unauthenticated     the call carries no valid token
    └── NotImplementedHere  the contract has it, this version does not

A `Failure` is an error kept as data, for a future or a score that has no value.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final

_log: Final = logging.getLogger(__name__)

INTERNAL_MESSAGE: Final = "internal error; the service's log has the details"


class Family(StrEnum):
    """What kind of failure it is; each family travels as one gRPC status code."""

    INVALID = "invalid"
    NOT_FOUND = "not_found"
    PRECONDITION = "precondition"
    LIMIT = "limit"
    UPSTREAM = "upstream"
    DEADLINE = "deadline"
    UNAUTHENTICATED = "unauthenticated"
    NOT_IMPLEMENTED = "not_implemented"
    INTERNAL = "internal"


class Reason(StrEnum):
    """Machine-readable reasons; the contract's `ErrorReason` without its prefix."""

    INVALID_REQUEST = "INVALID_REQUEST"
    UNKNOWN_POLICY = "UNKNOWN_POLICY"
    NOT_IMPLEMENTED = "NOT_IMPLEMENTED"
    CONTRADICTORY_PREFIX = "CONTRADICTORY_PREFIX"
    TOO_FEW_FUTURES = "TOO_FEW_FUTURES"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    MODEL_FAILED = "MODEL_FAILED"
    MODEL_REJECTED = "MODEL_REJECTED"
    CONTEXT_EXHAUSTED = "CONTEXT_EXHAUSTED"
    USER_DRIFTED = "USER_DRIFTED"
    STALE_POLICY = "STALE_POLICY"
    BUDGET_EXHAUSTED = "BUDGET_EXHAUSTED"
    METRIC_FAILED = "METRIC_FAILED"
    SERVICE_UNAVAILABLE = "SERVICE_UNAVAILABLE"
    LIMIT_REACHED = "LIMIT_REACHED"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    INTERNAL = "INTERNAL"
    SANDBOX_UNAVAILABLE = "SANDBOX_UNAVAILABLE"
    EXTRACTION_FAILED = "EXTRACTION_FAILED"
    METRIC_UNAVAILABLE = "METRIC_UNAVAILABLE"
    UNKNOWN_REWARD = "UNKNOWN_REWARD"


@dataclass(frozen=True, slots=True)
class Violation:
    """One field that is wrong."""

    field: str
    """Path of the field in the contract's own names, such as `objective.metrics[0].name`."""
    description: str
    """What is wrong and what would be right."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a future or a score has no value."""

    family: Family
    """Kind of failure."""
    reason: Reason
    """Machine-readable reason."""
    message: str
    """For people; never carries text of a conversation or a secret."""
    metadata: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Details for programs."""
    violations: tuple[Violation, ...] = ()
    """The fields that are wrong, for the family `INVALID`."""


class DomainError(Exception):
    """A failure on its way to the caller."""

    family: Family = Family.INTERNAL

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        metadata: Mapping[str, str] | None = None,
        violations: tuple[Violation, ...] = (),
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.metadata: Mapping[str, str] = MappingProxyType(dict(metadata or {}))
        self.violations = violations

    @property
    def failure(self) -> Failure:
        """This error as data."""
        return Failure(self.family, self.reason, self.message, self.metadata, self.violations)


class InvalidInput(DomainError):
    """The caller must change the request."""

    family = Family.INVALID

    def __init__(self, violations: tuple[Violation, ...]) -> None:
        super().__init__(
            Reason.INVALID_REQUEST,
            "; ".join(f"{v.field}: {v.description}" for v in violations),
            metadata={"field": violations[0].field},
            violations=violations,
        )


class NotFound(DomainError):
    """Something that the request names is not known."""

    family = Family.NOT_FOUND


class Precondition(DomainError):
    """The request is well formed but cannot be served as things stand."""

    family = Family.PRECONDITION


class LimitReached(DomainError):
    """A limit or a budget was reached."""

    family = Family.LIMIT


class Upstream(DomainError):
    """A model, a metric or a peer service failed."""

    family = Family.UPSTREAM


class DeadlinePassed(DomainError):
    """The caller's deadline came first."""

    family = Family.DEADLINE

    def __init__(self, message: str = "the deadline came first") -> None:
        super().__init__(Reason.DEADLINE_EXCEEDED, message)


class Unauthenticated(DomainError):
    """The call carries no valid token."""

    family = Family.UNAUTHENTICATED

    def __init__(self, message: str) -> None:
        super().__init__(Reason.UNAUTHENTICATED, message)


class NotImplementedHere(DomainError):
    """The contract has it, this version of the service does not."""

    family = Family.NOT_IMPLEMENTED

    def __init__(self, method: str) -> None:
        super().__init__(
            Reason.NOT_IMPLEMENTED,
            f"{method} is part of the contract but not of this version of the service",
            metadata={"method": method},
        )


_BY_FAMILY: Final[Mapping[Family, type[DomainError]]] = {
    kind.family: kind
    for kind in (
        InvalidInput,
        NotFound,
        Precondition,
        LimitReached,
        Upstream,
        DeadlinePassed,
        Unauthenticated,
        NotImplementedHere,
        DomainError,
    )
}


def error_from(failure: Failure) -> DomainError:
    """Return the exception that `failure` is the record of; the inverse of `failure`."""
    kind = _BY_FAMILY[failure.family]
    error = kind.__new__(kind)
    DomainError.__init__(
        error,
        failure.reason,
        failure.message,
        metadata=failure.metadata,
        violations=failure.violations,
    )
    return error


def failure_from(error: Exception) -> Failure:
    """Record `error` as data; an unexpected one is logged and told without its details."""
    if isinstance(error, DomainError):
        return error.failure
    _log.error("unexpected error", exc_info=error)
    return Failure(Family.INTERNAL, Reason.INTERNAL, INTERNAL_MESSAGE)
