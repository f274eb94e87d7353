"""How each kind of published source becomes a model."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Final, Protocol
from urllib.parse import urlsplit

from foresight_services.core.ports import ChatModel, Clock
from foresight_services.core.published import PublishedPolicy
from foresight_services.models.faults import ModelFault
from foresight_services.models.lora_server import LoraModel, LoraServer, adapter_name
from foresight_services.models.openai import OpenAIModel, OpenAISettings
from foresight_services.models.published import OpenedModel
from foresight_services.models.trl_server import TrlServerModel, TrlServerSettings

_log: Final = logging.getLogger(__name__)


class AdapterEngine(Protocol):
    """An engine in this process that speaks by LoRA adapters."""

    async def with_adapter(self, name: str, version: int, path: str) -> ChatModel:
        """Return the model that speaks by the adapter at `path`."""
        ...


Decorate = Callable[[ChatModel, str, PublishedPolicy], ChatModel]
"""Puts the policy's decorators around a backend at a place, which shares its limits by place, for
one version."""


class EndpointOpener:
    """Opens versions that a server of the OpenAI chat API holds."""

    def __init__(
        self,
        settings: OpenAISettings,
        *,
        clock: Clock,
        decorate: Decorate,
        key_hosts: Collection[str] = (),
    ) -> None:
        """Ask published servers as the configured one is asked.

        Args:
            settings: of the configured policy; a published address takes the place of its own.
            clock: the clock of the requests' deadlines.
            decorate: puts the policy's decorators around a backend.
            key_hosts: further hosts that may be sent the configured key. Whoever may publish names
                the address, so by default the key goes to the configured host alone.
        """
        self._settings = settings
        self._clock = clock
        self._decorate = decorate
        self._key_hosts = {urlsplit(settings.base_url).hostname, *key_hosts}
        self._scheme = urlsplit(settings.base_url).scheme

    async def __call__(self, policy: PublishedPolicy) -> OpenedModel:
        """Return the model at the version's address."""
        url = policy.source.location
        model = OpenAIModel(
            replace(self._settings, base_url=url, api_key=self._key_for(url)), clock=self._clock
        )
        return OpenedModel(self._decorate(model, url, policy), model.aclose)

    def _key_for(self, url: str) -> str | None:
        parts = urlsplit(url)
        trusted = parts.hostname in self._key_hosts and parts.scheme in (self._scheme, "https")
        return self._settings.api_key if trusted else None


class ServerAdapterOpener:
    """Opens LoRA adapters on the configured vLLM server."""

    def __init__(
        self, model: OpenAIModel, server: LoraServer, *, place: str, decorate: Decorate
    ) -> None:
        """Load adapters into `server` and ask for them as `model` is asked, at its `place`."""
        self._model = model
        self._server = server
        self._place = place
        self._decorate = decorate

    async def __call__(self, policy: PublishedPolicy) -> OpenedModel:
        """Return the model that speaks by the version's adapter."""
        name, path = adapter_name(policy), policy.source.location
        try:
            await self._server.loaded(name, path)
        except ModelFault as fault:
            if not fault.retryable:
                raise
            # Calls load it themselves, with the retries that the configuration gives them.
            _log.warning("loading the adapter %s is left to its calls: %s", name, fault.message)
        backend = LoraModel(self._model.with_model(name), self._server, name, path)
        return OpenedModel(
            self._decorate(backend, self._place, policy), lambda: self._server.unload(name)
        )


class EngineAdapterOpener:
    """Opens LoRA adapters in an engine of this process."""

    def __init__(self, engine: AdapterEngine, *, place: str, decorate: Decorate) -> None:
        """Load adapters into `engine`, whose models stand at `place`."""
        self._engine = engine
        self._place = place
        self._decorate = decorate

    async def __call__(self, policy: PublishedPolicy) -> OpenedModel:
        """Return the model that speaks by the version's adapter."""
        model = await self._engine.with_adapter(
            adapter_name(policy), policy.ref.version, policy.source.location
        )
        return OpenedModel(self._decorate(model, self._place, policy), _nothing)


class TrlOpener:
    """Opens versions that TRL's generation server holds."""

    def __init__(self, settings: TrlServerSettings, *, clock: Clock, decorate: Decorate) -> None:
        """Ask published servers by `settings`; a published address takes the place of its own."""
        self._settings = settings
        self._clock = clock
        self._decorate = decorate

    async def __call__(self, policy: PublishedPolicy) -> OpenedModel:
        """Return the model at the version's address."""
        url = policy.source.location
        model = TrlServerModel(replace(self._settings, base_url=url), clock=self._clock)
        return OpenedModel(self._decorate(model, url, policy), model.aclose)


async def _nothing() -> None:
    """Let go of nothing: the engine itself makes room for newer adapters."""
