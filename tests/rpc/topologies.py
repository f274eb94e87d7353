"""The services in one process or in three, as tests of both reach them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio
import pytest

from tests.fakes.servers import channel_to, foresight, loopback, three_services


@asynccontextmanager
async def served(topology: str, **services: Any) -> AsyncIterator[str]:
    """Serve rewards and yield where."""
    config = loopback(**services)
    if topology == "one process":
        async with foresight(config) as live:
            yield live.service.address
    else:
        async with three_services(config) as three:
            yield three.reward.address


@asynccontextmanager
async def rewards(topology: str, **services: Any) -> AsyncIterator[grpc.aio.Channel]:
    async with served(topology, **services) as address, channel_to(address) as channel:
        yield channel


both = pytest.mark.parametrize("topology", ["one process", "three services"])
