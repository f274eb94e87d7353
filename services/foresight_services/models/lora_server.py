"""LoRA adapters on a vLLM server of its own process, loaded over HTTP while it serves.

Each published version is an adapter under a name that no other version ever had: vLLM finds
weights and cached prefixes by that name, so a version can meet neither those of another one, nor
those that an earlier run of the trainer published under the same number. Nothing is ever loaded in
place of something else, so what is in flight ends on the version it began with.

The server forgets its adapters when it restarts, and another simulator may have one unloaded; a
call that meets that has the adapter loaded once more. One address must be one server: a balancer
would load the adapter into one of its servers only. vLLM takes part with `--enable-lora` and
`VLLM_ALLOW_RUNTIME_LORA_UPDATING=1`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp

from foresight_services.core.ports import ChatModel, ChatReply, ChatRequest, Clock
from foresight_services.core.published import PublishedPolicy
from foresight_services.models.faults import FaultKind, ModelFault
from foresight_services.models.openai_faults import Sent, fault_of, told_by
from foresight_services.models.openai_http import Answer

_log: Final = logging.getLogger(__name__)

_MOST_BYTES: Final = 1 << 20
"""How much of an answer is read; a list of models is far shorter."""


def adapter_name(policy: PublishedPolicy) -> str:
    """Return the name of the adapter of `policy`, which no other publication has."""
    published = f"{policy.source.location}\n{policy.published_at_ns}"
    digest = hashlib.sha256(published.encode()).hexdigest()[:12]
    return f"{policy.ref.name}@{policy.ref.version}-{digest}"


@dataclass(frozen=True, slots=True)
class LoraServerSettings:
    """Where adapters are loaded."""

    name: str
    """The configuration's name of the model, for errors."""
    base_url: str
    """Address of the server's API, such as `http://127.0.0.1:8000/v1`."""
    api_key: str | None = field(default=None, repr=False)
    """Sent as a bearer token; None sends none."""
    load_timeout_seconds: float = 120.0
    """Limit on loading an adapter."""
    rejection_seconds: float = 10.0
    """How long an adapter that the server refused is not asked for again."""


@dataclass(slots=True)
class _Adapter:
    """What is known of one adapter on the server."""

    path: str
    loads: int = 0
    """How often it was loaded; the last one is the one that counts."""
    loading: asyncio.Task[int] | None = None
    rejection: ModelFault | None = None
    rejected_until: float = 0.0


