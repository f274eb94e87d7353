"""Connections to one HTTP server: one call at a time on each, kept open from call to call.

Written for the one thing that the hot path does, a POST of some kilobytes that is answered by some:
aiohttp, which does everything, needs over half more CPU for it (docs/performance.md). Calls
take the connection that has rested longest, so that none grows too old between two of them.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from typing import Final, cast

from foresight_services.models.http_reply import Answer, NotHttp, Reply, TooLong

_KEEP_ALIVE_SECONDS: Final = 4.0
"""How long an idle connection is kept: less than the 5 s after which uvicorn, and so vLLM and
SGLang, close it, because a call sent at that very moment would be lost."""


class NoConnection(Exception):
    """No connection came about within its time."""


class ConnectionEnded(Exception):
    """The connection ended before the answer, or in the middle of it."""

    def __init__(self, *, begun: bool) -> None:
        super().__init__()
        self.begun = begun
        """Whether the answer had begun."""


class _Connection(asyncio.Protocol):
    """One connection."""

    __slots__ = ("_expiry", "_loop", "_most", "_reply", "_transport", "_waiter", "idle_since")

    def __init__(self, loop: asyncio.AbstractEventLoop, most_bytes: int) -> None:
        self._loop = loop
        self._most = most_bytes
        self._transport: asyncio.Transport | None = None
        self._reply: Reply | None = None
        self._waiter: asyncio.Future[Answer] | None = None
        self._expiry: asyncio.TimerHandle | None = None
        self.idle_since = 0.0
        """When its last call ended, in the loop's time."""

    @property
    def usable(self) -> bool:
        """Whether it can be asked."""
        return self._transport is not None and not self._transport.is_closing()

    async def ask(self, request: bytes, end: float) -> Answer:
        """Send `request` and return the answer; TimeoutError where it is not there by `end`.

        A call that fails, or is cancelled, closes the connection, so that the server can stop.
        """
        transport = self._transport
        if transport is None:
            raise ConnectionEnded(begun=False)
        waiter: asyncio.Future[Answer] = self._loop.create_future()
        self._waiter = waiter
        reply = self._reply = Reply(self._most)
        self._expiry = self._loop.call_at(end, self._expire)
        transport.write(request)
        try:
            answer = await waiter
        except BaseException:
            self.close()
            raise
        finally:
            self._expiry.cancel()
            self._waiter = self._reply = None
        self.idle_since = self._loop.time()
        if not reply.reusable:
            self.close()
        return answer

    def close(self) -> None:
        """Let go of it at once."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to write."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Read on; what comes when nothing was asked ends the connection."""
        reply, waiter = self._reply, self._waiter
        if reply is None or waiter is None or waiter.done():
            self.close()
            return
        try:
            if reply.feed(data):
                waiter.set_result(cast(Answer, reply.answer))
        except (NotHttp, TooLong) as error:
            waiter.set_exception(error)

    def connection_lost(self, error: Exception | None) -> None:
        """Tell whoever waits for an answer."""
        self._transport = None
        reply, waiter = self._reply, self._waiter
        if reply is None or waiter is None or waiter.done():
            return
        try:
            whole = reply.end()
        except NotHttp as wrong:
            waiter.set_exception(wrong)
            return
        if whole:
            waiter.set_result(cast(Answer, reply.answer))
        else:
            waiter.set_exception(ConnectionEnded(begun=bool(reply.status)))

    def _expire(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(TimeoutError())


class ConnectionPool:
    """The connections to one server, no more than a limit; calls wait in line for them."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        tls: Callable[[], ssl.SSLContext] | None,
        max_connections: int,
        connect_timeout_seconds: float,
        max_response_bytes: int,
    ) -> None:
        """Prepare; nothing is opened yet.

        Args:
            host: name or address of the server.
            port: its port.
            tls: makes what TLS is checked with when it is first needed; None for plain HTTP.
            max_connections: most connections at once, at least 1.
            connect_timeout_seconds: limit on making one, its TLS included.
            max_response_bytes: longest answer.
        """
        self._host = host
        self._port = port
        self._tls = tls
        self._context: ssl.SSLContext | None = None
        self._connect_timeout = connect_timeout_seconds
        self._most_bytes = max_response_bytes
        self._places = max_connections
        """Connections that may yet be opened."""
        self._idle: deque[_Connection] = deque()
        self._busy: set[_Connection] = set()
        self._line: deque[asyncio.Future[_Connection | None]] = deque()

    async def post(self, request: bytes, timeout_seconds: float) -> Answer:
        """Send a whole request and return the answer.

        Raises:
            TimeoutError: where it is not there within `timeout_seconds`, waiting in line included.
            NoConnection: where no connection comes about in its own time.
            ConnectionEnded, NotHttp, TooLong, OSError: where the call fails.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout_seconds
        connection = self._rested(loop.time() - _KEEP_ALIVE_SECONDS)
        if connection is None:
            async with asyncio.timeout_at(end):
                connection = await self._obtain(loop)
        self._busy.add(connection)
        try:
            return await connection.ask(request, end)
        finally:
            self._busy.discard(connection)
            self._give_back(connection)

    def close(self) -> None:
        """Close every connection; calls in flight fail, those in line too."""
        for connection in (*self._idle, *self._busy):
            connection.close()
        while (turn := self._next()) is not None:
            turn.set_exception(ConnectionEnded(begun=False))

    def _rested(self, oldest: float) -> _Connection | None:
        """Return an idle connection that is fresh enough, or None."""
        while self._idle:
            connection = self._idle.popleft()
            if connection.usable and connection.idle_since > oldest:
                return connection
            connection.close()
            self._places += 1
        return None

    async def _obtain(self, loop: asyncio.AbstractEventLoop) -> _Connection:
        """Return a new connection, or one that another call has done with."""
        if self._places:
            self._places -= 1
        else:
            given = await self._turn(loop)
            if given is not None:
                return given
        try:
            return await self._connect(loop)
        except BaseException:
            self._free_place()
            raise

    async def _turn(self, loop: asyncio.AbstractEventLoop) -> _Connection | None:
        """Wait in line; return a connection, or None where one may be opened."""
        turn: asyncio.Future[_Connection | None] = loop.create_future()
        self._line.append(turn)
        try:
            return await turn
        except asyncio.CancelledError:
            # Given and cancelled in the same moment.
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                given = turn.result()
                if given is None:
                    self._free_place()
                else:
                    self._give_back(given)
            raise

    async def _connect(self, loop: asyncio.AbstractEventLoop) -> _Connection:
        if self._tls is not None and self._context is None:
            self._context = self._tls()
        try:
            async with asyncio.timeout(self._connect_timeout):
                _, connection = await loop.create_connection(
                    lambda: _Connection(loop, self._most_bytes),
                    self._host,
                    self._port,
                    ssl=self._context,
                )
        except TimeoutError as error:
            raise NoConnection from error
        return connection

    def _give_back(self, connection: _Connection) -> None:
        """Hand `connection` to the next in line, or let it rest."""
        if not connection.usable:
            self._free_place()
            return
        turn = self._next()
        if turn is None:
            self._idle.append(connection)
        else:
            turn.set_result(connection)

    def _free_place(self) -> None:
        turn = self._next()
        if turn is None:
            self._places += 1
        else:
            turn.set_result(None)

    def _next(self) -> asyncio.Future[_Connection | None] | None:
        while self._line:
            turn = self._line.popleft()
            if not turn.done():
                return turn
        return None
