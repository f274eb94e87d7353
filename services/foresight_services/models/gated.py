"""Several models at one place, a server or an engine, behind the gates that guard the place."""

from __future__ import annotations

from typing import Protocol

from foresight_services.core.ports import ChatModel, ChatReply, ChatRequest


class Gate(Protocol):
    """Lets calls through to models; `LimitedModel` and `BreakerModel` are gates."""

    async def through(self, model: ChatModel, request: ChatRequest) -> ChatReply:
        """Return the reply of `model`, when and if the call may be made."""
        ...


class GatedModel:
    """Decorates a `ChatModel` with a gate that it shares with others."""

    def __init__(self, model: ChatModel, gate: Gate) -> None:
        self._model = model
        self._gate = gate

    async def complete(self, request: ChatRequest) -> ChatReply:
        """Return the reply of the model behind the gate."""
        return await self._gate.through(self._model, request)
