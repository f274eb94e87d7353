"""Errors as exceptions and as data, one the inverse of the other."""

from __future__ import annotations

import logging

import pytest

from foresight_services.core.errors import (
    INTERNAL_MESSAGE,
    DeadlinePassed,
    DomainError,
    Failure,
    Family,
    InvalidInput,
    LimitReached,
    NotFound,
    NotImplementedHere,
    Precondition,
    Reason,
    Unauthenticated,
    Upstream,
    Violation,
    error_from,
    failure_from,
)

EVERY_ERROR = [
    InvalidInput((Violation("a[0].b", "is wrong"), Violation("c", "is missing"))),
    NotFound(Reason.UNKNOWN_POLICY, "no such policy", metadata={"policy": "x"}),
    Precondition(Reason.CONTRADICTORY_PREFIX, "contradicts itself"),
    LimitReached(Reason.LIMIT_REACHED, "too much", metadata={"limit": "message_bytes"}),
    Upstream(Reason.MODEL_FAILED, "overloaded", metadata={"role": "user"}),
    DeadlinePassed(),
    Unauthenticated("no token"),
    NotImplementedHere("GetReward"),
    DomainError(Reason.INTERNAL, INTERNAL_MESSAGE),
]


@pytest.mark.parametrize("error", EVERY_ERROR, ids=lambda error: type(error).__name__)
def test_an_error_survives_being_data(error: DomainError) -> None:
    failure = failure_from(error)
    again = error_from(failure)
    assert type(again) is type(error)
    assert again.failure == failure
    assert str(again) == str(error)


def test_every_family_has_an_error() -> None:
    assert {error.family for error in EVERY_ERROR} == set(Family)


def test_invalid_input_names_every_field_and_the_first_one_for_programs() -> None:
    error = EVERY_ERROR[0]
    assert error.message == "a[0].b: is wrong; c: is missing"
    assert error.metadata == {"field": "a[0].b"}
    assert error.reason is Reason.INVALID_REQUEST


def test_an_unexpected_error_is_logged_and_told_without_its_text(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.ERROR):
        failure = failure_from(KeyError("a secret"))
    assert failure == Failure(Family.INTERNAL, Reason.INTERNAL, INTERNAL_MESSAGE)
    assert "a secret" in caplog.text


def test_an_expected_error_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        failure_from(EVERY_ERROR[0])
    assert caplog.text == ""
