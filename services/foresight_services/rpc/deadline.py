"""Deadlines between gRPC, which counts seconds left, and the core, which keeps a point in time."""

from __future__ import annotations

from typing import Any, cast

import grpc.aio

from foresight_services.core.ports import Clock

ServerContext = grpc.aio.ServicerContext[Any, Any]
"""The context of a call, whatever its messages."""


def deadline_of(context: ServerContext, clock: Clock) -> float | None:
    """Return the caller's deadline in the time of `clock`, or None where it set none."""
    # Its type stubs leave out None, which stands for a call without a deadline.
    left = cast(float | None, context.time_remaining())
    return None if left is None else clock.now() + left


def seconds_left(deadline: float | None, clock: Clock) -> float | None:
    """Return the time until `deadline` for a call of our own, at least 0."""
    return None if deadline is None else max(0.0, deadline - clock.now())
