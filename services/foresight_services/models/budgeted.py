"""Makes no call that could pass the request's budget.

Stands below retries and hedges, so that each of them is paid for as the call that it is, and above
the limits of the backend, so that a call that waits for money holds none of the backend's places.
"""

from __future__ import annotations

import json
from typing import Final

from foresight_services.core.budget import NOTHING, Cost
from foresight_services.core.ports import ChatModel, ChatReply, ChatRequest
from foresight_services.models.faults import FaultKind, ModelFault
from foresight_services.models.pricing import Price

TOKENS_PER_MESSAGE: Final = 16
"""Greatest number of tokens that a chat template puts around one message."""

TOKENS_PER_PROMPT: Final = 256
"""Greatest number of tokens that a chat template adds once, such as its own system message."""

FREE: Final = frozenset(
    {
        FaultKind.RATE_LIMITED,
        FaultKind.OVERLOADED,
        FaultKind.SERVER_ERROR,
        FaultKind.CONTEXT,
        FaultKind.BAD_REQUEST,
        FaultKind.UNKNOWN_MODEL,
        FaultKind.UNAUTHORIZED,
        FaultKind.BREAKER_OPEN,
    }
)
"""Faults after which nothing is charged: the server refused, or was not asked. After any other one
tokens may have been read and written that nobody told of, so they count as the worst case."""


class BudgetedModel:
    """Decorates a `ChatModel`: pays for each call out of the purse of the request's ledger."""

    def __init__(self, model: ChatModel, *, price: Price | None = None) -> None:
        """Guard `model`; without a `price` its tokens cost 0 dollars."""
        self._model = model
        self._price = price

    async def complete(self, request: ChatRequest) -> ChatReply:
        """Return the reply; LimitReached where the call could pass the budget."""
        purse = request.ledger.purse
        if purse is None:
            return await self._model.complete(request)
        reserved = self._worst_case(request)
        await purse.reserve(reserved)
        spent = reserved
        try:
            reply = await self._model.complete(request)
            dollars = 0.0 if self._price is None else self._price.of(reply)
            spent = Cost(reply.prompt_tokens + reply.completion_tokens, dollars)
        except ModelFault as fault:
            if fault.kind in FREE:
                spent = NOTHING
            raise
        finally:
            purse.settle(reserved, spent)
        return reply

    def _worst_case(self, request: ChatRequest) -> Cost:
        # A server that draws one choice at a time is asked, and reads the prompt, once for each.
        prompt = request.choices * most_prompt_tokens(request)
        completion = request.choices * request.max_tokens
        dollars = 0.0 if self._price is None else self._price.dollars(prompt, completion)
        return Cost(prompt + completion, dollars)


def most_prompt_tokens(request: ChatRequest) -> int:
    """Return a bound of the tokens that a backend counts for the prompt of `request`.

    Tokenizers that fall back to bytes, as those of chat models do, make no more tokens than bytes.
    """
    text = sum(len(message.content.encode()) for message in request.messages)
    schema = 0 if request.schema is None else len(json.dumps(dict(request.schema)).encode())
    return text + schema + TOKENS_PER_MESSAGE * len(request.messages) + TOKENS_PER_PROMPT
