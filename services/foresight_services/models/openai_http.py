"""One server of the OpenAI chat API: its pooled connections, and bytes in, bytes out.

What goes wrong on the way is a `ModelFault`; what the server itself says is not looked at here.
A call that is cancelled or given up closes its connection at once, so that the server can stop.
"""

from __future__ import annotations

import io
import math
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import aiohttp
from yarl import URL

from foresight_services.models.faults import FaultKind, ModelFault

_KEEP_ALIVE_SECONDS: Final = 4.0
"""How long an idle connection is kept: less than the 5 s after which uvicorn, and so vLLM and
SGLang, close it, because a call sent at that very moment would be lost."""

_MOST_ERROR_BYTES: Final = 64 << 10
"""How much of an error's body is read."""

_LARGE_BODY_BYTES: Final = 1 << 20
"""From this size on aiohttp wants to send a body in pieces."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered."""

    status: int
    """The HTTP status."""
    headers: Mapping[str, str]
    """The headers; their names are case-insensitive."""
    body: bytes
    """The body, of an error only its beginning."""


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
        self._headers = {
            # Compressed answers cost more time on both sides than they save on the way.
            "Accept-Encoding": "identity",
            "Content-Type": "application/json",
            "User-Agent": "foresight",
        }
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"
        self._connect_timeout = connect_timeout_seconds
        self._max_connections = max_connections
        self._max_bytes = max_response_bytes
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    async def aclose(self) -> None:
        """Close every connection; calls in flight fail, and so do later ones."""
        self._closed = True
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def post(self, body: bytes, timeout_seconds: float) -> Answer:
        """Send `body` and return the answer, which comes within `timeout_seconds`.

        Raises:
            ModelFault: TIMEOUT, CONNECTION or MALFORMED.
        """
        try:
            return await self._post(body, timeout_seconds)
        except TimeoutError as error:
            if isinstance(error, aiohttp.ConnectionTimeoutError):
                problem = f"no connection within {self._connect_timeout:g} s"
                raise self._fault(FaultKind.CONNECTION, problem) from error
            problem = f"no answer within {timeout_seconds:g} s"
            raise self._fault(FaultKind.TIMEOUT, problem) from error
        except (aiohttp.ClientError, OSError) as error:
            raise self._fault(*_describe(error)) from error

    async def _post(self, body: bytes, timeout_seconds: float) -> Answer:
        session = self._session or self._open()
        response = await session.post(
            self._url,
            data=body if len(body) < _LARGE_BODY_BYTES else io.BytesIO(body),
            # A redirected POST would arrive as a GET; it is told as what it is, a wrong address.
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(
                total=timeout_seconds,
                sock_connect=self._connect_timeout,
                # aiohttp would round longer timeouts up, past the caller's deadline.
                ceil_threshold=math.inf,
            ),
        )
        read = False
        try:
            if response.status == 200:
                content = await self._read(response)
            else:
                content = await _read_error(response)
            read = response.content.at_eof()
            return Answer(response.status, response.headers, content)
        finally:
            # What is left of an answer is not worth the wait; at its end the connection is free.
            if not read:
                response.close()

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        announced = response.content_length
        if announced is not None and announced > self._max_bytes:
            raise self._too_long()
        if announced is not None and "Content-Encoding" not in response.headers:
            return await response.read()
        content = bytearray()
        async for chunk in response.content.iter_any():
            content += chunk
            if len(content) > self._max_bytes:
                raise self._too_long()
        return bytes(content)

    def _open(self) -> aiohttp.ClientSession:
        if self._closed:
            raise RuntimeError(f"the model {self._name!r} was closed")
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=self._max_connections,
                keepalive_timeout=_KEEP_ALIVE_SECONDS,
                # Made here and not taken from aiohttp, whose context is made at its import, so
                # that SSL_CERT_FILE names the authorities that hold when the service starts.
                ssl=ssl.create_default_context() if self._url.scheme == "https" else True,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=self._headers,
        )
        return self._session

    def _too_long(self) -> ModelFault:
        problem = f"the answer is longer than {self._max_bytes} bytes"
        return self._fault(FaultKind.MALFORMED, problem)

    def _fault(self, kind: FaultKind, problem: str) -> ModelFault:
        return ModelFault(kind, self._name, problem)


async def _read_error(response: aiohttp.ClientResponse) -> bytes:
    """Return the beginning of an error's body; the status tells enough where it is cut off."""
    content = bytearray()
    try:
        async for chunk in response.content.iter_any():
            content += chunk
            if len(content) >= _MOST_ERROR_BYTES:
                break
    except aiohttp.ClientPayloadError:
        content += b" (the connection ended here)"
    return bytes(content[:_MOST_ERROR_BYTES])


def _describe(error: Exception) -> tuple[FaultKind, str]:
    """Return kind and description of an exception of the connection."""
    match error:
        case aiohttp.ClientConnectorDNSError():
            return FaultKind.CONNECTION, f"the name {error.host!r} cannot be resolved"
        case aiohttp.ClientConnectorCertificateError():
            reason = getattr(error.certificate_error, "verify_message", "") or "not trusted"
            return FaultKind.CONNECTION, f"the certificate of {error.host!r} is refused: {reason}"
        case aiohttp.ClientConnectorError():
            reason = error.os_error.strerror or type(error.os_error).__name__
            where = f"{error.host}:{error.port}"
            return FaultKind.CONNECTION, f"cannot connect to {where}: {reason}"
        case aiohttp.ClientPayloadError():
            return FaultKind.CONNECTION, "the connection ended in the middle of the answer"
        case aiohttp.ServerDisconnectedError():
            return FaultKind.CONNECTION, "the connection ended before the answer"
        case aiohttp.ClientResponseError():
            return FaultKind.MALFORMED, "the answer is not HTTP"
    return FaultKind.CONNECTION, f"the connection failed ({type(error).__name__})"
