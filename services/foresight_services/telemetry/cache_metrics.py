"""What Prometheus shows of the cache's store; implements the port `CacheObserver`.

Labels are the fixed sets of `core/cache.py`; namespaces are ours and few.
"""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram

from foresight_services.core.cache import BypassReason, CacheFault, CacheOperation

STORE_BUCKETS: Final = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01),
    *(0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5),
)
"""Seconds from 0.1 ms, an answer on loopback, to beyond any time limit of a call."""


class CacheMetrics:
    """Counters of one process's store."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._lookups = Counter(
            "foresight_cache_lookups",
            "Keys looked up in the store, by namespace and outcome.",
            ["namespace", "outcome"],
            registry=registry,
        )
        self._stored = Counter(
            "foresight_cache_stored",
            "Values that the store took, by namespace.",
            ["namespace"],
            registry=registry,
        )
        self._bytes = Counter(
            "foresight_cache_bytes",
            "Bytes of values read and stored, by namespace.",
            ["namespace", "direction"],
            registry=registry,
        )
        self._bypassed = Counter(
            "foresight_cache_bypassed",
            "Keys for which the store was not asked, by reason and operation.",
            ["reason", "operation"],
            registry=registry,
        )
        self._faults = Counter(
            "foresight_cache_faults",
            "Failures of the store, by kind and operation.",
            ["fault", "operation"],
            registry=registry,
        )
        self._seconds = Histogram(
            "foresight_cache_seconds",
            "Time that the store took for one call, by operation.",
            ["operation"],
            buckets=STORE_BUCKETS,
            registry=registry,
        )

    def looked_up(self, namespace: str, *, hits: int, misses: int, size: int) -> None:
        """Count the keys of a lookup."""
        if hits:
            self._lookups.labels(namespace, "hit").inc(hits)
            self._bytes.labels(namespace, "read").inc(size)
        if misses:
            self._lookups.labels(namespace, "miss").inc(misses)

    def stored(self, namespace: str, *, entries: int, size: int) -> None:
        """Count values that the store took."""
        self._stored.labels(namespace).inc(entries)
        self._bytes.labels(namespace, "stored").inc(size)

    def bypassed(self, reason: BypassReason, operation: CacheOperation, keys: int) -> None:
        """Count keys for which the store was not asked."""
        self._bypassed.labels(reason, operation).inc(keys)

    def failed(self, fault: CacheFault, operation: CacheOperation) -> None:
        """Count a failure."""
        self._faults.labels(fault, operation).inc()

    def took(self, operation: CacheOperation, seconds: float) -> None:
        """Observe how long the store took."""
        self._seconds.labels(operation).observe(seconds)
