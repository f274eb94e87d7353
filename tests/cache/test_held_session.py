"""A session that others still need when its request has left is closed after them, and quietly."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from foresight_services.core.errors import Reason, Upstream
from foresight_services.core.held_session import HeldSession
from tests.fakes.waiting import eventually

closed: list[str] = []


@asynccontextmanager
async def broken() -> AsyncIterator[Any]:
    """Open a session that cannot be closed."""
    try:
        yield "session"
    finally:
        closed.append("closed")
        raise Upstream(Reason.SERVICE_UNAVAILABLE, "hung up")


@pytest.fixture
async def complaints() -> AsyncIterator[list[Any]]:
    """Return what the loop complains of."""
    told: list[Any] = []
    closed.clear()
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context))
    yield told


async def test_what_goes_wrong_when_it_closes_is_its_last_users(complaints: list[Any]) -> None:
    held = HeldSession(broken())
    await held.session()
    with pytest.raises(Upstream, match="hung up"):
        await held.leave()


async def test_what_goes_wrong_after_its_request_has_left_is_nobodys(
    complaints: list[Any],
) -> None:
    held = HeldSession(broken())
    await held.session()
    with held.needed():
        await held.leave()
        assert not closed
    await eventually(lambda: bool(closed))
    del held
    await asyncio.sleep(0)
    gc.collect()
    assert not complaints
