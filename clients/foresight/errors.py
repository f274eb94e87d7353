"""What can go wrong, as exceptions that are told apart by type.

    ForesightError
    ├── InvalidRequestError          a field of the request is wrong; `violations` names each
    ├── UnknownPolicyError           the policy, or the version of it, is not known
    ├── UnknownRewardError           no reward is stored under that id, or no longer
    ├── StalePolicyError             a newer version of the policy is in the way
    ├── NotImplementedByServerError  the service that answered does not have this call
    ├── ContradictoryPrefixError     the prefix contradicts itself; no goal is left to draw
    ├── TooFewFuturesError           fewer futures succeeded than `samples.min` asks for
    ├── DeadlineExceededError        the deadline came before an answer
    ├── ModelFailedError             a call to a model failed
    │   ├── ModelRejectedError       the model's server refuses such calls for good
    │   ├── ContextExhaustedError    the conversation no longer fits into the model's context
    │   └── UserDriftedError         the simulated user said nothing that a user would say
    ├── MetricFailedError            a metric could not score a conversation
    │   └── ExtractionFailedError    the artifact that it scores could not be extracted
    ├── MetricUnavailableError       the metric needs what the evaluator does not have
    │   └── SandboxUnavailableError  the machine cannot isolate untrusted code
    ├── ServiceUnavailableError      Foresight, or a part of it, could not be reached
    ├── LimitReachedError            a limit was reached, such as the size of a message
    │   └── BudgetExhaustedError     the next model call could pass the request's budget
    ├── UnauthenticatedError         no valid token, or not one for this call
    └── InternalError                a defect in Foresight; the service's log has the trace

Calls raise these. Results hold them, without raising, where only one candidate, future, metric or
group failed. The type comes from the `reason` of google.rpc.ErrorInfo; where something other than
Foresight answered, such as a proxy or gRPC itself, it comes from the status code. An error that
fits no type is a plain `ForesightError`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import grpc
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

__all__ = [
    "BudgetExhaustedError",
    "ContextExhaustedError",
    "ContradictoryPrefixError",
    "DeadlineExceededError",
    "ExtractionFailedError",
    "ForesightError",
    "InternalError",
    "InvalidRequestError",
    "LimitReachedError",
    "MetricFailedError",
    "MetricUnavailableError",
    "ModelFailedError",
    "ModelRejectedError",
    "NotImplementedByServerError",
    "SandboxUnavailableError",
    "ServiceUnavailableError",
    "StalePolicyError",
    "TooFewFuturesError",
    "UnauthenticatedError",
    "UnknownPolicyError",
    "UnknownRewardError",
    "UserDriftedError",
    "Violation",
    "from_rpc_error",
    "from_status",
]

DOMAIN: Final = "foresight.v1"


@dataclass(frozen=True, slots=True)
class Violation:
    """One wrong field of a request."""

    field: str
    """Path of the field, such as `objective.metrics[0].weight`."""
    description: str
    """What is wrong with it, or what would be right."""

    def __str__(self) -> str:
        return f"{self.field}: {self.description}" if self.field else self.description


class ForesightError(Exception):
    """Anything that Foresight could not do. Its text says what and why."""

    message: str
    """The text, without a trace."""
    code: grpc.StatusCode
    """The gRPC status code that the error travels with."""
    reason: str
    """Name of the `ErrorReason`, such as `MODEL_FAILED`; empty where Foresight did not answer."""
    metadata: Mapping[str, str]
    """Details by name, such as `{"role": "user"}`; each `ErrorReason` documents its own."""
    retry_after: float | None
    """Seconds after which the service asks to try again, `None` where it does not say."""

    def __init__(
        self,
        message: str,
        *,
        code: grpc.StatusCode = grpc.StatusCode.UNKNOWN,
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.reason = reason
        self.metadata = dict(metadata or {})
        self.retry_after = retry_after


class InvalidRequestError(ForesightError):
    """A field of the request is wrong; found here or by the service."""

    violations: tuple[Violation, ...] = ()
    """Every wrong field that was found; empty where the service named none."""

    @classmethod
    def from_violations(cls, violations: Iterable[Violation]) -> InvalidRequestError:
        """Make the error for `violations`, at least one."""
        found = tuple(violations)
        lines = [str(violation) for violation in found]
        text = lines[0] if len(lines) == 1 else "\n  ".join([f"{len(lines)} problems:", *lines])
        error = cls(text, code=grpc.StatusCode.INVALID_ARGUMENT, reason="INVALID_REQUEST")
        error.violations = found
        return error


class UnknownPolicyError(ForesightError):
    """The policy, or the version of it, is not known; `metadata` lists what is."""


class UnknownRewardError(ForesightError):
    """No reward is stored under that id, or it is stored no longer."""


class StalePolicyError(ForesightError):
    """A newer version of the policy is in the way; `metadata` names the newest.

    Versions only move forward: what is published must be newer. Futures have this error where their
    version was taken away while they ran.
    """


class NotImplementedByServerError(ForesightError):
    """The service that answered does not have this call."""


class ContradictoryPrefixError(ForesightError):
    """The prefix contradicts itself, so that no goal is left to draw."""


class TooFewFuturesError(ForesightError):
    """Fewer futures succeeded than `samples.min` asks for; `metadata` has the numbers."""


class DeadlineExceededError(ForesightError):
    """The deadline came before an answer."""


class ModelFailedError(ForesightError):
    """A call to a model failed; `metadata` names its role."""


class ModelRejectedError(ModelFailedError):
    """The model's server refuses such calls for good: it knows no such model, key or request."""


class ContextExhaustedError(ModelFailedError):
    """The conversation no longer fits into the model's context."""


