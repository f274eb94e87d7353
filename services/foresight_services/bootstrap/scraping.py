"""The endpoint that Prometheus scrapes."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from foresight_services.core.errors import InvalidInput, Violation
from foresight_services.telemetry.prometheus import MetricsEndpoint


def metrics_endpoint(registry: CollectorRegistry, address: str) -> MetricsEndpoint:
    """Serve `registry` on `address`.

    Raises:
        InvalidInput: where the address cannot be listened on.
    """
    try:
        return MetricsEndpoint(registry, address)
    except (OSError, OverflowError) as error:
        problem = f"cannot listen on {address}: {error}"
        raise InvalidInput((Violation("metrics", problem),)) from error
