"""A vLLM server and the policies on it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.fakes.lora_policies import Policies
from tests.fakes.lora_server import LoraVllm, lora_vllm


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
