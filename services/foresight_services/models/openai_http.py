"""One server of the OpenAI chat API: its pooled connections, and bytes in, bytes out.

What goes wrong on the way is a `ModelFault`; what the server itself says is not looked at here.
A call that is cancelled or given up closes its connection at once, so that the server can stop.
"""

from __future__ import annotations

import socket
import ssl
from typing import Final

from yarl import URL

from foresight_services.models.faults import FaultKind, ModelFault
from foresight_services.models.http_pool import ConnectionEnded, ConnectionPool, NoConnection
from foresight_services.models.http_reply import Answer, NotHttp, TooLong

__all__ = ("Answer", "OpenAIEndpoint")

_NOT_IN_A_HEADER: Final = frozenset("\r\n\0")


class OpenAIEndpoint:
    """The connections to one server, opened as calls need them and kept between calls.

    It also remembers what the server turned out not to have.
    """

    def __init__(
        self,
        *,
        name: str,
        base_url: str,
        api_key: str | None,
        connect_timeout_seconds: float,
        max_connections: int,
        max_response_bytes: int,
        route: str = "/chat/completions",
    ) -> None:
        self.takes_n = True
        """Whether `n` choices come from one call."""
        self.takes_schema = True
        """Whether `response_format` may carry a JSON schema."""
        self.counts_tokens = True
        """Whether answers carry `usage`."""
        self._name = name
        url = URL(base_url)
        path = url.path.rstrip("/") + route
        self._url = url.with_path(path, keep_query=True)
        self._key = api_key
        self._connect_timeout = connect_timeout_seconds
        self._max_bytes = max_response_bytes
        self._head = b""
        self._pool = ConnectionPool(
            url.host or "",
            url.port or 80,
            # Made when it is needed, so that SSL_CERT_FILE names the authorities that hold then.
            tls=ssl.create_default_context if url.scheme == "https" else None,
            max_connections=max_connections,
            connect_timeout_seconds=connect_timeout_seconds,
            max_response_bytes=max_response_bytes,
        )
        self._closed = False

    async def aclose(self) -> None:
        """Close every connection; calls in flight fail, and so do later ones."""
        self._closed = True
        self._pool.close()

    async def post(self, body: bytes, timeout_seconds: float) -> Answer:
        """Send `body` and return the answer, which comes within `timeout_seconds`.

        Raises:
            ModelFault: TIMEOUT, CONNECTION or MALFORMED.
        """
        if self._closed:
            raise RuntimeError(f"the model {self._name!r} was closed")
        head = self._head or self._make_head()
        try:
            request = b"%b%d\r\n\r\n%b" % (head, len(body), body)
            return await self._pool.post(request, timeout_seconds)
        except TimeoutError as error:
            problem = f"no answer within {timeout_seconds:g} s"
            raise self._fault(FaultKind.TIMEOUT, problem) from error
        except (OSError, NoConnection, ConnectionEnded, NotHttp, TooLong) as error:
            raise self._fault(*self._describe(error)) from error

    def _make_head(self) -> bytes:
        """Return every request's head up to the number of bytes that follow it."""
        url = self._url
        lines = [
            f"POST {url.raw_path_qs} HTTP/1.1",
            f"Host: {url.host_port_subcomponent}",
            "Accept: */*",
            # Compressed answers cost more time on both sides than they save on the way.
            "Accept-Encoding: identity",
            "Content-Type: application/json",
            "User-Agent: foresight",
        ]
        if self._key:
            if _NOT_IN_A_HEADER.intersection(self._key):
                raise ValueError(f"the key of the model {self._name!r} is more than one line")
            lines.append(f"Authorization: Bearer {self._key}")
        self._head = "\r\n".join([*lines, "Content-Length: "]).encode("latin-1")
        return self._head

    def _describe(self, error: Exception) -> tuple[FaultKind, str]:
        """Return kind and description of what went wrong on the way."""
        host = self._url.host
        match error:
            case NoConnection():
                return FaultKind.CONNECTION, f"no connection within {self._connect_timeout:g} s"
            case ConnectionEnded(begun=True):
                return FaultKind.CONNECTION, "the connection ended in the middle of the answer"
            case ConnectionEnded():
                return FaultKind.CONNECTION, "the connection ended before the answer"
            case NotHttp():
                return FaultKind.MALFORMED, "the answer is not HTTP"
            case TooLong():
                return FaultKind.MALFORMED, f"the answer is longer than {self._max_bytes} bytes"
            case socket.gaierror():
                return FaultKind.CONNECTION, f"the name {host!r} cannot be resolved"
            case ssl.SSLCertVerificationError():
                reason = error.verify_message or "not trusted"
                return FaultKind.CONNECTION, f"the certificate of {host!r} is refused: {reason}"
            case ssl.SSLError():
                return FaultKind.CONNECTION, f"the connection failed ({type(error).__name__})"
        reason = getattr(error, "strerror", None) or type(error).__name__
        where = f"{host}:{self._url.port}"
        return FaultKind.CONNECTION, f"cannot connect to {where}: {reason}"

    def _fault(self, kind: FaultKind, problem: str) -> ModelFault:
        return ModelFault(kind, self._name, problem)
