"""What work cost: messages, model calls, tokens, seconds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import fsum
from types import MappingProxyType
from typing import Final

from foresight_services.core.budget import Cost, Purse


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


_ROUNDING: Final = 1e-9

NO_USAGE: Final = ModelUsage()
"""No call at all."""


@dataclass(frozen=True, slots=True)
class Usage:
    """The cost of a result."""

    messages: int = 0
    """Messages simulated, candidates not included."""
    models: Mapping[str, ModelUsage] = field(default_factory=lambda: MappingProxyType({}))
    """Calls and tokens by role: `user`, `policy`, `judge`."""
    seconds: float = 0.0
    """Wall time from start to end of the work."""

    @property
    def cost(self) -> Cost:
        """Tokens and dollars of all models."""
        models = self.models.values()
        tokens = sum(model.prompt_tokens + model.completion_tokens for model in models)
        return Cost(tokens, fsum(model.dollars for model in models))

    def exceeded_by(self, purse: Purse | None) -> Cost | None:
        """Return what `purse` has spent, where that is more than is known of here."""
        if purse is None:
            return None
        spent, known = purse.account.charged(purse.place), self.cost
        # Sums of floats in another order are not more.
        more = spent.tokens > known.tokens or spent.dollars > known.dollars * (1 + _ROUNDING)
        return spent if more else None


class _Account:
    """What one role has cost so far; grows in place, as it does with every call."""

    __slots__ = ("_cached", "_calls", "_completion", "_dollars", "_hedges", "_prompt", "_retries")

    def __init__(self) -> None:
        self._calls = 0
        self._prompt = 0
        self._completion = 0
        self._cached = 0
        self._retries = 0
        self._hedges = 0
        # Each amount, because sums of floats depend on the order, and calls end in any.
        self._dollars: list[float] = []

    def add(self, usage: ModelUsage) -> None:
        """Add `usage`."""
        self._calls += usage.calls
        self._prompt += usage.prompt_tokens
        self._completion += usage.completion_tokens
        self._cached += usage.cached_tokens
        self._retries += usage.retries
        self._hedges += usage.hedges
        if usage.dollars:
            self._dollars.append(usage.dollars)

    def usage(self) -> ModelUsage:
        """Return the account so far."""
        return ModelUsage(
            self._calls,
            self._prompt,
            self._completion,
            self._cached,
            self._retries,
            self._hedges,
            fsum(self._dollars) if self._dollars else 0.0,
        )


class Ledger:
    """Collects what the model calls of one future or one scoring cost, failed calls included.

    It also holds what the calls may cost, so that every call that is written down can be paid. The
    account is the same whatever the order in which calls end.
    """

    __slots__ = ("_accounts", "purse")

    def __init__(self, purse: Purse | None = None) -> None:
        """Start an empty account; `purse` is None where the request has no budget."""
        self.purse = purse
        self._accounts: dict[str, _Account] = {}

    def record(self, role: str, usage: ModelUsage) -> None:
        """Add `usage` to the account of `role`."""
        account = self._accounts.get(role)
        if account is None:
            account = self._accounts[role] = _Account()
        account.add(usage)

    def of(self, role: str) -> ModelUsage:
        """Return the account of `role` so far."""
        account = self._accounts.get(role)
        return NO_USAGE if account is None else account.usage()

    def usage(self, *, messages: int, seconds: float) -> Usage:
        """Return the account so far."""
        models = {role: account.usage() for role, account in self._accounts.items()}
        return Usage(messages, MappingProxyType(models), seconds)


class CallLedger(Ledger):
    """The same account during one call, which also tells what was written into it from here."""

    __slots__ = ("noted",)

    def __init__(self, ledger: Ledger) -> None:
        """Write into `ledger`."""
        self.purse = ledger.purse
        self._accounts = ledger._accounts
        self.noted = NO_USAGE
        """What was written from here."""

    def record(self, role: str, usage: ModelUsage) -> None:
        """Add `usage` to the account of `role`."""
        super().record(role, usage)
        self.noted = usage if self.noted is NO_USAGE else self.noted + usage


NO_WORK: Final = Usage()
"""The cost of what was not done."""


def total(parts: Iterable[Usage], *, seconds: float) -> Usage:
    """Add up messages, calls and tokens; work overlaps, so the caller gives the wall time.

    The total does not depend on the order of the parts, not even in the last bit of the dollars.
    """
    messages = 0
    spent: dict[str, list[ModelUsage]] = {}
    for part in parts:
        messages += part.messages
        for role, usage in part.models.items():
            spent.setdefault(role, []).append(usage)
    models = {role: _added(usages) for role, usages in spent.items()}
    return Usage(messages, MappingProxyType(models), seconds)


def _added(usages: list[ModelUsage]) -> ModelUsage:
    if len(usages) == 1:
        return usages[0]
    account = _Account()
    for usage in usages:
        account.add(usage)
    return account.usage()
