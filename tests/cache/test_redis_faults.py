"""What errors of redis-py are called."""

from __future__ import annotations

import pytest
from redis import exceptions as errors
from redis.asyncio.sentinel import MasterNotFoundError
from redis.crc import key_slot

from foresight_services.cache.redis_faults import fault_of


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (errors.TimeoutError(), "timeout"),
        (TimeoutError(), "timeout"),
        (errors.ConnectionError("gone"), "connection"),
        (ConnectionResetError(), "connection"),
        (errors.BusyLoadingError("loading"), "loading"),
        (errors.AuthenticationError(), "refused"),
        (errors.NoPermissionError(), "refused"),
        (errors.OutOfMemoryError(), "full"),
        (errors.ResponseError("Error running script: -OOM command not allowed when"), "full"),
        (errors.ReadOnlyError(), "failover"),
        (errors.MovedError("5798 127.0.0.1:7000"), "failover"),
        (errors.AskError("5798 127.0.0.1:7000"), "failover"),
        (errors.ClusterDownError("down"), "failover"),
        (errors.MasterDownError("down"), "failover"),
        (MasterNotFoundError(), "failover"),
        (errors.InvalidResponse(), "garbage"),
        (errors.ResponseError("WRONGTYPE Operation against a key"), "garbage"),
        (errors.ResponseError("MISCONF Redis is configured to save"), "rejected"),
    ],
)
def test_errors_have_names(error, fault):
    assert fault_of(error) == fault


def test_a_defect_of_ours_has_none():
    with pytest.raises(ZeroDivisionError) as raised:
        1 / 0  # noqa: B018 - raised here, not by redis-py
    assert fault_of(raised.value) is None


def test_what_redis_py_stumbles_over_is_garbage():
    with pytest.raises(AttributeError) as raised:
        key_slot(None)  # type: ignore[arg-type]
    assert fault_of(raised.value) == "garbage"
