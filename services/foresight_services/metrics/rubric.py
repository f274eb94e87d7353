"""Criteria of the caller's own, all judged in one call."""

from __future__ import annotations

import math
import statistics
from dataclasses import replace
from typing import Final

from foresight_services.core.errors import InvalidInput
from foresight_services.core.future import EvaluationSetup, MetricInfo, Score, Verdict
from foresight_services.core.objective import MetricSpec, Range
from foresight_services.core.subject import Subject
from foresight_services.metrics.artifact import wanted_by
from foresight_services.metrics.definition import Definition, Parameter
from foresight_services.metrics.judging.criteria import as_text, read_criteria
from foresight_services.metrics.judging.judge import Answer, Question
from foresight_services.metrics.judging.judged import VOTES, judge_for, votes_of
from foresight_services.metrics.judging.prompted import NOTHING
from foresight_services.metrics.judging.votes import poll
from foresight_services.metrics.tools import Tools


class Rubric:
    """Weighted mean of the scores by the caller's criteria, each mapped to 0..1 by its range.

    Range: 0 to 1; more is better, so a criterion's high end must be its good one. Unit: none.
    Inputs: the criteria, the goal of the future, the complete conversation, and the artifact where
    one is named. Parts: the mean of every criterion over the votes, in its own range. Calls of the
    judge: one for every vote. Source: none in CollabLLM 0.0.8; its verl recipe takes the mean of
    three such criteria for interactivity.
    """

    def __init__(self, spec: MetricSpec, setup: EvaluationSetup, tools: Tools) -> None:
        """Check the criteria and that the judge can be asked."""
        del setup
        criteria, violations = read_criteria(
            spec.parameters.get("criteria"), "metric.parameters.criteria"
        )
        if violations:
            raise InvalidInput(violations)
        self._criteria = criteria
        self._question = Question(
            "rubric",
            {criterion.name: criterion.range for criterion in criteria},
            {"criteria": as_text(criteria)},
        )
        self._judge = judge_for(self._question, spec, tools)
        self._spec = spec
        self._votes = votes_of(spec)
        self.info = MetricInfo(spec.name, "1", Range(0.0, 1.0), judge_calls=self._votes)

    async def score(self, subject: Subject) -> Score:
        """Ask the judge as often as there are votes; a verdict that lacks a criterion fails."""
        wanted = wanted_by(self._spec, subject.task)
        text = NOTHING if wanted is None else await subject.artifact(wanted)
        question = replace(self._question, fields={**self._question.fields, "completion": text})
        votes = await poll(self._judge, (question,), subject, votes=self._votes)
        answers = [answer for (answer,) in votes.votes]
        values = [self._value(answer) for answer in answers]
        verdicts = [
            Verdict(value, answer.rationale, answer.raw)
            for value, answer in zip(values, answers, strict=True)
        ]
        parts = {
            name: statistics.fmean(answer.scores[name] for answer in answers)
            for name in self._question.scores
        }
        return votes.score(values, verdicts, parts)

    def _value(self, answer: Answer) -> float:
        total = math.fsum(criterion.weight for criterion in self._criteria)
        weighed = (c.weight * c.share(answer.scores[c.name]) for c in self._criteria)
        return math.fsum(weighed) / total


DEFINITION: Final = Definition(
    "rubric",
    Rubric,
    parameters={
        **VOTES,
        "criteria": Parameter(
            "list",
            required=True,
            description="1 to 16 mappings: name, description, low, high, anchors, weight",
        ),
    },
    artifact=True,
    uses=frozenset({"judge"}),
)
