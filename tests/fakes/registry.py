"""A registry of policies, sources to publish, and a store that takes its time."""

from __future__ import annotations

import asyncio
import itertools

from foresight_services.core.policies import PolicyRegistry
from foresight_services.core.policy_store import History, MemoryPolicyStore
from foresight_services.core.published import PolicySource, SourceKind
from foresight_services.core.task import PolicyRef


def adapter(path: str) -> PolicySource:
    """Return the source of a LoRA adapter."""
    return PolicySource(SourceKind.LORA_ADAPTER_PATH, path)


def endpoint(url: str) -> PolicySource:
    """Return the source of a server."""
    return PolicySource(SourceKind.ENDPOINT, url)


def ref(version: int, name: str = "policy") -> PolicyRef:
    """Return a version."""
    return PolicyRef(name, version)


def make_registry(store: MemoryPolicyStore | None = None) -> PolicyRegistry:
    """Return a registry whose clock ticks with every look."""
    ticks = itertools.count(1)
    return PolicyRegistry(store=store or MemoryPolicyStore(), now_ns=lambda: next(ticks))


class SlowStore(MemoryPolicyStore):
    """Takes as many turns of the loop for each operation as a test says."""

    def __init__(self, pauses: list[int]) -> None:
        super().__init__()
        self._pauses = itertools.cycle(pauses)

    async def _pause(self) -> None:
        for _ in range(next(self._pauses)):
            await asyncio.sleep(0)

    async def read(self, name: str) -> History:
        """Return a history that may be old by then."""
        history = await super().read(name)
        await self._pause()
        return history

    async def replace(self, name: str, old: History, new: History) -> bool:
        """Replace it, sooner or later."""
        await self._pause()
        replaced = await super().replace(name, old, new)
        await self._pause()
        return replaced
