"""Lets requests that share a call of the model share it.

Stands above the meter and below the role's prompt: a shared call is measured, recorded, retried and
paid for as one, and each of its choices is read, and asked for again, for itself.
"""

from __future__ import annotations

from foresight_services.core.ports import ChatModel, ChatReply, ChatRequest


class SharingModel:
    """Decorates a `ChatModel`: draws shared replies as `ChatRequest.shared` says."""

    def __init__(self, model: ChatModel) -> None:
        self._model = model

    async def complete(self, request: ChatRequest) -> ChatReply:
        """Return the reply, from a call of its own or from a shared one.

        Raises:
            DomainError: where the call fails, whoever made it.
        """
        if request.shared is None:
            return await self._model.complete(request)
        return await request.shared.from_model(self._model, request)
