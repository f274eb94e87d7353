"""A vLLM server and the policies on it, and servers of Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.fakes.lora_policies import Policies
from tests.fakes.lora_server import LoraVllm, lora_vllm
from tests.fakes.redis_server import RedisServer, redis_server


@pytest.fixture
async def vllm() -> AsyncIterator[LoraVllm]:
    """A server without adapters."""
    async with lora_vllm() as server:
        yield server


@pytest.fixture
async def policies(vllm: LoraVllm) -> AsyncIterator[Policies]:
    """Policies on `vllm`."""
    policies = Policies(vllm)
    yield policies
    await policies.aclose()


@pytest.fixture(scope="session")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Run a server for tests that leave it as it was."""
    with redis_server(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """Run a server that a test may mistreat."""
    with redis_server(tmp_path) as running:
        yield running
