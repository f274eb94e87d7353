"""The objective: which metrics make a conversation good, and the profile that joins them.

`core/profiles.py` has the profiles, `core/aggregation.py` their arithmetic.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

JsonValue = None | bool | float | str | list["JsonValue"] | Mapping[str, "JsonValue"]
"""A metric parameter as it travels; numbers are doubles."""


@dataclass(frozen=True, slots=True)
class Range:
    """A closed interval of possible values."""

    low: float
    """Least possible value."""
    high: float
    """Greatest possible value."""


@dataclass(frozen=True, slots=True)
class Clamp:
    """Limits that a number is moved to where it lies beyond them."""

    low: float | None = None
    """Least value; None for no limit."""
    high: float | None = None
    """Greatest value; None for no limit."""

    def __call__(self, value: float) -> float:
        """Return `value` within the limits."""
        if self.low is not None and value < self.low:
            return self.low
        return self.high if self.high is not None and value > self.high else value


NO_CLAMP: Final = Clamp()


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """A metric and its weight."""

    name: str
    """Name of the metric."""
    weight: float = 1.0
    """Factor in the objective, sign included; finite."""
    artifact: str = ""
    """What to extract from the conversation before scoring; empty for nothing."""
    parameters: Mapping[str, JsonValue] = field(default_factory=lambda: MappingProxyType({}))
    """The metric's own parameters."""
    label: str = ""
    """Name of this entry in results; empty for the metric's name."""
    normalise: bool = False
    """Whether the score is mapped to 0..1 by the metric's range; profile `custom` only."""
    clamp: Clamp = NO_CLAMP
    """Limits of the weighted score; profile `custom` only."""

    @property
    def title(self) -> str:
        """Name of this entry in results."""
        return self.label or self.name


@dataclass(frozen=True, slots=True)
class Objective:
    """A profile and the metrics that it joins."""

    profile: str = "release"
    """Name of the profile."""
    metrics: tuple[MetricSpec, ...] = ()
    """Metrics and weights."""
    clamp: Clamp = NO_CLAMP
    """Limits of a conversation's objective; profile `custom` only."""
