"""Models that fail as a test wants, and requests to them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from foresight_services.core.conversation import Message
from foresight_services.core.ports import ChatReply, ChatRequest
from foresight_services.core.task import Task
from foresight_services.core.usage import Ledger, ModelUsage
from foresight_services.models.faults import FaultKind, ModelFault

Behaviour = Callable[[ChatRequest], Awaitable[ChatReply]]


def fault(kind: FaultKind, retry_after_seconds: float | None = None) -> ModelFault:
    """Return a fault of the model `m`."""
    return ModelFault(kind, "m", f"{kind} for a test", retry_after_seconds=retry_after_seconds)


def ask(**fields: Any) -> ChatRequest:
    """Return a request of a policy."""
    given: dict[str, Any] = {
        "role": "policy",
        "task": Task(),
        "conversation": (Message("user", "hi"),),
        "seed": 0,
        "max_tokens": 100,
        "ledger": Ledger(),
        **fields,
    }
    return ChatRequest(**given)


def spent(request: ChatRequest) -> ModelUsage:
    """Return what the request's ledger says of its role."""
    return request.ledger.usage(messages=0, seconds=0.0).models.get(request.role, ModelUsage())


class BehavingChat:
    """Does what `behaviour` says and keeps count; implements the port `ChatModel`."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        """What a call does; may be replaced."""
        self.requests: list[ChatRequest] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self.cancelled = 0

    async def complete(self, request: ChatRequest) -> ChatReply:
        """Behave."""
        self.requests.append(request)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            return await self.behaviour(request)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.in_flight -= 1


def in_turn(*outcomes: ChatReply | str | FaultKind | BaseException, seconds: float = 0.0) -> Any:
    """Return the model that takes `seconds` for each call and has these outcomes in turn.

    The last one is repeated. A text is a reply of 10 tokens read and 5 written.
    """
    left = list(outcomes)

    async def behave(request: ChatRequest) -> ChatReply:
        outcome = left.pop(0) if len(left) > 1 else left[0]
        if seconds:
            await asyncio.sleep(seconds)
        if isinstance(outcome, FaultKind):
            raise fault(outcome)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome if isinstance(outcome, ChatReply) else ChatReply(outcome, 10, 5)

    return BehavingChat(behave)


def answers_in(seconds: float, text: str = "yes") -> BehavingChat:
    """Return the model that answers after so many seconds."""
    return in_turn(text, seconds=seconds)
