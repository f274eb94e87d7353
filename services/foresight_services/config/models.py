"""Sections of the configuration that describe models: backends and how their faults are met."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from foresight_services.config.section import Section

Name = Annotated[str, Field(min_length=1)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Temperature = Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Url = Annotated[str, Field(pattern=r"^https?://\S+$")]


class LimitsConfig(Section):
    """How much a backend is asked at once and per minute."""

    max_concurrency: Count = 256
    """Calls at once; more wait in line."""
    requests_per_minute: Count | None = None
    """Calls that may start in any minute. Default: no limit."""
    tokens_per_minute: Count | None = None
    """Tokens read and written, as the backend counts them, in any minute. Default: no limit."""
    adaptive: bool = True
    """Whether fewer calls are made at once while the backend answers 429, 503 or not at all."""


class RetriesConfig(Section):
    """How failed calls are repeated: with full jitter, never past the caller's deadline."""

    base_seconds: Positive = 0.5
    """Longest first wait; it doubles with every further one."""
    cap_seconds: Positive = 30.0
    """Longest wait."""
    per_request: Annotated[int, Field(ge=0)] = 64
    """Retries of one future or one scoring together."""
    budget_share: Share = 0.5
    """Retries as a share of the calls, over all requests; beyond it, failures fail at once."""


class HedgingConfig(Section):
    """A second call beside a slow one; the first answer counts."""

    quantile: Annotated[float, Field(gt=0, lt=1)] = 0.95
    """A call is slow when it takes longer than this share of the recent ones."""
    max_share: Share = 0.05
    """Second calls as a share of all calls."""


class BreakerConfig(Section):
    """When a backend that keeps failing is left alone."""

    failure_share: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Share of failed calls that opens it."""
    min_calls: Count = 20
    """Calls in the window before it can open."""
    window_seconds: Positive = 30.0
    """Length of the window."""
    open_seconds: Positive = 10.0
    """Time for which no call is made."""


class PriceConfig(Section):
    """What a model charges, in US dollars per million tokens."""

    input: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    """For tokens read."""
    output: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    """For tokens written."""
    cached: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    """For tokens read from the provider's prefix cache. Default: as `input`."""


class BuiltinModelConfig(Section):
    """Rules of a builtin world in place of a model."""

    backend: Literal["builtin"]
    """Kind of backend."""
    skill: str = ""
    """Policy only: how well it plays. Default: the strongest skill of the task's world."""


class ServedModelConfig(Section):
    """What all backends but the builtin one have."""

    temperature: Temperature = 1.0
    """Sampling temperature."""
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    """Nucleus sampling. Default: the backend's."""
    limits: LimitsConfig = LimitsConfig()
    """How much it is asked."""
    retries: RetriesConfig = RetriesConfig()
    """How failed calls are repeated."""
    hedging: HedgingConfig | None = None
    """Second calls for stragglers. Default: none."""
    breaker: BreakerConfig = BreakerConfig()
    """When it is left alone."""
    price: PriceConfig | None = None
    """What it charges. Default: the price table's, else nothing."""
    structured: bool = True
    """Whether to ask the backend to hold replies to a JSON schema, where it can."""
    system_role: bool = True
    """Whether its chat template has a system role; without, system texts join the first message."""


class OpenAIModelConfig(ServedModelConfig):
    """Anything that speaks the OpenAI chat API: vLLM, SGLang, llama.cpp, gateways."""

    backend: Literal["openai"]
    """Kind of backend."""
    base_url: Url
    """Address of the API, such as `http://127.0.0.1:8000/v1`."""
    model: Name
    """Name of the model on that server."""
    api_key_env: str = ""
    """Environment variable that holds the key. Default: no key."""
    timeout_seconds: Positive = 120.0
    """Time that one call may take."""
    connect_timeout_seconds: Positive = 5.0
    """Time that connecting may take."""
    max_connections: Count = 1024
    """Connections kept to the server."""
    seeds: bool = True
    """Whether the server takes seeds."""
    lora_adapters: bool = False
    """Whether it is one vLLM server that loads published LoRA adapters at run time."""
    extra_body: dict[str, Any] = {}
    """Further fields of every request."""


class LiteLLMModelConfig(ServedModelConfig):
    """Any hosted API, through the package litellm (extra `litellm`)."""

    backend: Literal["litellm"]
    """Kind of backend."""
    model: Name
    """Name of the model as litellm writes it, such as `gpt-4o-mini`."""
    api_key_env: str = ""
    """Environment variable that holds the key. Default: the provider's usual one."""
    api_base: str = ""
    """Address of the API. Default: the provider's."""
    timeout_seconds: Positive = 120.0
    """Time that one call may take."""
    extra: dict[str, Any] = {}
    """Further arguments of every call."""


class VllmModelConfig(ServedModelConfig):
    """vLLM's engine inside this process (extra `vllm`)."""

    backend: Literal["vllm"]
    """Kind of backend."""
    model: Name
    """Name or path of the weights."""
    max_model_len: Count | None = None
    """Context in tokens. Default: the model's."""
    dtype: str = "auto"
    """Type of the weights."""
    enforce_eager: bool = False
    """Whether to leave out compilation."""
    gpu_memory_utilization: Annotated[float, Field(gt=0, le=1)] | None = None
    """Share of a GPU's memory. Default: vLLM's."""
    kv_cache_bytes: Count | None = None
    """Size of the KV cache. Default: what fits."""
    block_size: Count | None = None
    """Tokens in a block of the KV cache. Default: vLLM's."""
    tensor_parallel_size: Count = 1
    """GPUs that share the model."""
    max_loras: Annotated[int, Field(ge=0)] = 0
    """LoRA adapters in one batch; 0 turns adapters off."""
    max_lora_rank: Count = 16
    """Greatest rank of an adapter."""
    engine: dict[str, Any] = {}
    """Further arguments of the engine."""


class TrlServerModelConfig(ServedModelConfig):
    """TRL's own generation server (`trl vllm-serve`), which holds the weights being trained."""

    backend: Literal["trl"]
    """Kind of backend."""
    base_url: Url
    """Address of the server, such as `http://127.0.0.1:8000`."""
    tokenizer: str | None = None
    """Name or path of the tokenizer, where the server answers in tokens. Default: none needed."""
    timeout_seconds: Positive = 120.0
    """Time that one call may take."""


ModelConfig = Annotated[
    BuiltinModelConfig
    | OpenAIModelConfig
    | LiteLLMModelConfig
    | VllmModelConfig
    | TrlServerModelConfig,
    Field(discriminator="backend"),
]
"""A model, told apart by its `backend`."""
