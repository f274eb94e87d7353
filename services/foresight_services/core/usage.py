"""What work cost: messages, model calls, tokens, seconds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from foresight_services.core.budget import Purse


@dataclass(frozen=True, slots=True)
class ModelUsage:
    """Calls and tokens of one role."""

    calls: int = 0
    """Number of model calls."""
    prompt_tokens: int = 0
    """Tokens read, as the backend counts them."""
    completion_tokens: int = 0
    """Tokens written, as the backend counts them."""
    cached_tokens: int = 0
    """Tokens read from the backend's prefix cache, a part of `prompt_tokens`."""
    retries: int = 0
    """Calls, among `calls`, that repeated one that failed."""
    hedges: int = 0
    """Calls, among `calls`, that raced a slow one."""
    dollars: float = 0.0
    """Price of the tokens by the price table; 0 for models that have no price."""

    def __add__(self, other: ModelUsage) -> ModelUsage:
        return ModelUsage(
            self.calls + other.calls,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cached_tokens + other.cached_tokens,
            self.retries + other.retries,
            self.hedges + other.hedges,
            self.dollars + other.dollars,
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
    """Collects what the model calls of one future or one scoring cost, failed calls included.

    It also holds what the calls may cost, so that every call that is written down can be paid.
    """

    def __init__(self, purse: Purse | None = None) -> None:
        """Start an empty account; `purse` is None where the request has no budget."""
        self.purse = purse
        self._models: dict[str, ModelUsage] = {}

    def record(self, role: str, usage: ModelUsage) -> None:
        """Add `usage` to the account of `role`."""
        self._models[role] = self.of(role) + usage

    def of(self, role: str) -> ModelUsage:
        """Return the account of `role` so far."""
        return self._models.get(role, ModelUsage())

    def usage(self, *, messages: int, seconds: float) -> Usage:
        """Return the account so far."""
        return Usage(messages, MappingProxyType(dict(self._models)), seconds)


class CallLedger(Ledger):
    """The same account during one call, which also tells what was written into it from here."""

    def __init__(self, ledger: Ledger) -> None:
        """Write into `ledger`."""
        self.purse = ledger.purse
        self._models = ledger._models
        self.noted = ModelUsage()
        """What was written from here."""

    def record(self, role: str, usage: ModelUsage) -> None:
        """Add `usage` to the account of `role`."""
        super().record(role, usage)
        self.noted += usage


def total(parts: Iterable[Usage], *, seconds: float) -> Usage:
    """Add up messages, calls and tokens; work overlaps, so the caller gives the wall time."""
    messages = 0
    ledger = Ledger()
    for part in parts:
        messages += part.messages
        for role, usage in part.models.items():
            ledger.record(role, usage)
    return ledger.usage(messages=messages, seconds=seconds)
