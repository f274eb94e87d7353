"""A vLLM server with LoRA adapters, as far as its HTTP API goes, on a real socket.

An adapter is a directory with a file `reply.txt`: what the model says once it is loaded. As with
vLLM, weights are read when an adapter is loaded, a name that is taken is refused, and a model that
is not loaded is unknown. The log tells every load, in order, refused ones included.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.fakes.openai_server import Call, Fault, OpenAIServer, Reply, error

BASE = "base"


class LoraVllm(OpenAIServer):
    """A running server."""

    def __init__(self, script: Callable[[Call, str], Any]) -> None:
        super().__init__(self._reply, "ignored")
        self.adapters: dict[str, tuple[str, str]] = {}
        """What is loaded: path and reply by name."""
        self.loads: list[tuple[str, str]] = []
        """Every load that was asked for, name and path."""
        self.unloads: list[str] = []
        """Every name that was to be unloaded."""
        self.refusal: Callable[[str], Fault | None] = lambda name: None
        """Asked before a load: what it fails with."""
        self.unload_refusal: Fault | None = None
        """What unloading fails with."""
        self.held: asyncio.Event | None = None
        """Loads wait for this event."""
        self._script = script

    def restart(self) -> None:
        """Forget every adapter."""
        self.adapters.clear()

    async def load(self, request: web.Request) -> web.Response:
        """Load an adapter."""
        asked = await request.json()
        name, path = asked["lora_name"], asked["lora_path"]
        assert not asked.get("load_inplace")
        self.loads.append((name, path))
        if self.held is not None:
            await self.held.wait()
        fault = self.refusal(name)
        if fault is None and name in self.adapters:
            problem = f"The lora adapter '{name}' has already been loaded."
            fault = error(400, problem, type="InvalidUserInput")
        if fault is None and not (Path(path) / "reply.txt").is_file():
            fault = error(404, f"No adapter found for {path}", type="NotFoundError")
        if fault is not None:
            return _response(fault)
        self.adapters[name] = (path, (Path(path) / "reply.txt").read_text())
        return web.Response(text=f"Success: LoRA adapter '{name}' added successfully.")

    async def unload(self, request: web.Request) -> web.Response:
        """Forget an adapter."""
        name = (await request.json())["lora_name"]
        self.unloads.append(name)
        if self.unload_refusal is not None:
            return _response(self.unload_refusal)
        if self.adapters.pop(name, None) is None:
            return _response(error(404, f"The lora adapter '{name}' cannot be found."))
        return web.Response(text=f"Success: LoRA adapter '{name}' removed successfully.")

    async def models(self, request: web.Request) -> web.Response:
        """List what can be asked for."""
        cards = [{"id": BASE, "root": BASE}]
        cards += [{"id": name, "root": path} for name, (path, _) in self.adapters.items()]
        return web.json_response({"object": "list", "data": cards})

    async def _reply(self, call: Call) -> Reply | Fault:
        if call.model not in self.adapters and call.model != BASE:
            problem = f"The model `{call.model}` does not exist."
            return error(404, problem, type="NotFoundError", code=404)
        _, says = self.adapters.get(call.model, ("", BASE))
        said: Reply = self._script(call, says)
        return said


def _response(fault: Fault) -> web.Response:
    assert not isinstance(fault.body, str | bytes)
    return web.json_response(dict(fault.body), status=fault.status, headers=fault.headers)


async def _not_found(request: web.Request) -> web.Response:
    return web.json_response({"detail": "Not Found"}, status=404)


def repeat(call: Call, says: str) -> Reply:
    """Say what the adapter says."""
    return Reply(says)


@asynccontextmanager
async def lora_vllm(
    script: Callable[[Call, str], Any] = repeat, *, updating: bool = True
) -> AsyncIterator[LoraVllm]:
    """Run a server; one that does not load adapters at run time without `updating`."""
    server = LoraVllm(script)
    app = web.Application()
    app.router.add_post("/v1/chat/completions", server.answer)
    app.router.add_get("/v1/models", server.models)
    app.router.add_post("/v1/load_lora_adapter", server.load if updating else _not_found)
    app.router.add_post("/v1/unload_lora_adapter", server.unload if updating else _not_found)
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.05)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        server.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        yield server
    finally:
        await runner.cleanup()


def write_adapter(directory: Path, says: str) -> str:
    """Write an adapter whose model says `says`; return its path."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "reply.txt").write_text(says)
    return str(directory)
