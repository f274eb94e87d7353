"""Connections: kept, shared in line, and let go of."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from foresight_services.models.http_pool import ConnectionEnded, ConnectionPool

REQUEST = b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Server:
    """Answers a request on any of its connections when the test says so."""

    def __init__(self) -> None:
        self.port = 0
        self.connections: list[asyncio.StreamWriter] = []
        self.asked: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Note every request."""
        self.connections.append(writer)
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n")
                self.asked.put_nowait(writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


@asynccontextmanager
async def pool_of(most: int) -> AsyncIterator[tuple[ConnectionPool, Server]]:
    """Run a server; yield a pool of at most so many connections to it."""
    fake = Server()
    server = await asyncio.start_server(fake.serve, "127.0.0.1", 0)
    fake.port = server.sockets[0].getsockname()[1]
    pool = ConnectionPool(
        "127.0.0.1",
        fake.port,
        tls=None,
        max_connections=most,
        connect_timeout_seconds=5.0,
        max_response_bytes=1000,
    )
    try:
        yield pool, fake
    finally:
        pool.close()
        server.close()
        for connection in fake.connections:
            connection.close()
            await asyncio.gather(connection.wait_closed(), return_exceptions=True)


async def test_a_connection_that_is_free_goes_to_the_first_in_line() -> None:
    async with pool_of(1) as (pool, server):
        calls = [asyncio.create_task(pool.post(REQUEST, 30.0)) for _ in range(3)]
        for call in calls:
            (await server.asked.get()).write(ANSWER)
            assert (await call).body == b"ok"
        assert len(server.connections) == 1


async def test_who_leaves_the_line_takes_no_place_with_them() -> None:
    async with pool_of(1) as (pool, server):
        first = asyncio.create_task(pool.post(REQUEST, 30.0))
        busy = await server.asked.get()
        leaving = asyncio.create_task(pool.post(REQUEST, 30.0))
        last = asyncio.create_task(pool.post(REQUEST, 30.0))
        await asyncio.sleep(0)
        leaving.cancel()
        busy.write(ANSWER)
        await first
        (await server.asked.get()).write(ANSWER)
        assert (await last).body == b"ok"
        assert leaving.cancelled()


async def test_who_leaves_in_the_moment_of_its_turn_passes_it_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with pool_of(1) as (pool, server):
        first = asyncio.create_task(pool.post(REQUEST, 30.0))
        busy = await server.asked.get()
        second = asyncio.create_task(pool.post(REQUEST, 30.0))
        third = asyncio.create_task(pool.post(REQUEST, 30.0))
        await asyncio.sleep(0)
        give_back = pool._give_back

        def give_back_and_cancel(connection: Any) -> None:
            give_back(connection)
            second.cancel()  # which has been given the connection and not taken it up yet

        monkeypatch.setattr(pool, "_give_back", give_back_and_cancel)
        busy.write(ANSWER)
        await first
        (await server.asked.get()).write(ANSWER)
        assert (await third).body == b"ok"
        assert second.cancelled()
        assert len(server.connections) == 1


async def test_a_call_that_fails_gives_its_place_to_the_next() -> None:
    async with pool_of(1) as (pool, server):
        first = asyncio.create_task(pool.post(REQUEST, 30.0))
        busy = await server.asked.get()
        second = asyncio.create_task(pool.post(REQUEST, 30.0))
        await asyncio.sleep(0)
        busy.close()
        with pytest.raises(ConnectionEnded) as ended:
            await first
        assert not ended.value.begun
        (await server.asked.get()).write(ANSWER)
        assert (await second).body == b"ok"
        assert len(server.connections) == 2


async def test_a_connection_that_the_server_closed_meanwhile_is_not_used() -> None:
    async with pool_of(1) as (pool, server):
        for number in range(1, 4):
            call = asyncio.create_task(pool.post(REQUEST, 30.0))
            writer = await server.asked.get()
            writer.write(ANSWER)
            await call
            assert len(server.connections) == number
            writer.close()
            await writer.wait_closed()
            await asyncio.sleep(0)


async def test_what_comes_unasked_ends_the_connection() -> None:
    async with pool_of(1) as (pool, server):
        call = asyncio.create_task(pool.post(REQUEST, 30.0))
        writer = await server.asked.get()
        writer.write(ANSWER)
        await call
        writer.write(ANSWER)
        await writer.wait_closed()
        again = asyncio.create_task(pool.post(REQUEST, 30.0))
        (await server.asked.get()).write(ANSWER)
        assert (await again).body == b"ok"
        assert len(server.connections) == 2


async def test_waiting_in_line_counts_towards_the_timeout() -> None:
    async with pool_of(1) as (pool, server):
        holding = asyncio.create_task(pool.post(REQUEST, 30.0))
        busy = await server.asked.get()
        with pytest.raises(TimeoutError):
            await pool.post(REQUEST, 0.01)
        busy.write(ANSWER)
        assert (await holding).body == b"ok"


async def test_closing_fails_calls_in_flight_and_in_line() -> None:
    async with pool_of(1) as (pool, server):
        calls = [asyncio.create_task(pool.post(REQUEST, 30.0)) for _ in range(3)]
        await server.asked.get()
        pool.close()
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [ConnectionEnded] * 3
        assert len(server.connections) == 1
