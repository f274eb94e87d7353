"""Whether the answer is right."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from foresight_services.core.objective import Range
from foresight_services.core.subject import Subject
from foresight_services.metrics.artifact import wanted_by
from foresight_services.metrics.definition import Definition
from foresight_services.metrics.judging.judge import Question, Shown
from foresight_services.metrics.judging.judged import VOTES, Judged


class Accuracy(Judged):
    """Whether the judge finds the answer to agree with the task's reference; more is better.

    Range: 0 to 1; the judge is asked for 0 or 1, so other scores are means of votes. Unit: none.
    Inputs: goal and reference, and as the `{completion}` the artifact, else the messages of user
    and assistant in the style of the prompt `accuracy`. Source: CollabLLM 0.0.8,
    `accuracy` of `examples/metrics`, which takes any number for a score.
    """

    question = Question("accuracy", {"accuracy": Range(0.0, 1.0)})

    async def fields(self, subject: Subject) -> Mapping[str, Shown]:
        """Return what is to be checked, and against what, white space around them removed."""
        task = subject.task
        wanted = wanted_by(self._spec, task)
        said: Shown = subject.conversation
        if wanted is not None:
            said = (await subject.artifact(wanted)).strip()
        return {
            "goal": task.goal.strip(),
            "reference": task.reference.strip(),
            "completion": said,
        }


DEFINITION: Final = Definition(
    "accuracy",
    Accuracy,
    parameters=VOTES,
    artifact=True,
    needs_reference=True,
    uses=frozenset({"judge"}),
)