class UserDriftedError(ModelFailedError):
    """The simulated user kept speaking like an assistant, said nothing, or repeated itself."""


class MetricFailedError(ForesightError):
    """A metric could not score a conversation; `metadata` names it."""


class ExtractionFailedError(MetricFailedError):
    """The artifact that a metric scores could not be extracted; `metadata` names the artifact."""


class MetricUnavailableError(ForesightError):
    """The evaluator lacks a library, model or setting; `metadata` names it and who needs it."""


class SandboxUnavailableError(MetricUnavailableError):
    """The evaluator's machine cannot isolate untrusted code, and may not run it without."""


class ServiceUnavailableError(ForesightError):
    """Foresight, or a part of it, could not be reached or broke off."""


class LimitReachedError(ForesightError):
    """A limit was reached, such as the size of a message or the number of calls at a time."""


class BudgetExhaustedError(LimitReachedError):
    """The next model call could pass the request's `budget`; `metadata` names the limit."""


class UnauthenticatedError(ForesightError):
    """The call carries no valid token, or the token does not allow it."""


class InternalError(ForesightError):
    """A defect in Foresight, or an answer that breaks the contract."""


_BY_REASON: Final[Mapping[str, type[ForesightError]]] = {
    "INVALID_REQUEST": InvalidRequestError,
    "UNKNOWN_POLICY": UnknownPolicyError,
    "STALE_POLICY": StalePolicyError,
    "UNKNOWN_REWARD": UnknownRewardError,
    "NOT_IMPLEMENTED": NotImplementedByServerError,
    "CONTRADICTORY_PREFIX": ContradictoryPrefixError,
    "TOO_FEW_FUTURES": TooFewFuturesError,
    "DEADLINE_EXCEEDED": DeadlineExceededError,
    "MODEL_FAILED": ModelFailedError,
    "MODEL_REJECTED": ModelRejectedError,
    "CONTEXT_EXHAUSTED": ContextExhaustedError,
    "USER_DRIFTED": UserDriftedError,
    "METRIC_FAILED": MetricFailedError,
    "EXTRACTION_FAILED": ExtractionFailedError,
    "METRIC_UNAVAILABLE": MetricUnavailableError,
    "SANDBOX_UNAVAILABLE": SandboxUnavailableError,
    "SERVICE_UNAVAILABLE": ServiceUnavailableError,
    "LIMIT_REACHED": LimitReachedError,
    "BUDGET_EXHAUSTED": BudgetExhaustedError,
    "UNAUTHENTICATED": UnauthenticatedError,
    "INTERNAL": InternalError,
}

# CANCELLED is here because a caller's own cancellation never becomes an error of this module.
_BY_CODE: Final[Mapping[grpc.StatusCode, type[ForesightError]]] = {
    grpc.StatusCode.CANCELLED: ServiceUnavailableError,
    grpc.StatusCode.DATA_LOSS: InternalError,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceededError,
    grpc.StatusCode.INTERNAL: InternalError,
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequestError,
    grpc.StatusCode.PERMISSION_DENIED: UnauthenticatedError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: LimitReachedError,
    grpc.StatusCode.UNAUTHENTICATED: UnauthenticatedError,
    grpc.StatusCode.UNAVAILABLE: ServiceUnavailableError,
    grpc.StatusCode.UNIMPLEMENTED: NotImplementedByServerError,
    grpc.StatusCode.UNKNOWN: InternalError,
}

_CODES: Final[Mapping[int, grpc.StatusCode]] = {code.value[0]: code for code in grpc.StatusCode}


def from_status(status: Status) -> ForesightError:
    """Make the exception for a failure that the service reports inside an answer."""
    code = _CODES.get(status.code, grpc.StatusCode.UNKNOWN)
    info, violations, retry_after = _details(status)
    kind = _BY_REASON.get(info.reason) or _BY_CODE.get(code, ForesightError)
    lines = "; ".join(str(violation) for violation in violations)
    error = kind(
        status.message or lines or code.name,
        code=code,
        reason=info.reason,
        metadata=info.metadata,
        retry_after=retry_after,
    )
    if isinstance(error, InvalidRequestError):
        error.violations = violations
    return error


def from_rpc_error(error: grpc.RpcError, target: str) -> ForesightError:
    """Make the exception for a call to `target` that failed, of a sync or an async channel."""
    if not isinstance(error, grpc.Call | grpc.aio.AioRpcError):
        return InternalError(f"{target}: {error}", code=grpc.StatusCode.INTERNAL)
    try:
        # The stubs know the sync call only; the async error has the same three methods.
        status = rpc_status.from_call(error)  # type: ignore[arg-type,unused-ignore]
    except (ValueError, DecodeError):  # details of another status, or no details at all
        status = None
    if status is not None and status.details:
        return from_status(status)
    code = error.code()
    text = error.details() or code.name
    kind = _BY_CODE.get(code, ForesightError)
    if kind is ServiceUnavailableError:
        return kind(f"{target} is unavailable: {text}", code=code)
    return kind(f"{target}: {text}", code=code)


def _details(status: Status) -> tuple[ErrorInfo, tuple[Violation, ...], float | None]:
    """Return Foresight's own ErrorInfo (else an empty one), violations, seconds to wait."""
    info = ErrorInfo()
    violations: list[Violation] = []
    retry_after: float | None = None
    for detail in status.details:
        found, bad, retry = ErrorInfo(), BadRequest(), RetryInfo()
        try:
            if detail.Unpack(found) and found.domain == DOMAIN:
                info = found
            elif detail.Unpack(bad):
                violations += [Violation(v.field, v.description) for v in bad.field_violations]
            elif detail.Unpack(retry):
                retry_after = retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9
        except DecodeError:
            continue
    return info, tuple(violations), retry_after
