"""A TCP proxy that stalls, garbles or ends connections, with or without TLS before it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress


class FaultProxy:
    """A running proxy to one port of this machine."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._open = asyncio.Event()
        self._open.set()
        self._asking = False
        self.port = 0
        """Where it listens on 127.0.0.1."""
        self.change: Callable[[bytes], bytes] | None = None
        """What becomes of each piece of an answer on its way; None for nothing."""
        self.turns = 0
        """How often a question followed on an answer, over all connections."""
        self.connections = 0
        """Connections that were ever made."""
        self.open_connections = 0
        """Connections now."""

    def stall(self) -> None:
        """Hold back all answers from now on."""
        self._open.clear()

    def go_on(self) -> None:
        """Let answers through again, those held back first."""
        self._open.set()

    def drop(self) -> None:
        """End all connections."""
        for writer in self._writers:
            writer.transport.abort()

    def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """End everything."""
        self.drop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _said(self, asks: bool) -> None:
        if asks and not self._asking:
            self.turns += 1
        self._asking = asks

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open_connections += 1
        self._writers.add(writer)
        try:
            inside, answers = await asyncio.open_connection("127.0.0.1", self._target)
            self._writers.add(answers)
            try:
                await asyncio.wait(
                    [
                        asyncio.create_task(self._pass(reader, answers, asks=True)),
                        asyncio.create_task(self._pass(inside, writer, asks=False)),
                    ],
                    return_when=asyncio.FIRST_COMPLETED,
                )
            finally:
                answers.transport.abort()
                self._writers.discard(answers)
        except OSError:
            return
        finally:
            writer.transport.abort()
            self._writers.discard(writer)
            self.open_connections -= 1

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, asks: bool
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                self._said(asks)
                if not asks:
                    await self._open.wait()
                    data = data if self.change is None else self.change(data)
                writer.write(data)
                await writer.drain()


@asynccontextmanager
async def fault_proxy(target: int, tls: ssl.SSLContext | None = None) -> AsyncIterator[FaultProxy]:
    """Run a proxy before `target`."""
    proxy = FaultProxy(target)
    server = await asyncio.start_server(proxy.connected, "127.0.0.1", 0, ssl=tls)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        await proxy.close()
