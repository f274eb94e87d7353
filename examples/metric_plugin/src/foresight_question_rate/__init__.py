"""The metric `question_rate`: how often the assistant asks something."""

from __future__ import annotations

from typing import Final

from foresight_services.core.future import Direction, EvaluationSetup, MetricInfo, Score
from foresight_services.core.objective import MetricSpec, Range
from foresight_services.core.subject import Subject
from foresight_services.metrics.definition import Definition, Parameter
from foresight_services.metrics.tools import Tools

SCOPES: Final = ("future", "all")


class QuestionRate:
    """Share of the assistant's messages that have a question mark.

    Unit: none, from 0 to 1. Inputs: candidate and future; with `scope: all` the prefix too.
    """

    def __init__(self, spec: MetricSpec, setup: EvaluationSetup, tools: Tools) -> None:
        del tools
        self.info = MetricInfo(spec.name, "1", Range(0.0, 1.0))
        whole = spec.parameters.get("scope", "future") == "all"
        self._start = 0 if whole else len(setup.prefix)

    async def score(self, subject: Subject) -> Score:
        """Return the share; there is always a message, the candidate."""
        messages = subject.conversation[self._start :]
        said = [message.content for message in messages if message.role == "assistant"]
        asked = sum("?" in text for text in said)
        return Score(asked / len(said), parts={"asked": float(asked), "messages": float(len(said))})


DEFINITION: Final = Definition(
    "question_rate",
    QuestionRate,
    direction=Direction.MORE,
    parameters={
        "scope": Parameter(
            choices=SCOPES, description="`future`: from the candidate on; `all`: every message"
        )
    },
)
