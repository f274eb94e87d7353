"""Faults of a server and of the way to it, each from a real socket, are `ModelFault`s."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from foresight_services.core.errors import Family
from foresight_services.models.faults import FaultKind, ModelFault
from tests.fakes.openai_client import ask, openai_model
from tests.fakes.openai_server import Fault, error, openai_server, says
from tests.fakes.raw_server import Connection, RawServer, raw_server


async def fault_at(
    behave: Callable[[Connection], Awaitable[None]], **settings: Any
) -> tuple[ModelFault, RawServer]:
    """Return the fault of one call to a server that does as it likes, and the server."""
    async with raw_server(behave) as server:
        async with openai_model(server.base_url, **settings) as model:
            with pytest.raises(ModelFault) as failed:
                await model.complete(ask())
        return failed.value, server


async def test_an_answer_without_end_is_read_to_its_limit_only() -> None:
    piece = b"10000\r\n" + b" " * 0x10000 + b"\r\n"

    async def flood(connection: Connection) -> None:
        await connection.answer(b"", "Transfer-Encoding: chunked")
        for _ in range(50 << 20 >> 16):
            await connection.send(piece)

    async with raw_server(flood) as server:
        async with openai_model(server.base_url, max_response_bytes=1 << 20) as model:
            with pytest.raises(ModelFault, match="longer than 1048576 bytes") as failed:
                await model.complete(ask())
            await server.hung_up.wait()
    assert failed.value.kind is FaultKind.MALFORMED
    assert server.sent < 40 << 20


async def test_an_answer_announced_as_too_long_is_not_read() -> None:
    async def announce(connection: Connection) -> None:
        await connection.answer(b"", f"Content-Length: {50 << 20}")
        while True:
            await connection.send(b" " * 0x10000)

    async with raw_server(announce) as server:
        async with openai_model(server.base_url) as model:
            with pytest.raises(ModelFault, match="longer than 8388608 bytes") as failed:
                await model.complete(ask())
            await server.hung_up.wait()
    assert failed.value.kind is FaultKind.MALFORMED


async def test_an_answer_that_is_too_long_once_unpacked_is_not_read() -> None:
    packed = gzip.compress(b" " * (50 << 20))

    async def answer(connection: Connection) -> None:
        await connection.answer(packed, "Content-Encoding: gzip")

    fault, _ = await fault_at(answer)
    assert fault.kind is FaultKind.MALFORMED
    assert "longer than" in fault.message


async def test_one_byte_a_second_is_a_timeout() -> None:
    async def trickle(connection: Connection) -> None:
        await connection.answer(b"", "Content-Length: 1000")
        while True:
            await connection.send(b" ")
            await asyncio.sleep(1)

    fault, _ = await fault_at(trickle, timeout_seconds=0.2)
    assert fault.kind is FaultKind.TIMEOUT


async def test_one_byte_of_the_head_a_second_is_a_timeout() -> None:
    async def trickle(connection: Connection) -> None:
        while True:
            await connection.send(b"H")
            await asyncio.sleep(1)

    fault, _ = await fault_at(trickle, timeout_seconds=0.2)
    assert fault.kind is FaultKind.TIMEOUT


BROKEN: dict[str, tuple[bytes, FaultKind, str]] = {
    "closes at once": (b"", FaultKind.CONNECTION, "ended before the answer"),
    "closes in the head": (b"HTTP/1.1 200 OK\r\nCont", FaultKind.CONNECTION, "ended before"),
    "closes after the head": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n",
        FaultKind.CONNECTION,
        "ended in the middle",
    ),
    "closes in the body": (
        b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"choices"',
        FaultKind.CONNECTION,
        "ended in the middle",
    ),
    "closes in a chunk": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\n{",
        FaultKind.CONNECTION,
        "ended in the middle",
    ),
    "speaks another protocol": (b"SSH-2.0-OpenSSH\r\n\r\n", FaultKind.MALFORMED, "not HTTP"),
    "endless header": (
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000,
        FaultKind.MALFORMED,
        "not HTTP",
    ),
    "an error without its body": (
        b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 7\r\nContent-Length: 99\r\n\r\n",
        FaultKind.OVERLOADED,
        "HTTP 503",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
async def test_a_connection_that_breaks(what: str) -> None:
    data, kind, words = BROKEN[what]
    fault, server = await fault_at(lambda connection: connection.send(data))
    assert fault.kind is kind
    assert words in fault.message
    assert fault.retryable
    assert len(server.requests) == 1


async def test_an_endless_error_is_cut_off_and_keeps_its_kind() -> None:
    async def flood(connection: Connection) -> None:
        await connection.answer(b"", "Transfer-Encoding: chunked", status="503 Busy")
        while True:
            await connection.send(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")

    async with raw_server(flood) as server:
        async with openai_model(server.base_url) as model:
            with pytest.raises(ModelFault) as failed:
                await model.complete(ask())
            await server.hung_up.wait()
    assert failed.value.kind is FaultKind.OVERLOADED
    assert len(failed.value.message) < 400


async def fault_of(base_url: str, **settings: Any) -> ModelFault:
    """Return the fault of one call to `base_url`."""
    async with openai_model(base_url, **settings) as model:
        with pytest.raises(ModelFault) as failed:
            await model.complete(ask())
    return failed.value


async def test_a_name_that_cannot_be_resolved() -> None:
    fault = await fault_of("http://models.invalid:8000/v1")
    assert fault.kind is FaultKind.CONNECTION
    assert "'models.invalid' cannot be resolved" in fault.message


async def test_a_port_where_nothing_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        fault = await fault_of(f"http://127.0.0.1:{port}/v1")
    assert fault.kind is FaultKind.CONNECTION
    assert f"cannot connect to 127.0.0.1:{port}" in fault.message


async def test_a_redirect_is_told_and_not_followed() -> None:
    script = says(Fault(301, headers={"Location": "/v1/chat/completions"}))
    async with openai_server(script) as server:
        fault = await fault_of(server.base_url)
    assert fault.kind is FaultKind.BAD_REQUEST
    assert "nothing answers at this base_url (HTTP 301)" in fault.message
    assert len(server.calls) == 1


async def test_an_address_that_serves_something_else() -> None:
    async with openai_server() as server:
        fault = await fault_of(server.base_url.removesuffix("/v1"))
    assert fault.kind is FaultKind.BAD_REQUEST
    assert fault.family is Family.PRECONDITION
    assert "nothing answers at this base_url (HTTP 404)" in fault.message


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Make a certificate for `localhost` that is its own authority; return its file and key's."""
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
        + ["-nodes", "-days", "2", "-subj", "/CN=localhost"]
        + ["-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
    )
    return certificate, key


