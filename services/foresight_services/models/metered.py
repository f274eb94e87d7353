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
from foresight_services.core.usage import CallLedger, ModelUsage
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
        ledger = CallLedger(request.ledger)
        calls = 0
        try:
            reply = await self._model.complete(replace(request, ledger=ledger))
            calls = 1
        except Exception as error:
            self._telemetry.model_called(request.role, "error")
            # A call that the budget forbids is not made.
            refused = isinstance(error, DomainError) and error.reason is Reason.BUDGET_EXHAUSTED
            calls = 0 if refused else 1
            raise
        else:
            self._telemetry.model_called(request.role, "ok")
            ledger.record(
                request.role,
                ModelUsage(0, reply.prompt_tokens, reply.completion_tokens, reply.cached_tokens),
            )
        finally:
            self._telemetry.stage_finished(STAGES[request.role], self._clock.now() - start)
            dollars = 0.0 if self._price is None else self._price.of(ledger.noted)
            if calls or dollars:
                ledger.record(request.role, ModelUsage(calls, dollars=dollars))
            self._telemetry.model_spent(request.role, ledger.noted)
        return reply
