"""What work cost: messages, model calls, tokens, seconds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class ModelUsage:
    """Calls and tokens of one role."""

    calls: int = 0
    """Number of model calls."""
    prompt_tokens: int = 0
    """Tokens read, as the backend counts them."""
    completion_tokens: int = 0
    """Tokens written, as the backend counts them."""

    def __add__(self, other: ModelUsage) -> ModelUsage:
        return ModelUsage(
            self.calls + other.calls,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
        )


@dataclass(frozen=True, slots=True)
class Usage:
    """The cost of a result."""

    messages: int = 0
    """Messages simulated, candidates not included."""
    models: Mapping[str, ModelUsage] = field(default_factory=lambda: MappingProxyType({}))
    """Calls and tokens by role: `user`, `policy`, `judge`."""
    seconds: float = 0.0
    """Wall time from start to end of the work."""


class Ledger:
    """Collects what the model calls of one future or one scoring cost, failed calls included."""

    def __init__(self) -> None:
        self._models: dict[str, ModelUsage] = {}

    def record(self, role: str, usage: ModelUsage) -> None:
        """Add `usage` to the account of `role`."""
        self._models[role] = self._models.get(role, ModelUsage()) + usage

    def usage(self, *, messages: int, seconds: float) -> Usage:
        """Return the account so far."""
        return Usage(messages, MappingProxyType(dict(self._models)), seconds)


def total(parts: Iterable[Usage], *, seconds: float) -> Usage:
    """Add up messages, calls and tokens; work overlaps, so the caller gives the wall time."""
    messages = 0
    ledger = Ledger()
    for part in parts:
        messages += part.messages
        for role, usage in part.models.items():
            ledger.record(role, usage)
    return ledger.usage(messages=messages, seconds=seconds)
