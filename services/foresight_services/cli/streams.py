"""Makes stdout and stderr take everything that they are given. Standard library only."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO


@contextmanager
def sound_streams() -> Iterator[None]:
    """Within this context, every character that is written arrives, or the write fails.

    Raises:
        OSError: on leaving, where stdout cannot be written.
    """
    streams = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (_sound(stream) for stream in streams)
    try:
        yield
        sys.stdout.flush()
    except OSError:
        # Nothing more can be written, and the interpreter is not to try and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise
    finally:
        for stream, replaced in zip((sys.stdout, sys.stderr), streams, strict=True):
            stream.flush()
            if stream is not replaced and isinstance(stream, io.TextIOWrapper):
                stream.detach().detach()
        sys.stdout, sys.stderr = streams


def _sound(stream: TextIO) -> TextIO:
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    # A character that the terminal does not know gets a substitute and is no reason to crash.
    stream.reconfigure(errors="backslashreplace")
    if not isinstance(stream.buffer, io.RawIOBase):
        return stream
    # Without a buffer (PYTHONUNBUFFERED) Python silently drops what one system call did not take,
    # and a pipe takes 64 KiB when the call is interrupted.
    return io.TextIOWrapper(
        io.BufferedWriter(stream.buffer),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=True,
    )
