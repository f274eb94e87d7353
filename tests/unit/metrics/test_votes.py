"""Votes of a judge: their mean, their spread, and how many may fail."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

import pytest

from foresight_services.core.errors import (
    DeadlinePassed,
    DomainError,
    LimitReached,
    Reason,
    Upstream,
)
from foresight_services.core.future import Verdict
from foresight_services.core.objective import Range
from foresight_services.core.subject import Subject
from foresight_services.metrics.judging.judge import Answer, Question
from foresight_services.metrics.judging.votes import Poll, poll
from tests.fakes.evaluation import subject_of
from tests.fakes.judging import ITEM, SETUP
from tests.fakes.virtual_time import LoopClock, settle

QUESTION = Question("q", {"q": Range(0.0, 1.0)})


class Voting:
    """Answers every vote as a function of its number says; implements the port `Judge`."""

    def __init__(self, answer: Callable[[int], float]) -> None:
        self._answer = answer
        self.asked: list[tuple[str, int]] = []
        self.cancelled = 0

    def objection(self, question: Question) -> str | None:
        """Return None."""
        return None

    async def ask(self, question: Question, subject: Subject, *, vote: int = 0) -> Answer:
        """Return or raise what the function says; wait for ever where that is infinite."""
        self.asked.append((question.prompt, vote))
        value = self._answer(vote)
        try:
            await asyncio.sleep(math.inf if value == math.inf else 0)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return Answer({"q": value}, f"r{vote}", f"raw{vote}")


def failing(*votes: int, error: Exception | None = None) -> Callable[[int], float]:
    """Fail these votes; the others are their number."""

    def answer(vote: int) -> float:
        if vote in votes:
            raise error or Upstream(Reason.METRIC_FAILED, f"vote {vote}", metadata={"metric": "q"})
        return float(vote)

    return answer


async def cast(answer: Callable[[int], float], votes: int) -> Poll:
    return await poll(Voting(answer), (QUESTION,), subject_of(SETUP, ITEM), votes=votes)


async def test_votes_are_cast_at_once_and_kept_in_order() -> None:
    judge = Voting(float)

    votes = await poll(judge, (QUESTION,), subject_of(SETUP, ITEM), votes=3)

    assert judge.asked == [("q", 0), ("q", 1), ("q", 2)]
    assert [answer.rationale for (answer,) in votes.votes] == ["r0", "r1", "r2"]
    assert votes.failed == 0


@pytest.mark.parametrize(
    ("votes", "failed"), [(3, (0,)), (5, (1, 3)), (4, (3,)), (16, tuple(range(7)))]
)
async def test_a_minority_may_fail_and_is_counted(votes: int, failed: tuple[int, ...]) -> None:
    polled = await cast(failing(*failed), votes)

    assert polled.failed == len(failed)
    kept = [answer.scores["q"] for (answer,) in polled.votes]
    assert kept == [float(vote) for vote in range(votes) if vote not in failed]
    score = polled.score(kept, [])
    assert score.value == sum(kept) / len(kept)
    assert score.parts == {"failed_votes": float(len(failed))}


@pytest.mark.parametrize(
    ("votes", "failed"), [(2, (1,)), (4, (1, 2)), (3, (1, 2)), (16, tuple(range(1, 9)))]
)
async def test_half_of_the_votes_are_too_few(votes: int, failed: tuple[int, ...]) -> None:
    with pytest.raises(Upstream) as lost:
        await cast(failing(*failed), votes)

    assert lost.value.message == "vote 1"
    assert lost.value.metadata == {
        "metric": "q",
        "failed_votes": str(len(failed)),
        "votes": str(votes),
    }


@pytest.mark.parametrize(
    "error", [LimitReached(Reason.BUDGET_EXHAUSTED, "no money"), DeadlinePassed()]
)
async def test_what_a_lost_score_says_is_what_its_first_vote_said(error: DomainError) -> None:
    with pytest.raises(type(error)) as lost:
        await cast(failing(0, 1, error=error), 2)

    assert lost.value.reason is error.reason


async def test_the_one_vote_that_fails_fails_as_it_is() -> None:
    error = Upstream(Reason.MODEL_FAILED, "down")

    with pytest.raises(Upstream) as lost:
        await cast(failing(0, error=error), 1)

    assert lost.value is error


async def test_a_defect_is_not_outvoted() -> None:
    with pytest.raises(ZeroDivisionError):
        await cast(failing(0, error=ZeroDivisionError()), 5)


async def test_cancelling_the_poll_cancels_its_votes(clock: LoopClock) -> None:
    judge = Voting(lambda vote: math.inf)
    polling = asyncio.create_task(poll(judge, (QUESTION,), subject_of(SETUP, ITEM), votes=3))
    await settle()

    polling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await polling

    assert judge.cancelled == 3


async def test_a_vote_of_several_questions_counts_if_all_are_answered() -> None:
    def answer(vote: int) -> float:
        calls.append(vote)
        if calls == [0, 0]:
            raise Upstream(Reason.METRIC_FAILED, "second question of vote 0")
        return float(vote)

    calls: list[int] = []
    judge = Voting(answer)
    votes = await poll(judge, (QUESTION, QUESTION), subject_of(SETUP, ITEM), votes=3)

    assert calls == [0, 0, 1, 1, 2, 2]
    assert [[a.scores["q"] for a in vote] for vote in votes.votes] == [[1.0, 1.0], [2.0, 2.0]]
    assert votes.failed == 1


def test_a_score_is_the_mean_with_the_sample_standard_deviation() -> None:
    verdicts = [Verdict(value, "", "") for value in (0.0, 0.5, 1.0)]
    answers = tuple((Answer({"q": one.score}, "", ""),) for one in verdicts)

    score = Poll(answers, failed=2).score([0.0, 0.5, 1.0], verdicts, {"x": 3.0})

    assert (score.value, score.spread, score.verdicts) == (0.5, 0.5, tuple(verdicts))
    assert score.parts == {"x": 3.0, "failed_votes": 2.0}


def test_one_vote_has_no_spread_and_counts_nothing() -> None:
    score = Poll(((Answer({"q": 0.3}, "", ""),),), failed=0).score([0.3], [])

    assert (score.value, score.spread, score.parts) == (0.3, None, {})
