"""Time for tests of models."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.fakes.virtual_time import LoopClock, virtual_time


@pytest.fixture
async def clock() -> AsyncIterator[LoopClock]:
    """Let the test's time pass only while nothing else can happen."""
    with virtual_time() as clock:
        yield clock