@pytest.fixture
def tls(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    """What a server with the certificate needs."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    return context


async def test_tls_with_the_right_name_a_wrong_one_and_an_unknown_authority(
    tls: ssl.SSLContext, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with openai_server(tls=tls) as server:
        right = server.base_url.replace("127.0.0.1", "localhost")
        fault = await fault_of(right)
        assert fault.kind is FaultKind.CONNECTION
        assert "certificate of 'localhost' is refused: self-signed" in fault.message

        monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
        async with openai_model(right) as model:
            assert (await model.complete(ask())).text

        fault = await fault_of(server.base_url)
        assert fault.kind is FaultKind.CONNECTION
        assert "certificate of '127.0.0.1' is refused" in fault.message
        assert "not valid for '127.0.0.1'" in fault.message
    assert len(server.calls) == 1


async def test_plain_text_where_tls_is_expected() -> None:
    async with openai_server() as server:
        fault = await fault_of(server.base_url.replace("http:", "https:"))
    assert fault.kind is FaultKind.CONNECTION


async def test_a_model_that_the_server_does_not_know_is_asked_for_once() -> None:
    words = "The model `tiny` does not exist."
    async with openai_server(says(error(404, words, type="NotFoundError"))) as server:
        fault = await fault_of(server.base_url)
    assert fault.kind is FaultKind.UNKNOWN_MODEL
    assert fault.family is Family.PRECONDITION
    assert not fault.retryable
    assert "'policy': the server does not know the model 'tiny' (HTTP 404)" in fault.message
    assert len(server.calls) == 1
