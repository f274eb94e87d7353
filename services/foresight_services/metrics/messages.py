"""How many messages a conversation took."""

from __future__ import annotations

from typing import ClassVar

from foresight_services.core.future import EvaluationItem, EvaluationSetup, MetricInfo
from foresight_services.core.objective import MetricSpec, Range
from foresight_services.core.ports import ChatModel
from foresight_services.core.usage import Ledger


class Messages:
    """Messages used from the candidate on, the candidate included; fewer is better.

    Unit: messages, from 1 to 1 + horizon. Inputs: the future.
    """

    name: ClassVar[str] = "messages"

    def __init__(self, spec: MetricSpec, setup: EvaluationSetup, judge: ChatModel) -> None:
        del spec, judge
        self._horizon = setup.horizon_messages

    @property
    def info(self) -> MetricInfo:
        """Name, version and range."""
        return MetricInfo(self.name, "1", Range(1.0, 1.0 + self._horizon))

    async def score(self, item: EvaluationItem, ledger: Ledger) -> float:
        """Count the candidate and the messages after it."""
        return 1.0 + len(item.messages)
