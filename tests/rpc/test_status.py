"""Failures on the wire and back, and errors of peers that are none of ours."""

from __future__ import annotations

from typing import Any

import grpc
import grpc.aio
import pytest
from google.rpc import status_pb2
from grpc.aio import Metadata

from foresight.v1 import error_reason_pb2
from foresight_services.core.errors import (
    DeadlinePassed,
    DomainError,
    Failure,
    Family,
    Reason,
    Upstream,
    Violation,
)
from foresight_services.rpc.interceptors import DETAILS_KEY
from foresight_services.rpc.status import CODES, decode_failure, encode_failure, error_from_call
from tests.fakes.servers import refusal_in

FAILURES = [
    Failure(Family.INVALID, Reason.INVALID_REQUEST, "ä: b", {"field": "ä"}, (Violation("ä", "b"),)),
    Failure(Family.NOT_FOUND, Reason.UNKNOWN_POLICY, "none", {"policy": "x", "known": "a, b"}),
    Failure(Family.PRECONDITION, Reason.CONTRADICTORY_PREFIX, "contradicts"),
    Failure(Family.LIMIT, Reason.LIMIT_REACHED, "too much", {"limit": "message_bytes"}),
    Failure(Family.UPSTREAM, Reason.MODEL_FAILED, "", {"role": "user"}),
    Failure(Family.DEADLINE, Reason.DEADLINE_EXCEEDED, "late"),
    Failure(Family.UNAUTHENTICATED, Reason.UNAUTHENTICATED, "no token"),
    Failure(Family.NOT_IMPLEMENTED, Reason.NOT_IMPLEMENTED, "not here"),
    Failure(Family.INTERNAL, Reason.INTERNAL, "internal error"),
]


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.reason)
def test_a_failure_survives_the_wire(failure: Failure) -> None:
    status = status_pb2.Status.FromString(encode_failure(failure).SerializeToString())
    assert decode_failure(status) == failure


def test_every_family_has_a_code_of_its_own() -> None:
    assert set(CODES) == set(Family)
    assert len(set(CODES.values())) == len(CODES)


def test_every_reason_is_one_of_the_contract_and_the_other_way_round() -> None:
    prefix = "ERROR_REASON_"
    known = {name.removeprefix(prefix) for name in error_reason_pb2.ErrorReason.keys()}
    assert known == {reason.value for reason in Reason} | {"UNSPECIFIED"}


@pytest.mark.parametrize("character", ["x", "é", "🙂", "\U000e0001"])
def test_a_refusal_fits_into_trailing_metadata_whatever_it_quotes(character: str) -> None:
    long = character * 5000
    violations = tuple(Violation(f"field {i} {long}", long) for i in range(100))
    failure = Failure(
        Family.INVALID, Reason.INVALID_REQUEST, long, {"field": long, "known": long}, violations
    )
    status = encode_failure(failure)
    percent_encoded = 3 * len(status.message.encode())
    base64_encoded = 4 * (status.ByteSize() + 2) // 3
    assert percent_encoded + base64_encoded < 8192
    refusal = refusal_in(status)
    assert 1 <= len(refusal.fields) < 100
    assert refusal.message.startswith(character * 100)


def test_a_refusal_that_fits_is_complete() -> None:
    violations = tuple(Violation(f"candidates[{i}]", "is empty") for i in range(60))
    failure = Failure(Family.INVALID, Reason.INVALID_REQUEST, "", {"field": "x"}, violations)
    assert decode_failure(encode_failure(failure)).violations == violations


def call_error(
    code: grpc.StatusCode, message: str = "", status: status_pb2.Status | None = None
) -> grpc.aio.AioRpcError:
    details: Any = () if status is None else ((DETAILS_KEY, status.SerializeToString()),)
    return grpc.aio.AioRpcError(code, Metadata(), Metadata(*details), message)


@pytest.mark.parametrize(
    "failure",
    [f for f in FAILURES[:-1] if f.family is not Family.UNAUTHENTICATED],
    ids=lambda failure: failure.reason,
)
def test_a_peers_own_error_is_passed_on_as_it_is(failure: Failure) -> None:
    error = call_error(CODES[failure.family], failure.message, encode_failure(failure))
    assert error_from_call(error, "simulator").failure == failure


def check_unavailable(error: DomainError) -> None:
    assert isinstance(error, Upstream)
    assert error.reason is Reason.SERVICE_UNAVAILABLE
    assert error.metadata == {"service": "simulator"}


@pytest.mark.parametrize(
    "code",
    [
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.INVALID_ARGUMENT,
    ],
)
def test_an_error_without_our_details_is_a_peer_that_does_not_serve(code: grpc.StatusCode) -> None:
    check_unavailable(error_from_call(call_error(code, "x" * 10_000), "simulator"))


def test_a_defect_of_a_peer_is_a_peer_that_does_not_serve() -> None:
    failure = FAILURES[-1]
    error = call_error(grpc.StatusCode.INTERNAL, failure.message, encode_failure(failure))
    check_unavailable(error_from_call(error, "simulator"))


def test_a_peer_that_refuses_our_token_is_not_the_callers_fault() -> None:
    failure = next(f for f in FAILURES if f.family is Family.UNAUTHENTICATED)
    error = call_error(grpc.StatusCode.UNAUTHENTICATED, failure.message, encode_failure(failure))
    check_unavailable(error_from_call(error, "simulator"))


def test_grpcs_own_deadline_is_a_deadline() -> None:
    error = error_from_call(call_error(grpc.StatusCode.DEADLINE_EXCEEDED), "simulator")
    assert isinstance(error, DeadlinePassed)
    assert error.reason is Reason.DEADLINE_EXCEEDED


def test_details_that_do_not_belong_to_the_code_are_left_aside() -> None:
    # gRPC gives up on an answer whose trailing metadata is too large, after reading part of it.
    status = encode_failure(FAILURES[0])
    error = call_error(grpc.StatusCode.RESOURCE_EXHAUSTED, "too large", status)
    check_unavailable(error_from_call(error, "simulator"))


def test_a_reason_of_another_domain_or_of_the_future_is_told_by_its_code_alone() -> None:
    status = encode_failure(FAILURES[1])
    status.details[0].value = status.details[0].value.replace(b"UNKNOWN_POLICY", b"UNKNOWN_PLANET")
    assert decode_failure(status) == Failure(Family.NOT_FOUND, Reason.INTERNAL, "none")
    assert decode_failure(status_pb2.Status(code=15, message="lost")) == Failure(
        Family.INTERNAL, Reason.INTERNAL, "lost"
    )
