"""One HTTP answer, from bytes that come in any pieces."""

from __future__ import annotations

import gzip
import zlib

import pytest

from foresight_services.models.http_reply import Answer, NotHttp, Reply, TooLong

OK = b"HTTP/1.1 200 OK\r\n"
WHOLE: dict[str, tuple[bytes, bytes, bool]] = {
    "a length": (OK + b"Content-Length: 5\r\n\r\nhello", b"hello", True),
    "no body": (OK + b"content-length: 0\r\n\r\n", b"", True),
    "chunks": (
        OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;a=b\r\nlo\r\n0\r\n\r\n",
        b"hello",
        True,
    ),
    "chunks and what comes after": (
        OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: 1\r\nY: 2\r\n\r\n",
        b"hello",
        True,
    ),
    "gzip": (
        OK + b"Content-Encoding: gzip\r\nContent-Length: 25\r\n\r\n" + gzip.compress(b"hello"),
        b"hello",
        True,
    ),
    "chunked gzip": (
        OK + b"Content-Encoding: GZIP\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"19\r\n" + gzip.compress(b"hello") + b"\r\n0\r\n\r\n",
        b"hello",
        True,
    ),
    "deflate": (
        OK + b"Content-Encoding: deflate\r\nContent-Length: 13\r\n\r\n" + zlib.compress(b"hello"),
        b"hello",
        True,
    ),
    "a connection that closes": (
        OK + b"Connection: close\r\nContent-Length: 5\r\n\r\nhello",
        b"hello",
        False,
    ),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"hello", False),
    "HTTP/1.0 that is kept": (
        b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 5\r\n\r\nhello",
        b"hello",
        True,
    ),
    "after 100": (
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 5\r\n\r\nhello",
        b"hello",
        True,
    ),
}


@pytest.mark.parametrize("what", WHOLE)
def test_an_answer_is_the_same_in_whatever_pieces_it_comes(what: str) -> None:
    data, body, reusable = WHOLE[what]
    for size in (1, 2, 3, 7, 50, len(data)):
        reply = Reply(1000)
        pieces = [data[at : at + size] for at in range(0, len(data), size)]
        assert [reply.feed(piece) for piece in pieces] == [False] * (len(pieces) - 1) + [True]
        assert reply.answer is not None
        assert (reply.answer.status, reply.answer.body) == (200, body)
        assert reply.reusable is reusable


def test_a_body_without_a_length_ends_with_the_connection() -> None:
    reply = Reply(1000)
    assert not reply.feed(OK + b"\r\nhel")
    assert not reply.feed(b"lo")
    assert reply.end()
    assert reply.answer is not None and reply.answer.body == b"hello"
    assert not reply.reusable


def test_headers_have_any_case_and_are_joined() -> None:
    answer = _read(OK + b"X-A: 1\r\nx-a:2\r\nContent-Length: 0\r\n\r\n")
    assert answer.headers["X-A"] == answer.headers["x-A"] == "1, 2"
    assert answer.headers.get("Retry-After", "no") == "no"


def test_more_than_was_asked_for_is_left_out_and_ends_the_connection() -> None:
    reply = Reply(1000)
    assert reply.feed(OK + b"Content-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\n")
    assert reply.answer is not None and reply.answer.body == b"hello"
    assert not reply.reusable


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        OK + b"no colon\r\n\r\n",
        OK + b"Content-Length : 5\r\n\r\n",
        OK + b" folded: 1\r\n\r\n",
        OK + b"Content-Length: -5\r\n\r\n",
        OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
        OK + b"Transfer-Encoding: gzip\r\n\r\n",
        OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        OK + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        OK + b"Content-Length: 99999999999999999999999\r\n\r\n",
        OK + b"X: one line break alone\n\r\n",
        b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n" + OK,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 3000,
        OK + b"Content-Encoding: br\r\nContent-Length: 5\r\n\r\n",
        OK + b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello",
        OK + b"Transfer-Encoding: chunked\r\n\r\nnine\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nhello\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"1" * 10_000,
        OK + b"X: " + b"x" * 100_000,
        b"x" * 8,
    ],
)
def test_what_is_no_http_is_refused(data: bytes) -> None:
    with pytest.raises(NotHttp):
        Reply(1000).feed(data)


def test_half_of_a_packed_answer_is_none() -> None:
    packed = gzip.compress(b"hello")[:15]
    with pytest.raises(NotHttp):
        Reply(1000).feed(OK + b"Content-Encoding: gzip\r\nContent-Length: 15\r\n\r\n" + packed)


@pytest.mark.parametrize(
    "data",
    [
        b"Content-Length: 1001\r\n\r\n",
        b"\r\n" + b"x" * 1001,
        b"Transfer-Encoding: chunked\r\n\r\n3e9\r\n" + b"x" * 1001,
    ],
)
def test_an_answer_that_is_too_long_is_refused(data: bytes) -> None:
    with pytest.raises(TooLong):
        Reply(1000).feed(OK + data)


def test_what_unpacks_to_too_much_is_refused() -> None:
    packed = gzip.compress(b"x" * 1_000_000)
    head = OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    with pytest.raises(TooLong):
        Reply(2000).feed(head + packed)


@pytest.mark.parametrize("data", [b"", b"HTTP/1.1 200", OK + b"Content-Length: 9\r\n\r\nhello"])
def test_a_connection_that_ends_too_early_gives_no_answer(data: bytes) -> None:
    reply = Reply(1000)
    assert not reply.feed(data) or not data
    assert not reply.end()
    assert reply.answer is None


def test_of_an_error_the_beginning_is_enough() -> None:
    reply = Reply(10)
    busy = b"HTTP/1.1 503 Busy\r\nContent-Length: 9999999\r\n\r\n"
    assert reply.feed(busy + b"x" * 100_000)
    assert reply.answer is not None and len(reply.answer.body) == 65_536
    assert not reply.reusable
    cut = Reply(10)
    assert not cut.feed(busy + b"wait")
    assert cut.end()
    assert cut.answer is not None
    assert cut.answer.body == b"wait (the connection ended here)"


def _read(data: bytes) -> Answer:
    reply = Reply(1000)
    assert reply.feed(data)
    assert reply.answer is not None
    return reply.answer
