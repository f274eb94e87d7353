"""The three services in this process, behind the same client as anywhere else."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from foresight import AsyncClient
from foresight_services.bootstrap import running
from foresight_services.config import Config, ServiceConfig

_LONGEST_DIRECTORY: Final = 60
"""Characters; the address of a socket has 107 at most."""


@asynccontextmanager
async def embedded_client(config: Config) -> AsyncIterator[AsyncClient]:
    """Start all services on a socket that only this user can reach; yield a client of them.

    On leaving, whatever still runs is cancelled and the socket is gone.
    """
    with tempfile.TemporaryDirectory(prefix="foresight-", dir=_parent()) as directory:
        address = f"unix:{directory}/foresight.sock"
        reward = ServiceConfig(listen=address, metrics=None)
        # The directory's mode (0700) is the protection, so neither TLS nor a token is needed.
        services = config.services.model_copy(update={"reward": reward, "tls": None})
        private = config.model_copy(update={"services": services, "token": None})
        async with running(private, "all") as service:
            await service.ready
            async with AsyncClient(address) as client:
                yield client


def _parent() -> str | None:
    """Return where to make the directory; None for the usual place, if a socket can live there."""
    usual = tempfile.gettempdir()
    return None if len(usual) <= _LONGEST_DIRECTORY and not set(usual) & set(" \t") else "/tmp"
