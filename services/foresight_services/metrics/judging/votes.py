"""Ask a judge the same several times and join what it says (self-consistency)."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from foresight_services.core.errors import DomainError, error_from
from foresight_services.core.future import Score, Verdict
from foresight_services.core.subject import Subject
from foresight_services.metrics.judging.judge import Answer, Judge, Question

MAX_VOTES: Final = 16

FAILED_VOTES: Final = "failed_votes"
"""Name of the number of votes that failed, among the parts of a score with more than one vote."""


@dataclass(frozen=True, slots=True)
class Poll:
    """What the votes were."""

    votes: tuple[tuple[Answer, ...], ...]
    """The votes that succeeded: for each the answers to the questions, in their order."""
    failed: int
    """How many failed."""

    def score(
        self,
        values: Sequence[float],
        verdicts: Sequence[Verdict],
        parts: Mapping[str, float] = MappingProxyType({}),
    ) -> Score:
        """Return the mean of the votes' `values`, with their sample standard deviation."""
        asked = len(self.votes) + self.failed
        counted = {FAILED_VOTES: float(self.failed)} if asked > 1 else {}
        spread = statistics.stdev(values) if len(values) > 1 else None
        return Score(
            statistics.fmean(values),
            spread,
            tuple(verdicts),
            MappingProxyType({**parts, **counted}),
        )


async def poll(
    judge: Judge, questions: Sequence[Question], subject: Subject, *, votes: int
) -> Poll:
    """Ask all `questions` for each of `votes` votes, all at once, each vote with its own seed.

    A vote fails where an answer of it does. Failed votes are left out as long as more than half of
    them succeed.

    Raises:
        DomainError: the first failure, where half or more of the votes failed.
    """
    if votes == len(questions) == 1:  # as nearly always; a task would cost as much as the asking
        return Poll(((await judge.ask(questions[0], subject, vote=0),),), 0)
    outcomes = await asyncio.gather(
        *(judge.ask(question, subject, vote=n) for n in range(votes) for question in questions),
        return_exceptions=True,
    )
    failures: list[DomainError] = []
    for outcome in outcomes:
        if isinstance(outcome, DomainError):
            failures.append(outcome)
        elif isinstance(outcome, BaseException):
            # No failure of the vote's own, but a cancellation or a defect: it is not outvoted.
            raise outcome
    each = len(questions)
    cast = (outcomes[start : start + each] for start in range(0, len(outcomes), each))
    whole = tuple(
        answers
        for vote in cast
        if len(answers := tuple(one for one in vote if isinstance(one, Answer))) == each
    )
    if len(whole) * 2 <= votes:
        raise _lost(failures[0], failed=votes - len(whole), votes=votes)
    return Poll(whole, votes - len(whole))


def _lost(error: DomainError, *, failed: int, votes: int) -> DomainError:
    """Return `error`, which tells how many votes failed where there were several."""
    if votes == 1:
        return error
    failure = error.failure
    counted = {FAILED_VOTES: str(failed), "votes": str(votes)}
    return error_from(replace(failure, metadata={**failure.metadata, **counted}))
