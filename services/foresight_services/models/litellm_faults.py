"""LiteLLM's exceptions, sorted into `FaultKind`s.

An answer with an error status is judged as the `openai` backend judges it. Everything else LiteLLM
calls an internal error of the provider, so what lies beneath tells: a connection that failed, a
key that is missing, an answer that could not be read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from foresight_services.models.faults import FaultKind, ModelFault
from foresight_services.models.openai_faults import (
    Sent,
    Told,
    kind_of,
    retry_after_seconds,
    without_echo,
)

_BY_TYPE: Final[Mapping[str, FaultKind]] = {
    "ContextWindowExceededError": FaultKind.CONTEXT,
    "ContentPolicyViolationError": FaultKind.REFUSED,
    "Timeout": FaultKind.TIMEOUT,
    "RateLimitError": FaultKind.RATE_LIMITED,
    "ServiceUnavailableError": FaultKind.OVERLOADED,
    "AuthenticationError": FaultKind.UNAUTHORIZED,
    "PermissionDeniedError": FaultKind.UNAUTHORIZED,
    "UnsupportedParamsError": FaultKind.BAD_REQUEST,
}
"""Exceptions that LiteLLM is sure of, by the name of their class or of one above it."""

_UNREACHED: Final = frozenset(
    {"ConnectError", "ConnectTimeout", "ReadError", "WriteError", "RemoteProtocolError"}
    | {"ClientConnectionError", "ClientOSError", "ClientPayloadError", "OSError"}
)
"""Failures of connections in httpx, aiohttp and Python, by the name of their class."""

_NO_KEY: Final = re.compile(r"missing.{0,40}(api[ _]key|credentials)", re.IGNORECASE | re.DOTALL)
_NO_CREDIT: Final = "insufficient_quota"
_FILTERED: Final = re.compile(r"content_(filter|policy_violation)")


def fault_of(
    name: str, error: Exception, sent: Sent, wall_clock: Callable[[], float]
) -> ModelFault:
    """Return the fault that LiteLLM's `error` stands for.

    Args:
        name: the configuration's name of the model.
        error: what `acompletion` raised.
        sent: what a server may have repeated.
        wall_clock: seconds since 1970, for servers that say until when to wait but not the time.
    """
    headers = getattr(error, "litellm_response_headers", None)
    status = getattr(error, "status_code", None)
    answered = headers is not None and isinstance(status, int)
    kind = _answered(error, status) if answered and status else _unanswered(error)
    what = f"LiteLLM raised {type(error).__name__}" + (f" (HTTP {status})" if answered else "")
    if kind in (FaultKind.BAD_REQUEST, FaultKind.UNKNOWN_MODEL):
        what = f"{what}: {without_echo(str(error), sent)}"
    # Names as in `openai_faults`, where httpx gives headers in lower case.
    given = {key.title(): str(value) for key, value in dict(headers or {}).items()}
    return ModelFault(kind, name, what, retry_after_seconds=retry_after_seconds(given, wall_clock))


def _answered(error: Exception, status: int) -> FaultKind:
    """Return the kind of an error that the server told with `status`."""
    if status < 400:
        return FaultKind.MALFORMED
    text = str(error)
    if _FILTERED.search(text):
        return FaultKind.REFUSED
    if status == 429 and _NO_CREDIT in text:
        return FaultKind.UNAUTHORIZED
    known = _by_type(error)
    return kind_of(status, Told(text)) if known is None else known


def _unanswered(error: Exception) -> FaultKind:
    """Return the kind of an error that came with no status of the server."""
    known = _by_type(error)
    if known is not None:
        return known
    beneath = list(_chain(error))
    if any(_NO_KEY.search(str(cause)) for cause in beneath):
        return FaultKind.UNAUTHORIZED
    if any(_UNREACHED & set(_class_names(cause)) for cause in beneath):
        return FaultKind.CONNECTION
    return FaultKind.MALFORMED


def _by_type(error: Exception) -> FaultKind | None:
    return next((_BY_TYPE[name] for name in _class_names(error) if name in _BY_TYPE), None)


def _class_names(error: BaseException) -> Iterator[str]:
    return (kind.__name__ for kind in type(error).__mro__)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield `error` and what lies beneath it, each once."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or cause.__context__
