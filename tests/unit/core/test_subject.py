"""What the metrics of one conversation share: artifacts are extracted once and never outlive it."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator

import pytest

from foresight_services.core.errors import Failure, Reason, Upstream
from foresight_services.core.future import Extracted, Wanted
from foresight_services.core.subject import Subject
from tests.fakes.chat import Gates
from tests.fakes.evaluation import (
    StubExtractor,
    StubMetric,
    evaluation_setup,
    item,
    make_evaluation,
    subject_of,
)
from tests.fakes.virtual_time import LoopClock, settle

ANSWER = Wanted("answer")


class GatedExtractor:
    """Extracts once the gate called by the artifact's name is open; fails for `nothing`."""

    def __init__(self) -> None:
        self.gates = Gates()
        self.asked: list[Wanted] = []
        self.cancelled = 0

    async def extract(self, wanted: Wanted, subject: Subject) -> str:
        """Return the artifact's name in capitals."""
        self.asked.append(wanted)
        try:
            await self.gates[wanted.artifact].wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if wanted.artifact == "nothing":
            raise Upstream(Reason.EXTRACTION_FAILED, "nothing there")
        return wanted.artifact.upper()


def gated() -> tuple[Subject, GatedExtractor]:
    extractor = GatedExtractor()
    return subject_of(evaluation_setup(), extractor=extractor), extractor


@pytest.fixture(autouse=True)
async def complaints(clock: LoopClock) -> AsyncIterator[None]:
    """Fail a test that leaves a task, or an error that nobody took, behind."""
    complaints: list[dict[str, object]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    before = asyncio.all_tasks()
    yield
    assert asyncio.all_tasks() <= before | {asyncio.current_task()}
    gc.collect()
    await settle()
    assert complaints == []


async def test_an_artifact_is_extracted_once_however_many_ask() -> None:
    subject, extractor = gated()
    async with subject:
        waiting = [asyncio.create_task(subject.artifact(ANSWER)) for _ in range(3)]
        await settle()
        extractor.gates.open("answer")

        assert await asyncio.gather(*waiting) == ["ANSWER"] * 3
        assert await subject.artifact(Wanted("answer")) == "ANSWER"
    assert extractor.asked == [ANSWER]


async def test_another_artifact_or_requirement_is_another_extraction() -> None:
    subject, extractor = gated()
    extractor.gates.open("answer", "code")
    other = Wanted("answer", "in metres")
    async with subject:
        for wanted in (ANSWER, other, Wanted("code")):
            await subject.artifact(wanted)
        assert subject.extracted == (
            Extracted(ANSWER, "ANSWER"),
            Extracted(other, "ANSWER"),
            Extracted(Wanted("code"), "CODE"),
        )
    assert extractor.asked == [ANSWER, other, Wanted("code")]


async def test_one_that_stops_waiting_takes_the_artifact_from_nobody() -> None:
    subject, extractor = gated()
    async with subject:
        first, second = (asyncio.create_task(subject.artifact(ANSWER)) for _ in range(2))
        await settle()
        first.cancel()
        await settle()
        extractor.gates.open("answer")

        assert await second == "ANSWER"
        assert first.cancelled()
    assert (len(extractor.asked), extractor.cancelled) == (1, 0)


async def test_leaving_ends_extractions_that_run() -> None:
    subject, extractor = gated()
    async with subject:
        waiting = asyncio.create_task(subject.artifact(ANSWER))
        await settle()
        waiting.cancel()
        await settle()
        assert subject.extracted == ()
    assert extractor.cancelled == 1


async def test_leaving_by_an_error_ends_them_too() -> None:
    subject, extractor = gated()
    with pytest.raises(LookupError):
        async with subject:
            waiting = asyncio.create_task(subject.artifact(ANSWER))
            await settle()
            raise LookupError
    assert extractor.cancelled == 1
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_a_failure_that_nobody_waits_for_any_more_is_no_complaint() -> None:
    subject, extractor = gated()
    async with subject:
        waiting = asyncio.create_task(subject.artifact(Wanted("nothing")))
        await settle()
        waiting.cancel()
        await settle()
        extractor.gates.open("nothing")
        await settle()
        (extracted,) = subject.extracted
    assert isinstance(extracted.outcome, Failure)
    assert extracted.outcome.reason is Reason.EXTRACTION_FAILED


async def test_nothing_is_extracted_after_the_scoring() -> None:
    subject, extractor = gated()
    async with subject:
        pass
    with pytest.raises(RuntimeError, match="after the scoring"):
        await subject.artifact(ANSWER)
    assert extractor.asked == []


async def test_a_failed_extraction_fails_every_metric_that_wanted_it_and_no_other() -> None:
    extractor = StubExtractor({"code": "x = 1"})
    metrics = (
        StubMetric("a", 0.5, wants=ANSWER),
        StubMetric("b", 0.5, wants=ANSWER),
        StubMetric("c", 0.5, wants=Wanted("code")),
        StubMetric("d", 0.5),
    )
    evaluation = make_evaluation(*metrics, extractor=extractor)
    async with evaluation.open(evaluation_setup("a", "b", "c", "d")) as session:
        scored = await session.score(item())

    a, b, c, d = (score.outcome for score in scored.scores)
    assert isinstance(a, Failure)
    assert (a.reason, a.metadata) == (Reason.EXTRACTION_FAILED, {"artifact": "answer"})
    assert (b, c, d) == (a, 0.5, 0.5)
    assert extractor.asked == [ANSWER, Wanted("code")]
    assert scored.artifacts == (Extracted(ANSWER, a), Extracted(Wanted("code"), "x = 1"))


async def test_a_cancelled_scoring_ends_its_extraction() -> None:
    extractor = GatedExtractor()
    evaluation = make_evaluation(StubMetric("a", 0.5, wants=ANSWER), extractor=extractor)
    async with evaluation.open(evaluation_setup("a")) as session:
        scoring = asyncio.create_task(session.score(item()))
        await settle()
        scoring.cancel()
        with pytest.raises(asyncio.CancelledError):
            await scoring
        assert extractor.cancelled == 1


async def test_at_the_deadline_the_metrics_fail_and_the_extraction_ends(clock: LoopClock) -> None:
    extractor = GatedExtractor()
    evaluation = make_evaluation(
        StubMetric("a", 0.5, wants=ANSWER), StubMetric("b", 0.5), extractor=extractor
    )
    deadline = clock.now() + 5
    async with evaluation.open(evaluation_setup("a", "b"), deadline=deadline) as session:
        scored = await session.score(item())

    late, early = (score.outcome for score in scored.scores)
    assert isinstance(late, Failure)
    assert late.reason is Reason.DEADLINE_EXCEEDED
    assert early == 0.5
    assert extractor.cancelled == 1
    assert scored.artifacts == ()
