"""How many messages a conversation took."""

from __future__ import annotations

from typing import Final

from foresight_services.core.future import Direction, EvaluationSetup, MetricInfo, Score
from foresight_services.core.objective import MetricSpec, Range
from foresight_services.core.subject import Subject
from foresight_services.metrics.definition import Definition
from foresight_services.metrics.tools import Tools


class Messages:
    """Messages used from the candidate on, the candidate included; fewer is better.

    Unit: messages, from 1 to 1 + horizon. Inputs: the future.
    """

    def __init__(self, spec: MetricSpec, setup: EvaluationSetup, tools: Tools) -> None:
        del spec, tools
        self.info = MetricInfo("messages", "1", Range(1.0, 1.0 + setup.horizon_messages))

    async def score(self, subject: Subject) -> Score:
        """Count the candidate and the messages after it."""
        return Score(1.0 + len(subject.item.messages))


DEFINITION: Final = Definition(
    "messages", Messages, unit="messages", direction=Direction.LESS, uses=frozenset()
)
