"""A loopback server of the OpenAI chat API that keeps account of the prompts of each side.

Each side has an address of its own and is answered as if the other were not there. A prompt is the
name of the model and the messages, as one line of JSON; sampling parameters are no part of it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, Literal

from aiohttp import web

from bench.parity.cases import Said
from bench.parity.replies import reply

Side = Literal["reference", "foresight"]
SIDES: Final[tuple[Side, ...]] = ("reference", "foresight")


class ModelServer:
    """A running server."""

    def __init__(self) -> None:
        self.prompts: Mapping[Side, Counter[str]] = {side: Counter() for side in SIDES}
        """How often each prompt came, by side."""
        self.refused: Counter[Side] = Counter()
        """Calls that had no part to play, by side."""
        self._port = 0

    def address(self, side: Side) -> str:
        """Return what a client of `side` is told, ending in `/v1`."""
        return f"http://127.0.0.1:{self._port}/{side}/v1"

    async def start(self, runner: web.AppRunner) -> None:
        """Listen on a free port."""
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self._port = runner.addresses[0][1]

    async def answer(self, request: web.Request) -> web.Response:
        """Answer one call."""
        side: Side = "reference" if request.match_info["side"] == "reference" else "foresight"
        body = json.loads(await request.read())
        prompt = canonical(body["model"], body["messages"])
        asked_before = self.prompts[side][prompt]
        self.prompts[side][prompt] += 1
        messages = [Said(message["role"], message["content"]) for message in body["messages"]]
        try:
            text = reply(body["model"], messages, asked_before)
        except ValueError as error:
            self.refused[side] += 1
            return web.json_response({"error": {"message": str(error), "code": 400}}, status=400)
        return web.json_response(_completion(body["model"], text))


@asynccontextmanager
async def model_server() -> AsyncIterator[ModelServer]:
    """Run a server on a free port of this machine."""
    server = ModelServer()
    app = web.Application(client_max_size=64 << 20)
    app.router.add_post("/{side:reference|foresight}/v1/chat/completions", server.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await server.start(runner)
        yield server
    finally:
        await runner.cleanup()


def canonical(model: str, messages: list[dict[str, Any]]) -> str:
    """Return a prompt as one line that is the same for the same prompt."""
    return json.dumps([model, messages], ensure_ascii=False, sort_keys=True)


def _completion(model: str, text: str) -> dict[str, Any]:
    return {
        "id": "chatcmpl-parity",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": model,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }
