"""Model calls of a running service that wait until the test lets them go."""

from __future__ import annotations

from collections.abc import Callable

from foresight_services.core.ports import ChatReply, ChatRequest
from foresight_services.models.builtin import BuiltinModel
from tests.fakes.chat import Gates


class HeldRules(BuiltinModel):
    """The builtin rules, whose calls wait at the gate that `Held.at` names for them."""

    held: Held

    async def complete(self, request: ChatRequest) -> ChatReply:
        """Wait where the test wants it, then answer."""
        gate = self.held.at(request)
        if gate is not None:
            self.held.waiting += 1
            try:
                await self.held.gates[gate].wait()
            finally:
                self.held.waiting -= 1
        return await super().complete(request)


class Held:
    """Which model calls of a running service wait, and for what."""

    def __init__(self) -> None:
        self.gates = Gates()
        self.waiting = 0
        """Calls that wait now."""
        self.at: Callable[[ChatRequest], object | None] = lambda request: None
        """Name of the gate at which a call waits; None to let it through. May raise instead."""
