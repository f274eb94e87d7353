"""What work makes of keys, and what those who wait for them are told."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from foresight_services.core.cache import CacheKey
from foresight_services.core.cache_use import Origin

V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Made(Generic[V]):
    """What work made of one key."""

    key: CacheKey
    """Which key."""
    value: V
    """The value, or what failed, as the caller's domain has it."""
    keep: bool
    """Whether it is complete and may be stored under the key."""
    personal: bool = False
    """Whether it failed for a reason that other callers do not share."""


@dataclass(frozen=True, slots=True)
class Landed(Generic[V]):
    """What became of one key."""

    key: CacheKey
    """Which key."""
    value: V | None
    """The value; None where there is an error."""
    origin: Origin
    """Where it came from, for the caller that is told."""
    error: Exception | None = None
    """Why the work as a whole failed; the same exception for all who waited."""
    personal: bool = False
    """Whether others should try on their own."""


Work = Callable[[tuple[CacheKey, ...]], AsyncGenerator[Made[V], None]]
"""Makes the values of some keys, each once, in any order."""

IsPersonal = Callable[[Exception], bool]
"""Tells whether an error of the work as a whole concerns its maker alone."""
