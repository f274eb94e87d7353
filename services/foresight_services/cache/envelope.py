"""How values look outside this process: told apart from anything else that may be there.

    version  flags  length   checksum  payload
    1 byte   1      4        8         rest

`length` is that of the value, `checksum` covers the key and everything but itself. So a value that
was cut, changed, written by another program, or read under another value's key is not a value. It
is no signature: whoever may write to the store may write values.

Values above a size are compressed with zstd where that makes them smaller. Nothing is unpacked
beyond the length that the header tells, nor beyond `MAX_VALUE_BYTES`.
"""

from __future__ import annotations

import struct
from hashlib import blake2b
from typing import Final

import zstandard

from foresight_services.core.cache import CacheKey

VERSION: Final = 1
"""Version of the layout; values of another one are misses."""
COMPRESSED: Final = 1
"""Flag of a payload that is one zstd frame with its content size."""
MAX_VALUE_BYTES: Final = 64 * 2**20
"""Largest value that is stored; far above the largest reward."""

_FIXED: Final = struct.Struct(">BBI")
_SUM_BYTES: Final = 8
HEADER_BYTES: Final = _FIXED.size + _SUM_BYTES
"""Length of what stands before the payload."""


class NotAValue(Exception):
    """Bytes that were not written by `Envelope.pack` for this key."""


class Envelope:
    """Packs and unpacks values. Not for use by several threads at once, as zstd's objects."""

    def __init__(self, *, compress_above_bytes: int, level: int = 3) -> None:
        """Compress values longer than `compress_above_bytes` at zstd's `level`."""
        self._above = compress_above_bytes
        self._compressor = zstandard.ZstdCompressor(level=level, write_content_size=True)
        self._decompressor = zstandard.ZstdDecompressor()

    def pack(self, key: CacheKey, value: bytes) -> bytes:
        """Return `value` as it is stored under `key`; at most `MAX_VALUE_BYTES` long."""
        payload, flags = value, 0
        if len(value) > self._above:
            smaller = self._compressor.compress(value)
            if len(smaller) < len(value):
                payload, flags = smaller, COMPRESSED
        head = _FIXED.pack(VERSION, flags, len(value))
        return head + _checksum(key, head, payload) + payload

    def unpack(self, key: CacheKey, stored: object) -> bytes:
        """Return the value; NotAValue if `stored` is none of this key."""
        if not isinstance(stored, bytes) or len(stored) < HEADER_BYTES:
            raise NotAValue("no bytes, or too few")
        head, payload = stored[: _FIXED.size], stored[HEADER_BYTES:]
        version, flags, length = _FIXED.unpack(head)
        if version != VERSION or flags & ~COMPRESSED or length > MAX_VALUE_BYTES:
            raise NotAValue("unknown header")
        if stored[_FIXED.size : HEADER_BYTES] != _checksum(key, head, payload):
            raise NotAValue("wrong checksum")
        if flags & COMPRESSED:
            payload = self._decompress(payload, length)
        if len(payload) != length:
            raise NotAValue("wrong length")
        return payload

    def _decompress(self, payload: bytes, length: int) -> bytes:
        """Return what a frame of exactly `length` bytes holds."""
        try:
            # zstd allocates what the frame claims, so the claim is checked first.
            if zstandard.frame_content_size(payload) != length:
                raise NotAValue("wrong content size")
            return self._decompressor.decompress(payload, max_output_size=length)
        except zstandard.ZstdError as error:
            raise NotAValue("not a zstd frame") from error


def _checksum(key: CacheKey, head: bytes, payload: bytes) -> bytes:
    digest = blake2b(head, digest_size=_SUM_BYTES)
    digest.update(f"{len(key.namespace)}:{key.namespace}".encode())
    digest.update(key.digest)
    digest.update(payload)
    return digest.digest()
