"""What one vLLM engine serves, and how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class VllmSettings:
    """What one engine serves, and how."""

    model: str
    """Directory or hub name of the model."""
    temperature: float = 1.0
    """Temperature of sampling, at least 0; 0 always takes the likeliest token."""
    top_p: float = 1.0
    """Probability mass to sample from, above 0 to 1."""
    max_model_len: int | None = None
    """Context in tokens, prompt and reply; None for the model's own."""
    dtype: str = "auto"
    """Type of the weights: `auto`, `bfloat16`, `float16` or `float32`."""
    enforce_eager: bool = False
    """Whether to skip compilation and graphs: starts sooner, runs slower."""
    gpu_memory_utilization: float | None = None
    """Share of the GPU's memory that the engine may take, 0 to 1; None for vLLM's default."""
    kv_cache_bytes: int | None = None
    """Size of the cache of keys and values, in bytes; None to use all memory that is allowed."""
    block_size: int | None = None
    """Tokens per block of the prefix cache; only whole blocks are found again. None for vLLM's."""
    tensor_parallel_size: int = 1
    """GPUs that share the weights."""
    max_loras: int = 0
    """Adapters that can be used in one batch; 0 where no versions are published. Each takes memory
    of the GPU; with 2 or more, a new version begins while the old one's futures finish."""
    max_lora_rank: int = 16
    """Greatest rank of an adapter."""
    max_cpu_loras: int = 8
    """Adapters kept in the machine's memory, at least as many as `max_loras`."""
    chat_template_kwargs: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))
    """Variables of the chat template, such as `enable_thinking`."""
    compact_json: bool = True
    """Whether replies that follow a schema have no white space in them; where they may, a model can
    write white space up to the limit on its reply."""
    engine: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))
    """Further engine arguments by vLLM's own names."""

    @property
    def kept_adapters(self) -> int:
        """Adapters kept in the machine's memory."""
        return max(self.max_loras, self.max_cpu_loras)

    def engine_args(self, *, on_cpu: bool) -> dict[str, object]:
        """Return the arguments of the engine by vLLM's names.

        `on_cpu` avoids what vLLM gets wrong there and only there: a request with a seed whose
        prompt is read in two steps ends the engine, and in a batch with adapters the base model
        speaks by whatever is in the last place for adapters, so that place has to stay empty.
        """
        chosen: dict[str, object] = {
            "model": self.model,
            "dtype": self.dtype,
            "enforce_eager": self.enforce_eager,
            "tensor_parallel_size": self.tensor_parallel_size,
            "enable_prefix_caching": True,
            "max_model_len": self.max_model_len,
            "gpu_memory_utilization": self.gpu_memory_utilization,
            "kv_cache_memory_bytes": self.kv_cache_bytes,
            "block_size": self.block_size,
        }
        if self.compact_json:
            # vLLM's automatic choice of a backend does not go with it.
            chosen["structured_outputs_config"] = {
                "backend": "xgrammar",
                "disable_any_whitespace": True,
            }
        if self.max_loras:
            chosen |= {
                "enable_lora": True,
                "max_loras": self.max_loras,
                "max_lora_rank": self.max_lora_rank,
                "max_cpu_loras": self.kept_adapters,
            }
        if on_cpu:
            chosen["enable_chunked_prefill"] = False
            if self.max_loras:
                chosen["max_loras"] = chosen["max_cpu_loras"] = self.kept_adapters + 1
        given = {name: value for name, value in chosen.items() if value is not None}
        return given | dict(self.engine)
