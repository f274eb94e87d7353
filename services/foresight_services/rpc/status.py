"""Failures on the wire: the one mapping between the domain and google.rpc.Status."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from foresight_services.core.admission import RETRY_AFTER
from foresight_services.core.errors import (
    DomainError,
    Failure,
    Family,
    Reason,
    Upstream,
    Violation,
    error_from,
)

DOMAIN: Final = "foresight.v1"
"""The ErrorInfo domain under which reasons are unique."""

CODES: Final[dict[Family, grpc.StatusCode]] = {
    Family.INVALID: grpc.StatusCode.INVALID_ARGUMENT,
    Family.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    Family.PRECONDITION: grpc.StatusCode.FAILED_PRECONDITION,
    Family.LIMIT: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Family.UPSTREAM: grpc.StatusCode.UNAVAILABLE,
    Family.DEADLINE: grpc.StatusCode.DEADLINE_EXCEEDED,
    Family.UNAUTHENTICATED: grpc.StatusCode.UNAUTHENTICATED,
    Family.NOT_IMPLEMENTED: grpc.StatusCode.UNIMPLEMENTED,
    Family.INTERNAL: grpc.StatusCode.INTERNAL,
}
"""The status code that each family travels as."""

_FAMILIES: Final = {code.value[0]: family for family, code in CODES.items()}

# gRPC and common proxies drop trailing metadata of more than 8 KiB, which carries the message
# percent-encoded and the details in base64; a long list says the same as its start.
_MOST_VIOLATION_BYTES: Final = 3000
_LONGEST_TEXT_BYTES: Final = 500

_LONGEST_RETRY_SECONDS: Final = 86_400.0


def encode_failure(failure: Failure) -> status_pb2.Status:
    """Return `failure` with ErrorInfo and what else it tells: BadRequest, RetryInfo."""
    details: list[Any] = [
        error_details_pb2.ErrorInfo(
            reason=failure.reason,
            domain=DOMAIN,
            metadata={key: _shorten(value) for key, value in failure.metadata.items()},
        )
    ]
    if failure.violations:
        details.append(_bad_request(failure.violations))
    if RETRY_AFTER in failure.metadata:
        details.extend(_retry_info(failure.metadata[RETRY_AFTER]))
    packed = []
    for detail in details:
        any_message = AnyMessage()
        any_message.Pack(detail, deterministic=True)
        packed.append(any_message)
    code: int = CODES[failure.family].value[0]
    return status_pb2.Status(code=code, message=_shorten(failure.message), details=packed)


def decode_failure(status: status_pb2.Status) -> Failure:
    """Return the failure that `status` carries; one of another origin is told by its code alone."""
    reason, metadata = Reason.INTERNAL, {}
    violations: tuple[Violation, ...] = ()
    for detail in status.details:
        info = error_details_pb2.ErrorInfo()
        bad_request = error_details_pb2.BadRequest()
        if detail.Unpack(info) and info.domain == DOMAIN and info.reason in Reason.__members__:
            reason, metadata = Reason(info.reason), dict(info.metadata)
        elif detail.Unpack(bad_request):
            violations = tuple(
                Violation(v.field, v.description) for v in bad_request.field_violations
            )
    family = _FAMILIES.get(status.code, Family.INTERNAL)
    return Failure(family, reason, status.message, metadata, violations)


def error_from_call(error: grpc.aio.AioRpcError, service: str) -> DomainError:
    """Return the domain's error for a failed call of another Foresight service."""
    try:
        status = rpc_status.from_call(error)  # type: ignore[arg-type]
    except ValueError:  # gRPC itself gave up on an answer whose details came through
        status = None
    if status is not None:
        failure = decode_failure(status)
        # A token that is refused there is this service's own, nothing that the caller could mend.
        if failure.reason not in (Reason.INTERNAL, Reason.UNAUTHENTICATED):
            return error_from(failure)
    code = error.code()
    reason = (
        Reason.DEADLINE_EXCEEDED
        if code is grpc.StatusCode.DEADLINE_EXCEEDED
        else Reason.SERVICE_UNAVAILABLE
    )
    family = Family.DEADLINE if reason is Reason.DEADLINE_EXCEEDED else Family.UPSTREAM
    message = f"the {service} answered {code.name}: {_shorten(error.details() or '')}"
    return error_from(Failure(family, reason, message, {"service": service}))


def unreachable(service: str, problem: str) -> DomainError:
    """Return the error for a peer that did not keep to the contract."""
    return Upstream(
        Reason.SERVICE_UNAVAILABLE, f"the {service} {problem}", metadata={"service": service}
    )


def _bad_request(violations: Iterable[Violation]) -> error_details_pb2.BadRequest:
    """Return as many of `violations` as an answer can carry, at least one."""
    bad_request = error_details_pb2.BadRequest()
    for violation in violations:
        bad_request.field_violations.add(
            field=_shorten(violation.field), description=_shorten(violation.description)
        )
        if bad_request.ByteSize() > _MOST_VIOLATION_BYTES:
            bad_request.field_violations.pop()
            break
    return bad_request


def _retry_info(seconds: str) -> Iterable[error_details_pb2.RetryInfo]:
    """Return when to try again; nothing where a peer told no time."""
    try:
        delay = float(seconds)
    except ValueError:
        return ()
    if not 0 <= delay <= _LONGEST_RETRY_SECONDS:
        return ()
    retry_info = error_details_pb2.RetryInfo()
    retry_info.retry_delay.FromNanoseconds(round(delay * 1e9))
    return (retry_info,)


def _shorten(text: str) -> str:
    encoded = text.encode()
    if len(encoded) <= _LONGEST_TEXT_BYTES:
        return text
    return f"{encoded[:_LONGEST_TEXT_BYTES].decode(errors='ignore')}…"
