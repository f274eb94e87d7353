"""A server that sends bytes as a test wants them, for answers that no HTTP library would send."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager


class Connection:
    """A connection on which one request has come."""

    def __init__(self, server: RawServer, writer: asyncio.StreamWriter) -> None:
        self._server = server
        self._writer = writer

    async def send(self, data: bytes) -> None:
        """Send `data`; returns once the client keeps up, and raises once it has hung up."""
        self._writer.write(data)
        await self._writer.drain()
        self._server.sent += len(data)

    async def answer(self, body: bytes, *headers: str, status: str = "200 OK") -> None:
        """Send a whole answer with its length, or the one that `headers` say."""
        lines = [f"HTTP/1.1 {status}", *headers]
        if not any(line.lower().startswith(("content-length", "transfer")) for line in headers):
            lines.append(f"Content-Length: {len(body)}")
        await self.send("\r\n".join([*lines, "", ""]).encode() + body)


class RawServer:
    """A running server."""

    def __init__(self) -> None:
        self.base_url = ""
        """What a client of the OpenAI API is told, ending in `/v1`."""
        self.requests: list[bytes] = []
        """The head of the first request of every connection."""
        self.sent = 0
        """Bytes that the client, or the operating system for it, has taken."""
        self.hung_up = asyncio.Event()
        """Set when a client closed its connection before the server was done with it."""


@asynccontextmanager
async def raw_server(behave: Callable[[Connection], Awaitable[None]]) -> AsyncIterator[RawServer]:
    """Run a server that reads one request of each connection, lets `behave` answer, and closes."""
    server, tasks = RawServer(), set[asyncio.Task[None]]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            server.requests.append(head)
            fields = head.lower().split(b"\r\n")
            length = next(line for line in fields if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.split(b":")[1]))
            await behave(Connection(server, writer))
        except (ConnectionError, asyncio.IncompleteReadError):
            server.hung_up.set()
        finally:
            writer.close()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    listener = await asyncio.start_server(connected, "127.0.0.1", 0)
    server.base_url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1"
    try:
        yield server
    finally:
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
