"""Rules for every test: no name on the network is ever looked up."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

LOCAL = {"localhost", "127.0.0.1", "::1", "0.0.0.0", "::", "", None}


@pytest.fixture(scope="session", autouse=True)
def loopback_only() -> Iterator[None]:
    """Refuse to resolve names of other machines, so that no test depends on one by accident."""
    resolve = socket.getaddrinfo

    def refuse_others(host: Any, *args: Any, **kwargs: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name not in LOCAL:
            raise socket.gaierror(socket.EAI_NONAME, f"tests must not resolve {name!r}")
        return resolve(host, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", refuse_others)
        yield
