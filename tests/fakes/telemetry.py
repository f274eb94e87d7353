"""Telemetry that remembers."""

from __future__ import annotations

from collections import Counter
from typing import Literal

from foresight_services.core.ports import ModelRole, Stage


class RecordingTelemetry:
    """Implements the port `Telemetry` and keeps everything it is told."""

    def __init__(self) -> None:
        self.stages: list[tuple[Stage, float]] = []
        self.calls: Counter[tuple[str, str]] = Counter()
        self.futures: Counter[str] = Counter()
        self.rewards: list[tuple[str, float]] = []
        self.in_flight = 0
        self.most_in_flight = 0

    def stage_finished(self, stage: Stage, seconds: float) -> None:
        """Keep it."""
        self.stages.append((stage, seconds))

    def model_called(self, role: ModelRole, outcome: Literal["ok", "error"]) -> None:
        """Count it."""
        self.calls[role, outcome] += 1

    def futures_in_flight(self, change: int) -> None:
        """Follow it."""
        self.in_flight += change
        self.most_in_flight = max(self.most_in_flight, self.in_flight)

    def future_finished(self, status: str) -> None:
        """Count it."""
        self.futures[status] += 1

    def reward_finished(self, status: str, seconds: float) -> None:
        """Keep it."""
        self.rewards.append((status, seconds))
