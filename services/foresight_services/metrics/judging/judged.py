"""What metrics that ask a judge have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import ClassVar, Final

from foresight_services.core.errors import InvalidInput, Violation
from foresight_services.core.future import EvaluationSetup, MetricInfo, Score, Verdict
from foresight_services.core.objective import MetricSpec
from foresight_services.core.subject import Subject
from foresight_services.metrics.definition import Parameter
from foresight_services.metrics.judging.judge import Judge, Question, Shown
from foresight_services.metrics.judging.votes import MAX_VOTES, poll
from foresight_services.metrics.tools import Tools

VOTES: Final[Mapping[str, Parameter]] = MappingProxyType(
    {
        "votes": Parameter(
            "integer", low=1, high=MAX_VOTES, default=1, description="times that the judge is asked"
        )
    }
)
"""The parameter of every metric that asks a judge: with more than one vote the score is their mean,
and their standard deviation is reported. At temperature 0 all votes are alike."""


def votes_of(spec: MetricSpec) -> int:
    """Return how many votes `spec`, already checked, asks for."""
    return int(float(str(spec.parameters.get("votes", 1))))


def judge_for(question: Question, spec: MetricSpec, tools: Tools) -> Judge:
    """Return the judge; InvalidInput where it cannot be asked questions like this one."""
    objection = tools.judge.objection(question)
    if objection is not None:
        raise InvalidInput((Violation("metric.name", f"{spec.name!r} {objection}"),))
    return tools.judge


class Judged:
    """A metric whose score is the one number that its judge gives."""

    question: ClassVar[Question]
    """What the judge is asked; its one key has the name of the metric."""

    def __init__(self, spec: MetricSpec, setup: EvaluationSetup, tools: Tools) -> None:
        """Check that the judge can be asked; see Definition.build."""
        del setup
        self._spec = spec
        self._judge = judge_for(self.question, spec, tools)
        self._votes = votes_of(spec)

    @property
    def info(self) -> MetricInfo:
        """Name, version and range."""
        (values,) = self.question.scores.values()
        return MetricInfo(self._spec.name, "1", values, judge_calls=self._votes)

    async def fields(self, subject: Subject) -> Mapping[str, Shown]:
        """Return what this metric adds to its prompts, nothing by default."""
        del subject
        return {}

    async def score(self, subject: Subject) -> Score:
        """Ask the judge as often as there are votes; a verdict without its number fails."""
        question = replace(self.question, fields=await self.fields(subject))
        votes = await poll(self._judge, (question,), subject, votes=self._votes)
        (key,) = question.scores
        verdicts = [Verdict(a.scores[key], a.rationale, a.raw) for (a,) in votes.votes]
        return votes.score([verdict.score for verdict in verdicts], verdicts)
