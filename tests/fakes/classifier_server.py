"""A server that speaks vLLM's `/classify` on a real socket and does what a test wants.

    async with classifier_server(lambda call: 1.5) as server:
        ...                                    # point a client at server.base_url

The script is asked once for every call and returns (or awaits) a logit, or a `Fault` of
`tests.fakes.openai_server` for any other answer. As vLLM does, the server answers with the sigmoid
of the logit unless the call says `use_activation: false`.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

from aiohttp import web

from tests.fakes.openai_server import Fault


@dataclass(eq=False)
class ClassifyCall:
    """One call, as the server saw it."""

    headers: Mapping[str, str]
    """The headers, their names in lower case."""
    body: Mapping[str, Any]
    """The body."""
    outcome: Literal["running", "answered", "cancelled"] = "running"
    """How it ended; `cancelled`: the client hung up first."""

    @property
    def text(self) -> str:
        """The contents of the messages, one after the other, a blank line between."""
        return "\n\n".join(message["content"] for message in self.body["messages"])


Said = float | Fault

Script = Callable[[ClassifyCall], Said | Awaitable[Said]]
"""What a server does."""


class ClassifierServer:
    """A running server."""

    def __init__(self, script: Script) -> None:
        self.script = script
        """What it does; may be replaced while it runs."""
        self.calls: list[ClassifyCall] = []
        """Every call, in the order of arrival."""
        self.base_url = ""
        """What a client is told."""
        self.in_flight = 0
        """Calls without an answer now."""
        self.most_in_flight = 0
        """Most calls without an answer at once."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Log the call and answer it."""
        headers = {name.lower(): value for name, value in request.headers.items()}
        call = ClassifyCall(headers, json.loads(await request.read()))
        self.calls.append(call)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            given = self.script(call)
            said = await given if inspect.isawaitable(given) else given
            response = await _respond(call, said, request)
            call.outcome = "answered"
            return response
        except asyncio.CancelledError:
            call.outcome = "cancelled"
            raise
        finally:
            self.in_flight -= 1


async def _respond(call: ClassifyCall, said: Said, request: web.Request) -> web.StreamResponse:
    if isinstance(said, Fault):
        if said.after is not None:
            await said.after.wait()
        if said.disconnect:
            assert request.transport is not None
            request.transport.abort()
        body = json.dumps(dict(said.body)) if isinstance(said.body, Mapping) else said.body
        content = {"Content-Type": said.content_type, **said.headers}
        return web.Response(body=body, status=said.status, headers=content)
    if call.body.get("use_activation", True):
        said = 1 / (1 + math.exp(-said))
    return web.json_response(answer_with(said, model=call.body["model"]))


def answer_with(*probs: Any, model: str = "rm") -> dict[str, Any]:
    """Return the answer of a model with as many labels as there are `probs`."""
    result = {"index": 0, "label": "LABEL_0", "probs": list(probs), "num_classes": len(probs)}
    usage = {"prompt_tokens": 9, "total_tokens": 9, "completion_tokens": 0}
    return {"id": "classify-1", "object": "list", "created": 1, "model": model} | {
        "data": [result],
        "usage": usage,
    }


@asynccontextmanager
async def classifier_server(script: Script) -> AsyncIterator[ClassifierServer]:
    """Run a server that follows `script`."""
    server = ClassifierServer(script)
    app = web.Application(client_max_size=64 << 20)
    app.router.add_post("/classify", server.answer)
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.05)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        server.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield server
    finally:
        await runner.cleanup()
