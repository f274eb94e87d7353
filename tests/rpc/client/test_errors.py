"""Errors: every reason and status code becomes its type."""

import pickle
import socket

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

import foresight
from foresight import errors
from foresight.v1 import reward_service_pb2 as pb
from foresight.v1.error_reason_pb2 import ErrorReason

Code = grpc.StatusCode

REASONS = {
    "INVALID_REQUEST": (Code.INVALID_ARGUMENT, errors.InvalidRequestError),
    "UNKNOWN_POLICY": (Code.NOT_FOUND, errors.UnknownPolicyError),
    "UNKNOWN_REWARD": (Code.NOT_FOUND, errors.UnknownRewardError),
    "STALE_POLICY": (Code.FAILED_PRECONDITION, errors.StalePolicyError),
    "NOT_IMPLEMENTED": (Code.UNIMPLEMENTED, errors.NotImplementedByServerError),
    "CONTRADICTORY_PREFIX": (Code.FAILED_PRECONDITION, errors.ContradictoryPrefixError),
    "TOO_FEW_FUTURES": (Code.UNAVAILABLE, errors.TooFewFuturesError),
    "DEADLINE_EXCEEDED": (Code.DEADLINE_EXCEEDED, errors.DeadlineExceededError),
    "MODEL_FAILED": (Code.UNAVAILABLE, errors.ModelFailedError),
    "MODEL_REJECTED": (Code.FAILED_PRECONDITION, errors.ModelRejectedError),
    "CONTEXT_EXHAUSTED": (Code.UNAVAILABLE, errors.ContextExhaustedError),
    "USER_DRIFTED": (Code.UNAVAILABLE, errors.UserDriftedError),
    "METRIC_FAILED": (Code.UNAVAILABLE, errors.MetricFailedError),
    "EXTRACTION_FAILED": (Code.UNAVAILABLE, errors.ExtractionFailedError),
    "METRIC_UNAVAILABLE": (Code.FAILED_PRECONDITION, errors.MetricUnavailableError),
    "SANDBOX_UNAVAILABLE": (Code.FAILED_PRECONDITION, errors.SandboxUnavailableError),
    "SERVICE_UNAVAILABLE": (Code.UNAVAILABLE, errors.ServiceUnavailableError),
    "LIMIT_REACHED": (Code.RESOURCE_EXHAUSTED, errors.LimitReachedError),
    "BUDGET_EXHAUSTED": (Code.RESOURCE_EXHAUSTED, errors.BudgetExhaustedError),
    "UNAUTHENTICATED": (Code.UNAUTHENTICATED, errors.UnauthenticatedError),
    "INTERNAL": (Code.INTERNAL, errors.InternalError),
}

CODES = {
    Code.ABORTED: errors.ForesightError,
    Code.ALREADY_EXISTS: errors.ForesightError,
    Code.CANCELLED: errors.ServiceUnavailableError,
    Code.DATA_LOSS: errors.InternalError,
    Code.DEADLINE_EXCEEDED: errors.DeadlineExceededError,
    Code.FAILED_PRECONDITION: errors.ForesightError,
    Code.INTERNAL: errors.InternalError,
    Code.INVALID_ARGUMENT: errors.InvalidRequestError,
    Code.NOT_FOUND: errors.ForesightError,
    Code.OUT_OF_RANGE: errors.ForesightError,
    Code.PERMISSION_DENIED: errors.UnauthenticatedError,
    Code.RESOURCE_EXHAUSTED: errors.LimitReachedError,
    Code.UNAUTHENTICATED: errors.UnauthenticatedError,
    Code.UNAVAILABLE: errors.ServiceUnavailableError,
    Code.UNIMPLEMENTED: errors.NotImplementedByServerError,
    Code.UNKNOWN: errors.InternalError,
}


def status_of(code, message, *details):
    status = Status(code=code.value[0], message=message)
    for detail in details:
        status.details.add().Pack(detail)
    return status


def refuse(status):
    """Make a handler that ends every call with `status`."""

    def compute(request, context):
        context.abort_with_status(rpc_status.to_status(status))

    return compute


def test_the_tables_are_complete():
    names = {name.removeprefix("ERROR_REASON_") for name in ErrorReason.keys()}
    assert set(REASONS) == names - {"UNSPECIFIED"}
    assert set(CODES) == set(Code) - {Code.OK}


@pytest.mark.parametrize("reason", REASONS)
async def test_a_reason_becomes_its_type(connect, target, service, request_fields, reason):
    code, kind = REASONS[reason]
    info = ErrorInfo(reason=reason, domain="foresight.v1", metadata={"role": "user"})
    retry = RetryInfo(retry_delay=Duration(seconds=1, nanos=500_000_000))
    service.compute = refuse(status_of(code, "what went wrong", info, retry))
    with pytest.raises(errors.ForesightError) as caught:
        await connect(target, max_attempts=1).compute(**request_fields)
    error = caught.value
    assert type(error) is kind
    assert str(error) == error.message == "what went wrong"
    assert (error.code, error.reason, error.metadata) == (code, reason, {"role": "user"})
    assert error.retry_after == 1.5
    assert isinstance(error.__cause__, grpc.RpcError)


