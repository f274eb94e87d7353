"""Waiting for what happens on another side of a connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

PATIENCE_SECONDS = 60.0
"""Far more than anything takes; only a test that fails waits that long."""


async def eventually(condition: Callable[[], bool]) -> None:
    """Return as soon as `condition` holds."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110 - the condition is not ours to signal
            await asyncio.sleep(0.002)
