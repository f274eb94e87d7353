"""Which of two texts is better, asked in both orders: judges favour a place as well as a text."""

from __future__ import annotations

import statistics
from dataclasses import replace
from typing import Final

from foresight_services.core.future import Score, Verdict
from foresight_services.core.subject import Subject
from foresight_services.metrics.judging.judge import Judge, Question
from foresight_services.metrics.judging.votes import poll

POSITION_BIAS: Final = "position_bias"
"""Name of the part that tells by how much the judge prefers the same text in the first place,
from -1 to 1; 0 where the order does not matter to it."""


async def compare(
    judge: Judge, question: Question, subject: Subject, *, scored: str, baseline: str, votes: int
) -> Score:
    """Return to what degree `scored` is better than `baseline`: 1 better, 0.5 tie, 0 worse.

    Every vote is two calls, one for each order, and counts where both succeed; its value is their
    mean. The verdicts are both of every vote, each as the degree for `scored`.

    Args:
        judge: who decides.
        question: its one number, from 0 to 1, is the degree to which the text shown in the field
            `first` is better than the one in `second`.
        subject: the conversation.
        scored: the text whose score it is.
        baseline: the text that it is compared with.
        votes: how often both orders are asked for.
    """
    (key,) = question.scores
    orders = tuple(
        replace(question, fields={**question.fields, "first": first, "second": second})
        for first, second in ((scored, baseline), (baseline, scored))
    )
    answers = await poll(judge, orders, subject, votes=votes)
    ahead = [one.scores[key] for one, _ in answers.votes]
    behind = [1.0 - two.scores[key] for _, two in answers.votes]
    verdicts = [
        Verdict(value, answer.rationale, answer.raw)
        for (one, two), first, second in zip(answers.votes, ahead, behind, strict=True)
        for value, answer in ((first, one), (second, two))
    ]
    values = [(first + second) / 2 for first, second in zip(ahead, behind, strict=True)]
    bias = statistics.fmean(first - second for first, second in zip(ahead, behind, strict=True))
    return answers.score(values, verdicts, {POSITION_BIAS: bias})
