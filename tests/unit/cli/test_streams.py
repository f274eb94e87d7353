"""Everything that a command writes arrives, whatever the stream is like."""

import io
import sys
from typing import Any

import pytest

from foresight_services.cli.streams import sound_streams


class Sips(io.RawIOBase):
    """Takes ten bytes at a time, as a pipe may that is interrupted."""

    def __init__(self):
        self.taken = b""

    def writable(self):
        return True

    def write(self, data):
        sip = bytes(data[:10])
        self.taken += sip
        return len(sip)


@pytest.mark.parametrize(("encoding", "end"), [("utf-8", "— ✓\n"), ("ascii", "\\u2014 \\u2713\n")])
def test_a_stream_without_a_buffer_gets_everything(monkeypatch, encoding, end):
    raw: Any = Sips()
    stdout = io.TextIOWrapper(raw, encoding, write_through=True)
    monkeypatch.setattr(sys, "stdout", stdout)
    with sound_streams():
        sys.stdout.write("x" * 1000)
        sys.stdout.write("— ✓\n")
    assert raw.taken.decode(encoding) == "x" * 1000 + end
    assert sys.stdout is stdout
    assert not raw.closed
