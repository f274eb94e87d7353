"""How well the assistant works together with the user."""

from __future__ import annotations

from typing import Final

from foresight_services.core.objective import Range
from foresight_services.metrics.definition import Definition
from foresight_services.metrics.judging.judge import Question
from foresight_services.metrics.judging.judged import VOTES, Judged


class Interactivity(Judged):
    """Degree to which the assistant engages the user, asks and adapts; more is better.

    Range: 0 to 1, with anchors at 0, 0.5 and 1. Unit: none. Inputs: the complete conversation.
    Source: CollabLLM 0.0.8, `interactivity` of `examples/metrics`; R_LLM in the paper's intrinsic
    reward R_int. The ITR of the paper's tables is on another scale: (x - 2.5) * 2 of a judge that
    gives 1 to 3.
    """

    question = Question("interactivity", {"interactivity": Range(0.0, 1.0)})


DEFINITION: Final = Definition(
    "interactivity", Interactivity, parameters=VOTES, uses=frozenset({"judge"})
)
