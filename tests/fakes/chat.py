"""A chat model that says what a test wants."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import replace

from foresight_services.core.ports import ChatReply, ChatRequest
from foresight_services.core.usage import ModelUsage

Answer = Callable[[ChatRequest], str | Awaitable[str]]


class ScriptedChat:
    """Answers by `answer`, a text or a function of the request; implements the port `ChatModel`.

    A function may return an awaitable, to answer late, or raise, to fail. Costs are one token per
    message read and one per word written, and are written into the request's ledger. Choice j is
    the answer to the same request with a seed greater by j.
    """

    def __init__(self, answer: Answer | str) -> None:
        self._answer = answer
        self.requests: list[ChatRequest] = []
        self.in_flight = 0
        self.cancelled = 0

    async def complete(self, request: ChatRequest) -> ChatReply:
        """Return what the script says."""
        self.requests.append(request)
        self.in_flight += 1
        try:
            texts = [await self._text(one) for one in _singly(request)]
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.in_flight -= 1
        read, written = len(request.conversation), sum(len(text.split()) for text in texts)
        request.ledger.record(request.role, ModelUsage(1, read, written))
        return ChatReply(texts[0], read, written, others=tuple(texts[1:]))

    async def _text(self, request: ChatRequest) -> str:
        said = self._answer if isinstance(self._answer, str) else self._answer(request)
        text = await said if inspect.isawaitable(said) else said
        words = text.split()
        return text if len(words) <= request.max_tokens else " ".join(words[: request.max_tokens])


def _singly(request: ChatRequest) -> list[ChatRequest]:
    """Return what asks for each choice alone: the seeds follow each other."""
    if request.choices == 1:
        return [request]
    seeds = [(request.seed + choice) % 2**64 for choice in range(request.choices)]
    return [replace(request, seed=seed, choices=1) for seed in seeds]


class Gates:
    """Lets calls wait until the test opens their gate, by name."""

    def __init__(self) -> None:
        self._gates: dict[object, asyncio.Event] = {}

    def __getitem__(self, name: object) -> asyncio.Event:
        return self._gates.setdefault(name, asyncio.Event())

    def open(self, *names: object) -> None:
        """Let everything through that waits, or will wait, at the gates called `names`."""
        for name in names:
            self[name].set()

    async def say(self, text: str, *, after: object) -> str:
        """Return `text` once the gate called `after` is open."""
        await self[after].wait()
        return text
