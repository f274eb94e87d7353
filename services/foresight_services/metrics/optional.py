"""Libraries that only some metrics need."""

from __future__ import annotations

import importlib.util
from typing import Final

from foresight_services.core.errors import Precondition, Reason

METRICS_EXTRA: Final = "metrics"
"""The extra that has the libraries of metrics without a model."""


def require_library(metric: str, module: str, *, extra: str = METRICS_EXTRA) -> None:
    """Check that `module` can be imported, without doing so.

    Raises:
        Precondition: METRIC_UNAVAILABLE, naming the extra that has it.
    """
    if importlib.util.find_spec(module) is None:
        raise missing_library(metric, module, extra=extra)


def missing_library(metric: str, module: str, *, extra: str = METRICS_EXTRA) -> Precondition:
    """Return the error that says which extra has `module`."""
    return Precondition(
        Reason.METRIC_UNAVAILABLE,
        f"{metric!r} needs the library {module!r}: pip install 'foresight[{extra}]'",
        metadata={"metric": metric, "needs": f"foresight[{extra}]"},
    )
