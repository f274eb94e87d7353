"""Measures every call of a model: its time, its outcome, its cost."""

from __future__ import annotations

from typing import Final

from foresight_services.core.ports import (
    ChatModel,
    ChatReply,
    ChatRequest,
    Clock,
    ModelRole,
    Stage,
    Telemetry,
)
from foresight_services.core.usage import ModelUsage

STAGES: Final[dict[ModelRole, Stage]] = {
    "user": "user_turn",
    "policy": "policy_turn",
    "judge": "judge",
}


class MeteredModel:
    """Decorates a `ChatModel` with telemetry and the request's ledger."""

    def __init__(self, model: ChatModel, *, clock: Clock, telemetry: Telemetry) -> None:
        self._model = model
        self._clock = clock
        self._telemetry = telemetry

    async def complete(self, request: ChatRequest) -> ChatReply:
        """Return the reply; a failed call is counted, and in the ledger costs one call."""
        start = self._clock.now()
        try:
            reply = await self._model.complete(request)
        except Exception:
            self._telemetry.model_called(request.role, "error")
            request.ledger.record(request.role, ModelUsage(calls=1))
            raise
        finally:
            self._telemetry.stage_finished(STAGES[request.role], self._clock.now() - start)
        self._telemetry.model_called(request.role, "ok")
        request.ledger.record(
            request.role, ModelUsage(1, reply.prompt_tokens, reply.completion_tokens)
        )
        return reply
