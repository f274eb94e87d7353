"""Whether what the assistant delivers is better than a baseline."""

from __future__ import annotations

from typing import Final

from foresight_services.core.errors import InvalidInput, Violation
from foresight_services.core.future import EvaluationSetup, MetricInfo, Score
from foresight_services.core.objective import MetricSpec, Range
from foresight_services.core.subject import Subject
from foresight_services.metrics.artifact import scored_text
from foresight_services.metrics.definition import Definition, Parameter
from foresight_services.metrics.judging.judge import Question
from foresight_services.metrics.judging.judged import VOTES, judge_for, votes_of
from foresight_services.metrics.judging.pairwise import compare
from foresight_services.metrics.tools import Tools

METADATA_KEY: Final = "baseline"
"""Where a task has the text to compare with, for `against: baseline`."""

_QUESTION: Final = Question("preference", {"preference": Range(0.0, 1.0)})


class Preference:
    """Degree to which the judge prefers the text to a baseline: 1 better, 0.5 tie, 0 worse.

    Range: 0 to 1; more is better. Unit: none. Inputs: the artifact, else the last message of the
    assistant; the task's reference or, with `against: baseline`, its metadata `baseline`; the
    conversation. Both orders are asked for and their mean counts; the part `position_bias` is their
    difference. Calls of the judge: two for every vote. Source: none in CollabLLM, whose online DPO
    compares candidates by their rewards.
    """

    def __init__(self, spec: MetricSpec, setup: EvaluationSetup, tools: Tools) -> None:
        """Check that there is a baseline and that the judge can be asked."""
        against_baseline = spec.parameters.get("against") == METADATA_KEY
        task = setup.task
        self._baseline = task.metadata.get(METADATA_KEY, "") if against_baseline else task.reference
        if not self._baseline.strip():
            field = f"task.metadata.{METADATA_KEY}" if against_baseline else "task.reference"
            problem = f"is empty; the metric {spec.name!r} compares with it"
            raise InvalidInput((Violation(field, problem),))
        self._judge = judge_for(_QUESTION, spec, tools)
        self._spec = spec
        self._votes = votes_of(spec)
        self.info = MetricInfo(
            spec.name, "1", _QUESTION.scores["preference"], judge_calls=2 * self._votes
        )

    async def score(self, subject: Subject) -> Score:
        """Ask the judge in both orders as often as there are votes."""
        text = await scored_text(self._spec, subject)
        return await compare(
            self._judge,
            _QUESTION,
            subject,
            scored=text,
            baseline=self._baseline,
            votes=self._votes,
        )


DEFINITION: Final = Definition(
    "preference",
    Preference,
    parameters={
        **VOTES,
        "against": Parameter(
            choices=("reference", METADATA_KEY),
            default="reference",
            description="what to compare with: the task's reference, or its metadata `baseline`",
        ),
    },
    artifact=True,
    uses=frozenset({"judge"}),
)
