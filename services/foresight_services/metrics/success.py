"""Whether the assistant reached the user's goal."""

from __future__ import annotations

from typing import Final

from foresight_services.core.objective import Range
from foresight_services.metrics.definition import Definition
from foresight_services.metrics.judging.judge import Question
from foresight_services.metrics.judging.judged import VOTES, Judged


class Success(Judged):
    """Degree to which the conversation reached the goal; more is better.

    Range: 0 to 1. Unit: none. Inputs: the complete conversation, the goal of its future, and the
    task's reference where it has one, shown to the judge model. In a builtin world the judge is a
    rule: 1 for the thing guessed (20 Questions), the fraction of the needs that matter met by the
    order (groceries). Source: none in CollabLLM, whose task metrics each need their own data.
    """

    question = Question("success", {"success": Range(0.0, 1.0)})


DEFINITION: Final = Definition("success", Success, parameters=VOTES, uses=frozenset({"judge"}))
