"""Telemetry that remembers."""

from __future__ import annotations

from collections import Counter
from typing import Literal

from foresight_services.core.cache_use import Origin
from foresight_services.core.ports import CachedKind, ModelRole, Stage
from foresight_services.core.usage import ModelUsage


class RecordingTelemetry:
    """Implements the port `Telemetry` and keeps everything it is told."""

    def __init__(self) -> None:
        self.stages: list[tuple[Stage, float]] = []
        self.calls: Counter[tuple[str, str]] = Counter()
        self.spent: dict[str, ModelUsage] = {}
        self.jobs: dict[tuple[str, str], ModelUsage] = {}
        self.futures: Counter[str] = Counter()
        self.rewards: list[tuple[str, float]] = []
        self.cache: Counter[tuple[str, str]] = Counter()
        self.waiting = 0
        self.refused = 0
        self.in_flight = 0
        self.most_in_flight = 0

    def stage_finished(self, stage: Stage, seconds: float) -> None:
        """Keep it."""
        self.stages.append((stage, seconds))

    def model_called(self, role: ModelRole, outcome: Literal["ok", "error"]) -> None:
        """Count it."""
        self.calls[role, outcome] += 1

    def model_spent(self, role: ModelRole, usage: ModelUsage) -> None:
        """Add it up by role."""
        self.spent[role] = self.spent.get(role, ModelUsage()) + usage

    def job_spent(self, job: str, role: str, usage: ModelUsage) -> None:
        """Add it up by job and role."""
        self.jobs[job, role] = self.jobs.get((job, role), ModelUsage()) + usage

    def futures_in_flight(self, change: int) -> None:
        """Follow it."""
        self.in_flight += change
        self.most_in_flight = max(self.most_in_flight, self.in_flight)

    def futures_waiting(self, change: int) -> None:
        """Follow it."""
        self.waiting += change

    def group_refused(self) -> None:
        """Count it."""
        self.refused += 1

    def future_finished(self, status: str) -> None:
        """Count it."""
        self.futures[status] += 1

    def reward_finished(self, status: str, seconds: float) -> None:
        """Keep it."""
        self.rewards.append((status, seconds))

    def cache_answered(self, kind: CachedKind, origin: Origin, count: int) -> None:
        """Count it."""
        self.cache[kind, origin] += count
