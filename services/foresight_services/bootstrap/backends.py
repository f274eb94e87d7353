"""Backends from their sections of the configuration: raw, without any decorator."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from foresight_services.config.models import (
    BuiltinModelConfig,
    LiteLLMModelConfig,
    ModelConfig,
    OpenAIModelConfig,
    ServedModelConfig,
    TrlServerModelConfig,
    VllmModelConfig,
)
from foresight_services.core.errors import InvalidInput, Violation
from foresight_services.core.ports import ChatModel, Clock
from foresight_services.core.published import SourceKind
from foresight_services.models.builtin import BuiltinModel
from foresight_services.models.faults import ModelFault
from foresight_services.models.litellm import LiteLLMModel, LiteLLMSettings
from foresight_services.models.lora_server import LoraServer, LoraServerSettings
from foresight_services.models.openai import OpenAIModel, OpenAISettings
from foresight_services.models.published import Opener, Openers
from foresight_services.models.published_sources import (
    Decorate,
    EndpointOpener,
    EngineAdapterOpener,
    ServerAdapterOpener,
    TrlOpener,
)
from foresight_services.models.trl_server import TrlServerModel, TrlServerSettings
from foresight_services.models.vllm_engine import VllmModel
from foresight_services.models.vllm_settings import VllmSettings


@dataclass(frozen=True, slots=True)
class Backend:
    """A backend and where it is."""

    model: ChatModel
    """What is asked."""
    place: str
    """The server or engine; backends at one place share its limits and its breaker."""
    rules: BuiltinModel | None = None
    """The rules of a world, where that is what it is."""


class Backends:
    """The backends of a process, each made once."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._made: dict[str, Backend] = {}
        self._closers: list[Callable[[], Awaitable[None]]] = []

    def get(self, name: str, settings: ServedModelConfig) -> Backend:
        """Return the backend of the model that the configuration calls `name`."""
        if name not in self._made:
            self._made[name] = self._make(name, settings)
        return self._made[name]

    async def start(self) -> None:
        """Load what runs in this process; connections are opened by the first calls.

        Raises:
            InvalidInput: where an engine cannot be started.
        """
        for name, backend in self._made.items():
            if isinstance(backend.model, VllmModel):
                try:
                    await backend.model.start()
                except ModelFault as fault:
                    problem = (Violation(f"models.{name}", fault.message),)
                    raise InvalidInput(problem) from fault

    async def aclose(self) -> None:
        """Close all connections and engines, those made last first."""
        while self._closers:
            await self._closers.pop()()

    def openers(
        self, name: str, settings: ModelConfig, *, decorate: Decorate, load_timeout_seconds: float
    ) -> Openers:
        """Return how published versions of the policy `name` are opened, by kind of source."""
        if isinstance(settings, BuiltinModelConfig):
            return {}
        trl = TrlOpener(_trl_settings(name, settings), clock=self._clock, decorate=decorate)
        openers: dict[SourceKind, Opener] = {SourceKind.TRL_SERVER: trl}
        if isinstance(settings, OpenAIModelConfig):
            openai = _openai_settings(name, settings)
            openers[SourceKind.ENDPOINT] = EndpointOpener(
                openai, clock=self._clock, decorate=decorate
            )
            model = self.get(name, settings).model
            if settings.lora_adapters and isinstance(model, OpenAIModel):
                server = LoraServer(
                    LoraServerSettings(
                        name=name,
                        base_url=settings.base_url,
                        api_key=openai.api_key,
                        load_timeout_seconds=load_timeout_seconds,
                    ),
                    clock=self._clock,
                )
                self._closers.append(server.aclose)
                openers[SourceKind.LORA_ADAPTER_PATH] = ServerAdapterOpener(
                    model, server, place=settings.base_url, decorate=decorate
                )
        if isinstance(settings, VllmModelConfig):
            engine = self.get(name, settings).model
            if isinstance(engine, VllmModel):
                openers[SourceKind.LORA_ADAPTER_PATH] = EngineAdapterOpener(
                    engine, place=name, decorate=decorate
                )
        return openers

    def _make(self, name: str, settings: ServedModelConfig) -> Backend:
        model: OpenAIModel | LiteLLMModel | TrlServerModel | VllmModel
        match settings:
            case OpenAIModelConfig():
                place = settings.base_url
                model = OpenAIModel(_openai_settings(name, settings), clock=self._clock)
            case TrlServerModelConfig():
                place = settings.base_url
                model = TrlServerModel(_trl_settings(name, settings), clock=self._clock)
            case LiteLLMModelConfig():
                place = f"{settings.api_base}/{settings.model}"
                model = _litellm(name, settings, self._clock)
            case VllmModelConfig():
                place = name
                model = VllmModel(name, _vllm_settings(settings))
            case _:
                raise AssertionError(f"no backend for {type(settings).__name__}")
        self._closers.append(model.aclose)
        return Backend(model, place)


def _openai_settings(name: str, settings: OpenAIModelConfig) -> OpenAISettings:
    return OpenAISettings(
        name=name,
        base_url=settings.base_url,
        model=settings.model,
        api_key=_key(name, settings.api_key_env),
        temperature=settings.temperature,
        top_p=settings.top_p,
        timeout_seconds=settings.timeout_seconds,
        connect_timeout_seconds=settings.connect_timeout_seconds,
        max_connections=settings.max_connections,
        schema_mode="json_schema" if settings.structured else "none",
        seed_mode=settings.seeds,
        extra_body=settings.extra_body,
    )


def _trl_settings(name: str, settings: ServedModelConfig) -> TrlServerSettings:
    own = settings if isinstance(settings, TrlServerModelConfig) else None
    return TrlServerSettings(
        name=name,
        base_url=own.base_url if own else "http://127.0.0.1:8000",
        temperature=settings.temperature,
        top_p=1.0 if settings.top_p is None else settings.top_p,
        timeout_seconds=own.timeout_seconds if own else 120.0,
        tokenizer=own.tokenizer if own else None,
    )


def _litellm(name: str, settings: LiteLLMModelConfig, clock: Clock) -> LiteLLMModel:
    try:
        return LiteLLMModel(
            LiteLLMSettings(
                name=name,
                model=settings.model,
                api_key_env=settings.api_key_env,
                api_base=settings.api_base,
                temperature=settings.temperature,
                top_p=settings.top_p,
                timeout_seconds=settings.timeout_seconds,
                extra=settings.extra,
            ),
            clock=clock,
        )
    except ValueError as error:
        raise InvalidInput((Violation(f"models.{name}", str(error)),)) from error


def _vllm_settings(settings: VllmModelConfig) -> VllmSettings:
    return VllmSettings(
        model=settings.model,
        temperature=settings.temperature,
        top_p=1.0 if settings.top_p is None else settings.top_p,
        max_model_len=settings.max_model_len,
        dtype=settings.dtype,
        enforce_eager=settings.enforce_eager,
        gpu_memory_utilization=settings.gpu_memory_utilization,
        kv_cache_bytes=settings.kv_cache_bytes,
        block_size=settings.block_size,
        tensor_parallel_size=settings.tensor_parallel_size,
        max_loras=settings.max_loras,
        max_lora_rank=settings.max_lora_rank,
        engine=settings.engine,
    )


def _key(name: str, variable: str) -> str | None:
    """Return the key that the environment variable holds; None where none is named."""
    if not variable:
        return None
    key = os.environ.get(variable)
    if not key:
        problem = f"names {variable!r}, an environment variable that is not set"
        raise InvalidInput((Violation(f"models.{name}.api_key_env", problem),))
    return key
