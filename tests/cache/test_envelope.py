"""Nothing but what was packed for a key is unpacked for it."""

from __future__ import annotations

import struct

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from foresight_services.cache.envelope import (
    COMPRESSED,
    HEADER_BYTES,
    MAX_VALUE_BYTES,
    VERSION,
    Envelope,
    NotAValue,
    _checksum,
)
from tests.cache.recording import key

ENVELOPE = Envelope(compress_above_bytes=64)
values = st.one_of(st.binary(max_size=300), st.text(max_size=20).map(lambda t: t.encode() * 50))


@given(values)
def test_a_value_comes_back(value):
    assert ENVELOPE.unpack(key(1), ENVELOPE.pack(key(1), value)) == value


@given(values, st.data())
def test_one_bit_makes_it_no_value(value, data):
    stored = bytearray(ENVELOPE.pack(key(1), value))
    bit = data.draw(st.integers(0, len(stored) * 8 - 1))
    stored[bit // 8] ^= 1 << bit % 8
    with pytest.raises(NotAValue):
        ENVELOPE.unpack(key(1), bytes(stored))


@given(values, st.data())
def test_a_part_or_more_is_no_value(value, data):
    stored = ENVELOPE.pack(key(1), value)
    cut = data.draw(st.integers(0, len(stored) - 1))
    for wrong in (stored[:cut], stored + b"\0", stored + stored):
        with pytest.raises(NotAValue):
            ENVELOPE.unpack(key(1), wrong)


@given(st.binary(max_size=200))
def test_anything_else_is_no_value(stored):
    with pytest.raises(NotAValue):
        ENVELOPE.unpack(key(1), stored)


@pytest.mark.parametrize("stored", [None, 1, "text", ["list"], memoryview(b"x" * 50)])
def test_what_is_no_bytes_is_no_value(stored):
    with pytest.raises(NotAValue):
        ENVELOPE.unpack(key(1), stored)


@given(values)
def test_another_keys_value_is_none_of_this(value):
    stored = ENVELOPE.pack(key(1), value)
    for other in (key(2), key(1, "score")):
        with pytest.raises(NotAValue):
            ENVELOPE.unpack(other, stored)


def test_only_what_gets_smaller_is_compressed():
    text, noise = b"the same again " * 100, bytes(range(256))
    assert len(ENVELOPE.pack(key(1), text)) < 100
    assert len(ENVELOPE.pack(key(1), noise)) == HEADER_BYTES + 256
    assert len(ENVELOPE.pack(key(1), b"a" * 64)) == HEADER_BYTES + 64


def forged(length: int, payload: bytes, flags: int = COMPRESSED, version: int = VERSION) -> bytes:
    """Return a value whose checksum is right."""
    head = struct.pack(">BBI", version, flags, length)
    return head + _checksum(key(1), head, payload) + payload


@pytest.mark.parametrize(
    "stored",
    [
        forged(10, zstandard.compress(b"a" * 100_000_000)),
        forged(MAX_VALUE_BYTES + 1, zstandard.compress(b"a" * (MAX_VALUE_BYTES + 1))),
        forged(1000, zstandard.ZstdCompressor(write_content_size=False).compress(b"a" * 1000)),
        forged(1000, b"no frame"),
        forged(9, b"plain", flags=0),
        forged(5, b"plain", flags=2),
        forged(5, b"plain", flags=0, version=2),
    ],
    ids=["bomb", "too large", "no size", "no frame", "length", "flag", "version"],
)
def test_a_right_checksum_does_not_make_it_a_value(stored):
    with pytest.raises(NotAValue):
        ENVELOPE.unpack(key(1), stored)
