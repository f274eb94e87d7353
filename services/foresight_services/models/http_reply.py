"""One HTTP/1.1 answer, read from bytes as they come; nothing is sent and nothing is waited for.

Bodies have a length, come in chunks, or end with the connection; gzip and deflate are unpacked.
An answer of status 200 is read whole, up to a limit; of any other the beginning is enough.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

_MOST_HEAD_BYTES: Final = 64 << 10
_MOST_ERROR_BYTES: Final = 64 << 10
"""How much of an error's body is read."""

_STATUS: Final = re.compile(r"HTTP/1\.([01]) ([1-5]\d\d)(?: [^\r\n]*)?")
_LENGTH: Final = re.compile(r"\d{1,18}")
_CHUNK: Final = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]{0,4096})?")
_MOST_CHUNK_HEAD: Final = 8 << 10

_CUT_OFF: Final = b" (the connection ended here)"


class NotHttp(Exception):
    """What came is no HTTP answer."""


class TooLong(Exception):
    """The answer is longer than the limit."""


class Headers(Mapping[str, str]):
    """Headers by name, whatever its case; of several with one name, all in one."""

    __slots__ = ("_by_name",)

    def __init__(self, lines: list[str]) -> None:
        self._by_name: dict[str, str] = {}
        for line in lines:
            name, colon, value = line.partition(":")
            name, value = name.lower(), value.strip()
            if not colon or not name or name != name.strip():
                raise NotHttp
            earlier = self._by_name.get(name)
            self._by_name[name] = value if earlier is None else f"{earlier}, {value}"

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
        "_buffer",
        "_chunked",
        "_left",
        "_limit",
        "_trailing",
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
        self.headers: Headers = _NONE
        """Its headers."""
        self._limit = most_bytes
        self._buffer = b""
        self._body = bytearray()
        self._left: int | None = None
        """Bytes that the body, or its chunk, still has; None where only its end will tell."""
        self._chunked = False
        self._trailing = False
        self._unpacker: zlib._Decompress | None = None

    def feed(self, data: bytes) -> bool:
        """Take in `data`; return whether the answer is there.

        Raises:
            NotHttp: where it is none.
            TooLong: where it is longer than the limit.
        """
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        while not self.status:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                if len(data) > _MOST_HEAD_BYTES or not b"HTTP/1.".startswith(data[:7]):
                    raise NotHttp
                self._buffer = data
                return False
            self._read_head(data[:end].decode("latin-1"))
            data = data[end + 4 :]
        # Nearly every answer comes at once, and its length is known.
        if self._left == len(data) and not (self._chunked or self._body or self._unpacker):
            self.answer = Answer(self.status, self.headers, data)
            return True
        return self._read_chunks(data) if self._chunked else self._read_plain(data)

    def end(self) -> bool:
        """Note that the connection has ended; return whether the answer is there all the same."""
        if not self.status:
            return False
        whole = self._left is None and not self._chunked and self._unpacked_whole()
        if not whole and self.status == 200:
            return False
        if not whole:
            self._body = self._body[:_MOST_ERROR_BYTES] + _CUT_OFF
        self.reusable = False
        return self._done()

    def _read_head(self, head: str) -> None:
        first, *lines = head.split("\r\n")
        found = _STATUS.fullmatch(first)
        if found is None:
            raise NotHttp
        status = int(found[2])
        if status < 200:  # such as 100 Continue; the answer is yet to come
            return
        headers = self.headers = Headers(lines)
        self.status = status
        connection = headers.found("connection").lower()
        kept = "close" not in connection if found[1] == "1" else "keep-alive" in connection
        if status != 200:
            self._limit = _MOST_ERROR_BYTES
        length = headers.found("content-length")
        if coding := headers.found("transfer-encoding").lower():
            if coding != "chunked":
                raise NotHttp
            self._chunked, self._left, kept = True, 0, kept and not length
        elif status in (204, 304):
            self._left = 0
        elif length:
            if not _LENGTH.fullmatch(length):
                raise NotHttp
            self._left = int(length)
            if status == 200 and self._left > self._limit:
                raise TooLong
        self.reusable = kept and (self._chunked or self._left is not None)
        packed = headers.found("content-encoding").lower()
        if packed in ("gzip", "x-gzip", "deflate"):
            self._unpacker = zlib.decompressobj(zlib.MAX_WBITS | 32)
        elif packed not in ("", "identity"):
            raise NotHttp

    def _read_plain(self, data: bytes) -> bool:
        if self._left is None:
            return self._add(data)
        if len(data) > self._left:
            data, self.reusable = data[: self._left], False
        self._left -= len(data)
        return self._add(data) or (self._left == 0 and self._done())

    def _read_chunks(self, data: bytes) -> bool:
        """Read chunks: a size, the bytes, a line break; after the last one, maybe more headers."""
        at = 0
        while True:
            if self._left:
                piece = data[at : at + self._left]
                at += len(piece)
                self._left -= len(piece)
                if self._add(piece):
                    return True
                if self._left:
                    return False
                self._left = None
            if self._trailing:
                return self._read_trailer(data[at:])
            if self._left is None:  # the line break after a chunk
                if len(data) < at + 2:
                    break
                if data[at : at + 2] != b"\r\n":
                    raise NotHttp
                at, self._left = at + 2, 0
            end = data.find(b"\r\n", at)
            if end < 0:
                break
            size = _CHUNK.fullmatch(data, at, end)
            if size is None:
                raise NotHttp
            self._left = int(size[1], 16)
            self._trailing = self._left == 0
            at = end + 2
        self._buffer = data[at:]
        if len(self._buffer) > _MOST_CHUNK_HEAD:
            raise NotHttp
        return False

    def _read_trailer(self, data: bytes) -> bool:
        """Read up to the empty line that ends the headers, if any, after the last chunk."""
        # One line break more, so that the end looks the same with and without headers.
        end = (b"\r\n" + data).find(b"\r\n\r\n")
        if end >= 0:
            self.reusable = self.reusable and len(data) == end + 2
            return self._done()
        if len(data) > _MOST_CHUNK_HEAD:
            raise NotHttp
        self._buffer = data
        return False

    def _add(self, data: bytes) -> bool:
        """Add to the body; return whether an error has told enough."""
        if self._unpacker is not None:
            room = self._limit + 1 - len(self._body)
            try:
                data = self._unpacker.decompress(data, room)
            except zlib.error as error:
                raise NotHttp from error
        self._body += data
        if len(self._body) <= self._limit:
            return False
        if self.status == 200:
            raise TooLong
        del self._body[self._limit :]
        self.reusable = False
        return self._done()

    def _unpacked_whole(self) -> bool:
        return self._unpacker is None or self._unpacker.eof

    def _done(self) -> bool:
        if self.status == 200 and self._body and not self._unpacked_whole():
            raise NotHttp
        self.answer = Answer(self.status, self.headers, bytes(self._body))
        return True


_NONE: Final = Headers([])
