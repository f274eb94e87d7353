"""How a request uses what is remembered, and what came of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class CacheMode(StrEnum):
    """What a request asks of the cache."""

    DEFAULT = "default"
    """Take what is there, share what is in flight, store what was computed."""
    BYPASS = "bypass"
    """Compute everything; neither look nor store."""
    READ_ONLY = "read_only"
    """Take what is there, compute the rest and leave no trace of it."""
    REFRESH = "refresh"
    """Compute everything and store it in place of what is there."""


class Origin(StrEnum):
    """Where a future or a score came from."""

    COMPUTED = "computed"
    """It was computed for this request."""
    FOUND = "found"
    """It was in the cache."""
    SHARED = "shared"
    """Another request was computing it at the time."""


@dataclass(frozen=True, slots=True)
class Origins:
    """How many futures or scores came from where."""

    computed: int = 0
    """Computed for this request."""
    found: int = 0
    """Found in the cache."""
    shared: int = 0
    """Computed by another request at the time."""

    @classmethod
    def of(cls, origins: Iterable[Origin]) -> Origins:
        """Count `origins`."""
        counts = Counter(origins)
        return cls(counts[Origin.COMPUTED], counts[Origin.FOUND], counts[Origin.SHARED])


@dataclass(frozen=True, slots=True)
class CacheUse:
    """What the cache did for a request."""

    futures: Origins = Origins()
    """Of its futures, those that failed included."""
    scores: Origins = Origins()
    """Of its scores, those that failed included."""