class LoraServer:
    """Loads and unloads adapters of one server; close it with `aclose`."""

    def __init__(self, settings: LoraServerSettings, *, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._url = settings.base_url.rstrip("/")
        self._adapters: dict[str, _Adapter] = {}
        self._session: aiohttp.ClientSession | None = None

    async def loaded(self, name: str, path: str, *, lost: int = 0) -> int:
        """Return the number of the adapter's load; load it where it is not, together with others.

        Args:
            name: the adapter's name, whose weights never change.
            path: its directory, as the server sees it.
            lost: the number of a load that turned out to be gone from the server, 0 for none.

        Raises:
            ModelFault: where the server refuses or fails to load it.
        """
        adapter = self._adapters.setdefault(name, _Adapter(path))
        if adapter.loads > lost:
            return adapter.loads
        if adapter.rejection is not None and self._clock.now() < adapter.rejected_until:
            raise adapter.rejection
        if adapter.loading is None:
            adapter.loading = asyncio.create_task(self._load(name, adapter))
            adapter.loading.add_done_callback(_retrieve)
        # A caller that leaves must not take the load from the others that wait for it.
        return await asyncio.shield(adapter.loading)

    async def unload(self, name: str) -> None:
        """Have the server forget the adapter; where it fails to, that costs it memory only."""
        adapter = self._adapters.pop(name, None)
        if adapter is None:
            return
        if adapter.loading is not None:
            await asyncio.wait([adapter.loading])
        try:
            answer = await self._send("POST", "/unload_lora_adapter", {"lora_name": name})
        except ModelFault as fault:
            _log.warning("the adapter %s stays loaded: %s", name, fault.message)
            return
        if answer.status not in (200, 404):
            _log.warning("the adapter %s stays loaded: HTTP %d", name, answer.status)

    async def aclose(self) -> None:
        """Close the connections; adapters stay, for other simulators may use them."""
        loading = [a.loading for a in self._adapters.values() if a.loading is not None]
        for task in loading:
            task.cancel()
        await asyncio.gather(*loading, return_exceptions=True)
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _load(self, name: str, adapter: _Adapter) -> int:
        try:
            await self._ask(name, adapter.path)
        except ModelFault as fault:
            if not fault.retryable:
                adapter.rejection = fault
                adapter.rejected_until = self._clock.now() + self._settings.rejection_seconds
            raise
        finally:
            adapter.loading = None
        adapter.rejection = None
        adapter.loads += 1
        return adapter.loads

    async def _ask(self, name: str, path: str) -> None:
        asked = {"lora_name": name, "lora_path": path}
        answer = await self._send("POST", "/load_lora_adapter", asked)
        # Names are never used twice, so what has the name already is this very adapter, loaded by
        # another simulator or by a call of ours whose answer was lost.
        if answer.status == 200 or (answer.status in (400, 409) and await self._has(name)):
            return
        raise self._refusal(answer, path)

    async def _has(self, name: str) -> bool:
        answer = await self._send("GET", "/models", None)
        if answer.status != 200:
            return False
        try:
            data: Any = json.loads(answer.body)
            return any(model["id"] == name for model in data["data"])
        except (ValueError, TypeError, KeyError):
            return False

    def _refusal(self, answer: Answer, path: str) -> ModelFault:
        settings, told = self._settings, told_by(answer.body)
        if answer.status == 404 and told.message in ("", "Not Found"):
            return ModelFault(
                FaultKind.BAD_REQUEST,
                settings.name,
                "the server loads no LoRA adapters while it runs (HTTP 404); vLLM does with"
                " --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=1",
            )
        if answer.status in (400, 404, 409, 422):
            kind = FaultKind.UNKNOWN_MODEL if answer.status == 404 else FaultKind.BAD_REQUEST
            said = " ".join(told.message.split())[:300]
            problem = f"the server does not load the LoRA adapter {path!r}"
            return ModelFault(kind, settings.name, f"{problem} (HTTP {answer.status}): {said}")
        return fault_of(settings.name, answer, Sent(path, (), settings.api_key), time.time)

    async def _send(self, method: str, path: str, body: dict[str, str] | None) -> Answer:
        settings = self._settings
        if self._session is None:
            key = settings.api_key
            self._session = aiohttp.ClientSession(
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"Authorization": f"Bearer {key}"} if key else {},
                timeout=aiohttp.ClientTimeout(total=settings.load_timeout_seconds),
            )
        try:
            async with self._session.request(
                method, self._url + path, json=body, allow_redirects=False
            ) as response:
                content = await response.content.read(_MOST_BYTES)
                return Answer(response.status, response.headers, content)
        except TimeoutError as error:
            problem = f"no answer to {path} within {settings.load_timeout_seconds:g} s"
            raise ModelFault(FaultKind.TIMEOUT, settings.name, problem) from error
        except (aiohttp.ClientError, OSError) as error:
            problem = f"{path} cannot be reached: {type(error).__name__}"
            raise ModelFault(FaultKind.CONNECTION, settings.name, problem) from error


class LoraModel:
    """Speaks by one adapter of a server; implements the port `ChatModel`.

    Stands innermost, so that what fails to load is tried again, or not, like any other call.
    """

    def __init__(self, model: ChatModel, server: LoraServer, name: str, path: str) -> None:
        """Call `model`, which asks the server for the model `name`, with that adapter loaded."""
        self._model = model
        self._server = server
        self._name = name
        self._path = path

    async def complete(self, request: ChatRequest) -> ChatReply:
        """Return the reply of the adapter's version, loaded once more where the server lost it."""
        load = await self._server.loaded(self._name, self._path)
        try:
            return await self._model.complete(request)
        except ModelFault as fault:
            if fault.kind is not FaultKind.UNKNOWN_MODEL:
                raise
        await self._server.loaded(self._name, self._path, lost=load)
        return await self._model.complete(request)


def _retrieve(task: asyncio.Task[int]) -> None:
    """Take note of a failure that nobody may be left to wait for."""
    if not task.cancelled():
        task.exception()
