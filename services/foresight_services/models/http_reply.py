"""One HTTP/1.1 answer, read from bytes as they come; nothing is sent and nothing is waited for.

llhttp, the parser of Node.js, finds head, chunks and end; what it does not bound is bounded here.
Bodies have a length, come in chunks, or end with the connection; gzip and deflate are unpacked.
An answer of status 200 is read whole, up to a limit; of any other the beginning is enough.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import httptools

_MOST_HEAD_BYTES: Final = 64 << 10
"""How much may come in a row that is no part of a body."""

_MOST_ERROR_BYTES: Final = 64 << 10
"""How much of an error's body is read."""

_CUT_OFF: Final = b" (the connection ended here)"


class NotHttp(Exception):
    """What came is no HTTP answer."""


class TooLong(Exception):
    """The answer is longer than the limit."""


class Headers(Mapping[str, str]):
    """Headers by name, whatever its case; of several with one name, all in one."""

    __slots__ = ("_by_name",)

    def __init__(self) -> None:
        self._by_name: dict[str, str] = {}

    def add(self, name: bytes, value: bytes) -> None:
        """Take in one line."""
        key, said = name.decode("latin-1").lower(), value.decode("latin-1").strip()
        earlier = self._by_name.get(key)
        self._by_name[key] = said if earlier is None else f"{earlier}, {said}"

    def __getitem__(self, name: str) -> str:
        return self._by_name[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)

    def found(self, name: str) -> str:
        """Return the header of this name, in small letters; empty where there is none."""
        return self._by_name.get(name, "")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered."""

    status: int
    """The HTTP status."""
    headers: Mapping[str, str]
    """The headers; their names are case-insensitive."""
    body: bytes
    """The body, of an error only its beginning."""


class Reply:
    """Reads one answer."""

    __slots__ = (
        "_body",
        "_ended",
        "_error",
        "_limit",
        "_parser",
        "_since_body",
        "_size",
        "_unpacker",
        "answer",
        "headers",
        "reusable",
        "status",
    )

    def __init__(self, most_bytes: int) -> None:
        self.answer: Answer | None = None
        """The answer, once it was read."""
        self.reusable = False
        """Whether the connection can be asked again, once it was read."""
        self.status = 0
        """Its status; 0 until the head was read."""
        self.headers = Headers()
        """Its headers."""
        self._limit = most_bytes
        self._body: list[bytes] = []
        self._ended = False
        self._error: type[NotHttp | TooLong] | None = None
        self._since_body = 0
        self._size = 0
        self._unpacker: zlib._Decompress | None = None
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> bool:
        """Take in `data`; return whether the answer is there.

        Raises:
            NotHttp: where it is none.
            TooLong: where it is longer than the limit.
        """
        self._since_body += len(data)
        parser = self._parser
        if parser is None:
            raise RuntimeError("the answer has been read")
        try:
            parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            # What comes after the answer is nobody's, and need not be HTTP.
            if self._ended:
                self.reusable = False
            else:
                self._error = self._error or NotHttp
        # The parser bounds neither the head nor what stands between the pieces of a body.
        if not self._ended and self._since_body > _MOST_HEAD_BYTES:
            self._error = self._error or NotHttp
        if self._error is not None or self._ended:
            self._parser = None  # which holds this object, as this one holds it
        if self._error is not None:
            raise self._error
        return self._ended

    def end(self) -> bool:
        """Note that the connection has ended; return whether the answer is there all the same."""
        if not self.status:
            return False
        framed = "content-length" in self.headers or "transfer-encoding" in self.headers
        whole = not framed and self._unpacked_whole()
        if not whole and self.status == 200:
            return False
        if not whole:
            self._body = [self._joined()[:_MOST_ERROR_BYTES], _CUT_OFF]
        self.reusable = False
        self._done()
        return True

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take in a header; called by the parser, as all that follows."""
        if not self._ended and not self.status:
            self.headers.add(name, value)

    def on_headers_complete(self) -> None:
        """Read what the head says of the body."""
        parser = self._parser
        if self._ended or parser is None:
            return
        status, headers = parser.get_status_code(), self.headers
        if status < 200:  # such as 100 Continue; the answer is yet to come
            self.headers = Headers()
            return
        self.status, self._since_body = status, 0
        if status != 200:
            self._limit = _MOST_ERROR_BYTES
        length, coding = headers.found("content-length"), headers.found("transfer-encoding")
        if coding.lower() not in ("", "chunked"):
            self._error = NotHttp
        elif status == 200 and length and int(length) > self._limit:
            self._error = TooLong
        connection = headers.found("connection").lower()
        first = parser.get_http_version() == "1.0"
        kept = "keep-alive" in connection if first else "close" not in connection
        self.reusable = kept and bool(length or coding or status in (204, 304))
        packed = headers.found("content-encoding").lower()
        if packed in ("gzip", "x-gzip", "deflate"):
            self._unpacker = zlib.decompressobj(zlib.MAX_WBITS | 32)
        elif packed not in ("", "identity"):
            self._error = NotHttp

    def on_body(self, data: bytes) -> None:
        """Add to the body, up to the limit."""
        if self._ended or self._error is not None:
            return
        self._since_body = 0
        left = self._limit - self._size
        if self._unpacker is not None:
            try:
                data = self._unpacker.decompress(data, left + 1)
            except zlib.error:
                self._error = NotHttp
                return
        self._size += len(data)
        if len(data) <= left:
            self._body.append(data)
        elif self.status == 200:
            self._error = TooLong
        else:
            # Of an error, that is enough.
            self._body.append(data[:left])
            self.reusable = False
            self._done()

    def on_message_begin(self) -> None:
        """Note what comes after the answer, which nobody asked for."""
        if self._ended:
            self.reusable = False

    def on_message_complete(self) -> None:
        """Have the answer, unless it was one that only announces it."""
        if not self.status or self._ended or self._error is not None:
            return
        if self.status == 200 and self._body and not self._unpacked_whole():
            self._error = NotHttp
        else:
            self._done()

    def _unpacked_whole(self) -> bool:
        return self._unpacker is None or self._unpacker.eof

    def _joined(self) -> bytes:
        return self._body[0] if len(self._body) == 1 else b"".join(self._body)

    def _done(self) -> None:
        self._ended = True
        self.answer = Answer(self.status, self.headers, self._joined())
