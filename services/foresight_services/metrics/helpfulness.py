"""How much the assistant's messages help the user."""

from __future__ import annotations

from typing import Final

from foresight_services.core.objective import Range
from foresight_services.metrics.definition import Definition
from foresight_services.metrics.judging.judge import Question
from foresight_services.metrics.judging.judged import VOTES, Judged


class Helpfulness(Judged):
    """Degree to which the assistant's messages are of use to the user; more is better.

    Range: 0 to 1, with anchors at 0, 0.5 and 1. Unit: none. Inputs: the complete conversation and
    the goal of its future. Source: the 0 to 1 helpfulness judge of CollabLLM's code at the time of
    the paper, used in its ablation of the reward; the release leaves it out.
    """

    question = Question("helpfulness", {"helpfulness": Range(0.0, 1.0)})


DEFINITION: Final = Definition(
    "helpfulness", Helpfulness, parameters=VOTES, uses=frozenset({"judge"})
)
