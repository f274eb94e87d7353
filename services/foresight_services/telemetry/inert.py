"""Telemetry that goes nowhere, for runs that nobody watches."""

from __future__ import annotations

from typing import Literal

from foresight_services.core.cache_use import Origin
from foresight_services.core.ports import CachedKind, ModelRole, Stage
from foresight_services.core.usage import ModelUsage


class InertTelemetry:
    """Implements the port `Telemetry` and forgets everything."""

    def stage_finished(self, stage: Stage, seconds: float) -> None:
        """Forget it."""

    def model_called(self, role: ModelRole, outcome: Literal["ok", "error"]) -> None:
        """Forget it."""

    def model_spent(self, role: ModelRole, usage: ModelUsage) -> None:
        """Forget it."""

    def job_spent(self, job: str, role: str, usage: ModelUsage) -> None:
        """Forget it."""

    def futures_in_flight(self, change: int) -> None:
        """Forget it."""

    def futures_waiting(self, change: int) -> None:
        """Forget it."""

    def group_refused(self) -> None:
        """Forget it."""

    def future_finished(self, status: str) -> None:
        """Forget it."""

    def reward_finished(self, status: str, seconds: float) -> None:
        """Forget it."""

    def cache_answered(self, kind: CachedKind, origin: Origin, count: int) -> None:
        """Forget it."""
