"""What the errors of redis-py mean for a cache."""

from __future__ import annotations

from typing import Final

from redis import exceptions as errors
from redis.asyncio.sentinel import MasterNotFoundError

from foresight_services.core.cache import CacheFault

# The first match counts: several are kinds of redis-py's ConnectionError or ResponseError.
_FAULTS: Final[tuple[tuple[CacheFault, tuple[type[Exception], ...]], ...]] = (
    (CacheFault.TIMEOUT, (errors.TimeoutError, TimeoutError)),
    (CacheFault.LOADING, (errors.BusyLoadingError,)),
    (CacheFault.REFUSED, (errors.AuthenticationError, errors.AuthorizationError)),
    (CacheFault.REFUSED, (errors.AuthenticationWrongNumberOfArgsError, errors.NoPermissionError)),
    (CacheFault.FULL, (errors.OutOfMemoryError,)),
    (CacheFault.FAILOVER, (errors.ReadOnlyError, errors.MovedError, errors.AskError)),
    (CacheFault.FAILOVER, (errors.TryAgainError, errors.ClusterDownError)),
    (CacheFault.FAILOVER, (errors.MasterDownError, errors.SlotNotCoveredError)),
    (CacheFault.FAILOVER, (MasterNotFoundError,)),
    (CacheFault.GARBAGE, (errors.InvalidResponse, UnicodeDecodeError)),
    (CacheFault.CONNECTION, (errors.ConnectionError, errors.RedisClusterException, OSError)),
)
# Errors of scripts carry the cause within their text.
_TEXTS: Final = (
    ("WRONGTYPE", CacheFault.GARBAGE),
    ("OOM command not allowed", CacheFault.FULL),
    ("READONLY", CacheFault.FAILOVER),
    ("NOPERM", CacheFault.REFUSED),
    # An inner command of a script that the user may not call.
    ("can't run this command", CacheFault.REFUSED),
    ("NOAUTH", CacheFault.REFUSED),
    ("WRONGPASS", CacheFault.REFUSED),
    ("LOADING", CacheFault.LOADING),
    ("MASTERDOWN", CacheFault.FAILOVER),
    ("CLUSTERDOWN", CacheFault.FAILOVER),
)

LOST_NODE: Final = frozenset({CacheFault.CONNECTION, CacheFault.FAILOVER, CacheFault.TIMEOUT})
"""Faults after which the servers may have changed places."""


def fault_of(error: Exception) -> CacheFault | None:
    """Name what `error` means; None where it is none that redis-py raises on purpose."""
    for fault, kinds in _FAULTS:
        if isinstance(error, kinds):
            return fault
    if isinstance(error, errors.RedisError):
        text = str(error)
        return next((fault for part, fault in _TEXTS if part in text), CacheFault.REJECTED)
    return CacheFault.GARBAGE if _raised_by_redis_py(error) else None


def _raised_by_redis_py(error: Exception) -> bool:
    """Return whether redis-py stumbled: over a reply, whose shape it does not check."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    module = "" if trace is None else str(trace.tb_frame.f_globals.get("__name__", ""))
    return module.split(".")[0] in {"redis", "hiredis"}
