"""What models charge for tokens: a table that ships as data, and the operator's own prices.

A model that is in neither has no price: its tokens cost 0 dollars, as those of one's own GPU do.
The table knows list prices only; discounts, tiers by length and charges for writing a cache are
the operator's to set.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from importlib.resources import files
from types import MappingProxyType
from typing import Any, Final

import yaml

from foresight_services.core.ports import ChatReply
from foresight_services.core.usage import ModelUsage

MILLION: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Price:
    """What a model charges, in US dollars per million tokens; each finite and not negative."""

    input: float
    """For tokens read."""
    output: float
    """For tokens written."""
    cached: float | None = None
    """For tokens read from the provider's prefix cache. Default: the price of `input`."""

    def of(self, spent: ChatReply | ModelUsage) -> float:
        """Return what these tokens cost, in US dollars."""
        return self.dollars(spent.prompt_tokens, spent.completion_tokens, spent.cached_tokens)

    def dollars(self, prompt_tokens: int, completion_tokens: int, cached_tokens: int = 0) -> float:
        """Return what so many tokens cost, in US dollars; cached ones are among the prompt's."""
        cached = self.input if self.cached is None else self.cached
        fresh = prompt_tokens - cached_tokens
        read = fresh * self.input + cached_tokens * cached
        return (read + completion_tokens * self.output) / MILLION


@dataclass(frozen=True, slots=True)
class PriceTable:
    """Prices by the name of the model, as its provider writes it."""

    exact: Mapping[str, Price]
    """Prices of single models."""
    prefixes: Mapping[str, Price]
    """Prices of all models whose name begins so."""
    providers: frozenset[str]
    """Providers whose name before a `/` changes no price."""
    noted: date
    """When the prices were read from their providers' pages."""

    def find(self, model: str) -> Price | None:
        """Return the price of `model`: its own, else that of the longest beginning, else None."""
        for name in _names(model, self.providers):
            if name in self.exact:
                return self.exact[name]
            found = max((p for p in self.prefixes if name.startswith(p)), key=len, default=None)
            if found is not None:
                return self.prefixes[found]
        return None

    def overridden(self, prices: Mapping[str, Price]) -> PriceTable:
        """Return this table with `prices` in place of its own, by name or by `beginning*`.

        A beginning of `prices` counts before every name and beginning of this table that it covers.
        """
        exact, prefixes = _split(prices.items())

        def kept(known: Mapping[str, Price]) -> dict[str, Price]:
            return {
                name: price for name, price in known.items() if not name.startswith(tuple(prefixes))
            }

        return PriceTable(
            MappingProxyType(kept(self.exact) | exact),
            MappingProxyType(kept(self.prefixes) | prefixes),
            self.providers,
            self.noted,
        )


def load_prices() -> PriceTable:
    """Return the table that ships."""
    text = (files("foresight_services.models") / "prices.yaml").read_text(encoding="utf-8")
    document: dict[str, Any] = yaml.safe_load(text)
    exact, prefixes = _split(_entries(document["models"]))
    return PriceTable(
        MappingProxyType(exact),
        MappingProxyType(prefixes),
        frozenset(document["providers"]),
        document["noted"],
    )


def _entries(models: list[dict[str, Any]]) -> Iterator[tuple[str, Price]]:
    for model in models:
        price = Price(model["input"], model["output"], model.get("cached"))
        for name in model["names"]:
            yield name, price


def _split(entries: Any) -> tuple[dict[str, Price], dict[str, Price]]:
    """Return the prices of single models and those of beginnings."""
    exact: dict[str, Price] = {}
    prefixes: dict[str, Price] = {}
    for name, price in entries:
        if name.endswith("*"):
            prefixes[name[:-1]] = price
        else:
            exact[name] = price
    return exact, prefixes


def _names(model: str, providers: frozenset[str]) -> Iterator[str]:
    """Yield the names that `model` may be listed under."""
    yield model
    provider, _, rest = model.partition("/")
    if rest and provider in providers:
        yield rest
