"""What lies outside the sandbox and must not be reached: a server, a secret, a file."""

from __future__ import annotations

import os
import re
import secrets
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from unittest import mock

BPF_CALL: Final = {"x86_64": 321, "aarch64": 280}


@contextmanager
def prepared(folder: Path) -> Iterator[Mapping[str, str]]:
    """Prepare it, with files in `folder`; yield the words that attempts name it by."""
    secret = secrets.token_hex(8)
    file = folder / "file"
    file.write_text(secret)
    home, prefix = Path.home(), Path(sys.base_prefix)
    with (
        mock.patch.dict(os.environ, {"FORESIGHT_SECRET": secret}),
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.socket(socket.AF_UNIX) as local,
    ):
        local.bind(f"\0foresight-{secret}")
        local.listen()
        yield {
            "PORT": str(server.getsockname()[1]),
            "ABSTRACT": f"foresight-{secret}",
            "SECRET": secret,
            "FILE": str(file),
            "HOME": str(home),
            "VISIBLE": str(prefix.relative_to(home)) if prefix.is_relative_to(home) else "",
            "PID": str(os.getpid()),
            "BPF": str(BPF_CALL[os.uname().machine]),
            "MARK": str(10**8 + secrets.randbelow(10**8)),
        }


def filled_in(code: str, outside: Mapping[str, str]) -> str:
    """Return `code` with the words for what is outside filled in."""
    return re.sub("@([A-Z]+)@", lambda match: outside[match[1]], code)
