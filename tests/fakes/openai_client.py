"""Clients of a server of the OpenAI chat API, and requests for them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from foresight_services.core.conversation import Message
from foresight_services.core.ports import ChatRequest
from foresight_services.core.task import Task
from foresight_services.core.usage import Ledger
from foresight_services.models.openai import OpenAIModel, OpenAISettings

NOON = 1_700_000_000.0
"""Seconds since 1970 on the wall clock of these clients."""


class StoppedClock:
    """A clock that shows 1,000 s for ever; implements the port `Clock`."""

    def now(self) -> float:
        """Return 1,000 s."""
        return 1000.0


@asynccontextmanager
async def openai_model(base_url: str, **settings: Any) -> AsyncIterator[OpenAIModel]:
    """Open a backend for the model `tiny` of the server at `base_url`."""
    given = {"name": "policy", "model": "tiny", "api_key": None, "temperature": 0.8, **settings}
    chosen = OpenAISettings(base_url=base_url, **given)
    model = OpenAIModel(chosen, clock=StoppedClock(), wall_clock=lambda: NOON)
    try:
        yield model
    finally:
        await model.aclose()


def ask(text: str = "Can you help me?", **fields: Any) -> ChatRequest:
    """Ask the policy for a reply to `text`."""
    given = {
        "role": "policy",
        "task": Task(),
        "conversation": (Message("user", text),),
        "seed": 11,
        "max_tokens": 100,
        "ledger": Ledger(),
        **fields,
    }
    return ChatRequest(**given)