@pytest.mark.parametrize("code", CODES, ids=lambda code: code.name)
async def test_a_code_without_a_reason_becomes_a_type(
    connect, target, service, request_fields, code
):
    service.compute = lambda request, context: context.abort(code, "by someone else")
    with pytest.raises(errors.ForesightError) as caught:
        await connect(target, max_attempts=1).compute(**request_fields)
    error = caught.value
    assert type(error) is CODES[code]
    assert (error.code, error.reason, error.retry_after) == (code, "", None)
    assert target in str(error)
    assert str(error).endswith("by someone else")


async def test_the_service_names_wrong_fields(connect, target, service, request_fields):
    info = ErrorInfo(reason="INVALID_REQUEST", domain="foresight.v1")
    bad = BadRequest(
        field_violations=[
            {"field": "candidates[1]", "description": "must not be empty"},
            {"field": "task.goal", "description": "required"},
        ]
    )
    service.compute = refuse(status_of(Code.INVALID_ARGUMENT, "2 fields are wrong", info, bad))
    with pytest.raises(errors.InvalidRequestError, match="^2 fields are wrong$") as caught:
        await connect(target).compute(**request_fields)
    assert caught.value.violations == (
        foresight.Violation("candidates[1]", "must not be empty"),
        foresight.Violation("task.goal", "required"),
    )


def test_an_error_is_also_of_the_kind_that_it_is_a_case_of():
    assert issubclass(errors.ExtractionFailedError, errors.MetricFailedError)
    assert issubclass(errors.SandboxUnavailableError, errors.MetricUnavailableError)


def test_an_unknown_reason_falls_back_to_the_code():
    info = ErrorInfo(reason="NEW_IN_A_LATER_VERSION", domain="foresight.v1")
    error = errors.from_status(status_of(Code.RESOURCE_EXHAUSTED, "", info))
    assert type(error) is errors.LimitReachedError
    assert error.reason == "NEW_IN_A_LATER_VERSION"
    assert str(error) == "RESOURCE_EXHAUSTED"


def test_the_reason_of_another_domain_is_not_ours():
    info = ErrorInfo(reason="MODEL_FAILED", domain="googleapis.com")
    error = errors.from_status(status_of(Code.UNAVAILABLE, "elsewhere", info))
    assert type(error) is errors.ServiceUnavailableError
    assert error.reason == ""


def test_details_that_cannot_be_read_are_passed_over():
    broken = AnyMessage(type_url="type.googleapis.com/google.rpc.ErrorInfo", value=b"\xff\xff\xff")
    status = Status(code=13, message="m", details=[broken])
    assert type(errors.from_status(status)) is errors.InternalError
    error = errors.from_status(Status(code=999, message="m"))
    assert (type(error), error.code) == (errors.InternalError, Code.UNKNOWN)


async def test_details_of_another_status_are_passed_over(connect, target, service, request_fields):
    def compute(request, context):
        details = status_of(Code.INTERNAL, "another", ErrorInfo()).SerializeToString()
        context.set_trailing_metadata((("grpc-status-details-bin", details),))
        context.abort(Code.NOT_FOUND, "this one")

    service.compute = compute
    with pytest.raises(errors.ForesightError, match="this one$") as caught:
        await connect(target).compute(**request_fields)
    assert caught.value.code is Code.NOT_FOUND


def test_an_rpc_error_without_a_status_is_internal():
    assert type(errors.from_rpc_error(grpc.RpcError("odd"), "host:1")) is errors.InternalError


async def test_a_refused_connection_names_the_target(connect, request_fields):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        target = f"127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(errors.ServiceUnavailableError, match=f"^{target} is unavailable: "):
        await connect(target, max_attempts=1).compute(**request_fields)


async def test_a_message_that_is_too_large_reaches_a_limit(connect, target, request_fields):
    large = request_fields | {"candidates": ["x" * (64 * 1024 * 1024)]}
    with pytest.raises(errors.LimitReachedError, match="larger than max"):
        await connect(target).compute(**large)


async def test_answers_may_be_larger_than_grpc_allows_by_default(
    connect, target, service, request_fields
):
    future = pb.FutureResult(objective=1.0, goal="x" * (5 * 1024 * 1024))
    service.compute = lambda request, context: pb.ComputeRewardsResponse(
        results=[service.candidate(0, futures=[future]), service.candidate(1)]
    )
    rewards = await connect(target).compute(**request_fields)
    assert len(rewards[0].futures[0].goal) == 5 * 1024 * 1024


def test_errors_survive_pickling():
    violations = (foresight.Violation("task.goal", "required"),)
    error = errors.InvalidRequestError.from_violations(violations)
    error.retry_after = 2.0
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is errors.InvalidRequestError
    assert str(copy) == "task.goal: required"
    assert vars(copy) == vars(error)
