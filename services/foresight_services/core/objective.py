"""The objective: how the metric scores of one conversation become one number.

A profile fixes the arithmetic and carries a version, so that a reward can say by which rule it was
made. `release` is CollabLLM 0.0.8 (`collabllm/reward.py`): the weighted sum, without cap, clamp or
normalisation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Protocol

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


@dataclass(frozen=True, slots=True)
class Objective:
    """A profile and the metrics that it joins."""

    profile: str = "release"
    """Name of the profile."""
    metrics: tuple[MetricSpec, ...] = ()
    """Metrics and weights."""


class Profile(Protocol):
    """A rule that joins metric scores."""

    @property
    def name(self) -> str:
        """Name of the profile."""
        ...

    @property
    def version(self) -> str:
        """Version of its definition."""
        ...

    def value(self, weights: Sequence[float], scores: Sequence[float]) -> float:
        """Return the objective of one conversation; both sequences are in the same order."""
        ...

    def value_range(self, weights: Sequence[float], ranges: Sequence[Range | None]) -> Range | None:
        """Return the range of `value`, or None where a metric has none."""
        ...


class Release:
    """The weighted sum of CollabLLM 0.0.8."""

    name: Final = "release"
    version: Final = "1"

    def value(self, weights: Sequence[float], scores: Sequence[float]) -> float:
        """Return the sum of weight times score, exactly rounded."""
        return math.fsum(w * s for w, s in zip(weights, scores, strict=True))

    def value_range(self, weights: Sequence[float], ranges: Sequence[Range | None]) -> Range | None:
        """Return the range of the sum; a metric of weight 0 needs no range."""
        lows: list[float] = []
        highs: list[float] = []
        for weight, values in zip(weights, ranges, strict=True):
            if weight == 0:
                continue
            if values is None:
                return None
            ends = (weight * values.low, weight * values.high)
            lows.append(min(ends))
            highs.append(max(ends))
        return Range(math.fsum(lows), math.fsum(highs))


PROFILES: Final[Mapping[str, Profile]] = MappingProxyType({Release.name: Release()})
"""Every profile by its name."""
