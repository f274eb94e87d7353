"""Measures every call of a model: its time, its outcome, its cost."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from foresight_services.core.errors import DomainError, Reason
from foresight_services.core.ports import (
    ChatModel,
    ChatReply,
    ChatRequest,
    Clock,
    ModelRole,
    Stage,
    Telemetry,
)
from foresight_services.core.usage import NO_USAGE, CallLedger, ModelUsage
from foresight_services.models.pricing import Price

STAGES: Final[dict[ModelRole, Stage]] = {
    "user": "user_turn",
    "policy": "policy_turn",
    "judge": "judge",
}


class MeteredModel:
    """Decorates a `ChatModel` with telemetry and the request's ledger."""

    def __init__(
        self,
        model: ChatModel,
        *,
        clock: Clock,
        telemetry: Telemetry,
        price: Price | None = None,
    ) -> None:
        """Measure `model`; without a `price` its tokens cost 0 dollars."""
        self._model = model
        self._clock = clock
        self._telemetry = telemetry
        self._price = price

    async def complete(self, request: ChatRequest) -> ChatReply:
        """Return the reply; a failed call is counted, and in the ledger costs one call.

        What decorators within write into the ledger, retries and hedges, belongs to this call.
        """
        start = self._clock.now()
        role, ledger = request.role, CallLedger(request.ledger)
        usage = NO_USAGE
        try:
            reply = await self._model.complete(replace(request, ledger=ledger))
            usage = ModelUsage(1, reply.prompt_tokens, reply.completion_tokens, reply.cached_tokens)
        except Exception as error:
            self._telemetry.model_called(role, "error")
            # A call that the budget forbids is not made.
            if not (isinstance(error, DomainError) and error.reason is Reason.BUDGET_EXHAUSTED):
                usage = ModelUsage(1)
            raise
        else:
            self._telemetry.model_called(role, "ok")
        finally:
            self._telemetry.stage_finished(STAGES[role], self._clock.now() - start)
            if self._price is not None:
                dollars = self._price.of(ledger.noted + usage)
                usage = replace(usage, dollars=dollars) if dollars else usage
            if usage is not NO_USAGE:
                ledger.record(role, usage)
            self._telemetry.model_spent(role, ledger.noted)
        return reply
