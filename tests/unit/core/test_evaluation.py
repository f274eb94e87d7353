"""Scoring conversations: every metric alone, and nothing that is no score passes for one."""

from __future__ import annotations

import asyncio
import logging
import math
from dataclasses import replace
from typing import Any

import pytest

from foresight_services.core.conversation import Message
from foresight_services.core.errors import (
    INTERNAL_MESSAGE,
    Failure,
    Family,
    InvalidInput,
    Reason,
    Upstream,
)
from foresight_services.core.future import (
    ConversationScores,
    Extracted,
    MetricInfo,
    Score,
    Verdict,
    Wanted,
)
from foresight_services.core.objective import Range
from foresight_services.core.usage import Ledger, ModelUsage
from tests.fakes.chat import Gates
from tests.fakes.evaluation import (
    StubExtractor,
    StubMetric,
    evaluation_setup,
    item,
    make_evaluation,
)
from tests.fakes.virtual_time import LoopClock, settle


async def scores(*metrics: StubMetric, deadline: float | None = None) -> ConversationScores:
    evaluation = make_evaluation(*metrics)
    setup = evaluation_setup(*(m.info.name for m in metrics))
    async with evaluation.open(setup, deadline=deadline) as session:
        return await session.score(item())


async def outcome(metric: StubMetric) -> float | Failure:
    (score,) = (await scores(metric)).scores
    assert score.name == metric.info.name
    return score.outcome


async def test_scores_come_in_the_order_of_the_setup(clock: LoopClock) -> None:
    gates = Gates()

    async def late(item, ledger) -> float:
        await gates["late"].wait()
        return 0.25

    scoring = asyncio.ensure_future(scores(StubMetric("late", late), StubMetric("early", 0.5)))
    await settle()
    gates.open("late")
    assert [(s.name, s.outcome) for s in (await scoring).scores] == [("late", 0.25), ("early", 0.5)]


async def test_metrics_of_a_conversation_run_at_once(clock: LoopClock) -> None:
    # Each waits for the other to have begun.
    begun = {"a": asyncio.Event(), "b": asyncio.Event()}

    def metric(own: str, other: str) -> StubMetric:
        async def score(item, ledger) -> float:
            begun[own].set()
            await begun[other].wait()
            return 1.0

        return StubMetric(own, score)

    assert len((await scores(metric("a", "b"), metric("b", "a"))).scores) == 2


async def test_a_failing_metric_costs_its_own_score_alone() -> None:
    error = Upstream(Reason.METRIC_FAILED, "no verdict", metadata={"metric": "bad"})

    def fail(item, ledger) -> float:
        raise error

    result = await scores(StubMetric("good", 0.5), StubMetric("bad", fail), StubMetric("too", 1.0))
    assert [s.outcome for s in result.scores] == [0.5, error.failure, 1.0]


async def test_an_unexpected_error_keeps_its_text_to_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(item, ledger) -> float:
        raise RuntimeError("a secret of the judge")

    with caplog.at_level(logging.ERROR):
        told = await outcome(StubMetric("bad", fail))
    assert told == Failure(Family.INTERNAL, Reason.INTERNAL, INTERNAL_MESSAGE)
    assert "a secret of the judge" in caplog.text


@pytest.mark.parametrize(
    "value", [7.0, -0.5, 1.0 + 1e-6, -1e-6, math.nan, math.inf, -math.inf], ids=str
)
async def test_what_lies_outside_the_range_is_a_failure_and_not_a_number(value: float) -> None:
    told = await outcome(StubMetric("unit", value, Range(0.0, 1.0)))
    assert isinstance(told, Failure)
    assert (told.family, told.reason) == (Family.UPSTREAM, Reason.METRIC_FAILED)
    assert dict(told.metadata) == {"metric": "unit"}
    assert told.message == f"unit: scored {value}, expected 0.0 to 1.0"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf], ids=str)
async def test_a_metric_without_bounds_still_needs_a_finite_score(value: float) -> None:
    told = await outcome(StubMetric("free", value, None))
    assert isinstance(told, Failure)
    assert told.message == f"free: scored {value}, expected a finite number"


@pytest.mark.parametrize(
    ("value", "values"),
    [
        (0.0, Range(0.0, 1.0)),
        (1.0, Range(0.0, 1.0)),
        (1.0 + 1e-12, Range(0.0, 1.0)),
        (-1e149, None),
        (3.0, Range(3.0, 3.0)),
    ],
    ids=str,
)
async def test_ends_of_a_range_and_rounding_beyond_them_are_scores(
    value: float, values: Range | None
) -> None:
    assert await outcome(StubMetric("fine", value, values)) == value


async def test_a_whole_number_becomes_a_float() -> None:
    told = await outcome(StubMetric("count", lambda item, ledger: 1))
    assert (type(told), told) == (float, 1.0)


async def test_at_the_deadline_a_metric_that_has_not_answered_fails(clock: LoopClock) -> None:
    cancelled = asyncio.Event()

    async def slow(item, ledger) -> float:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return 1.0

    start = clock.now()
    result = await scores(StubMetric("slow", slow), StubMetric("fast", 0.5), deadline=start + 5)
    late, fast = (s.outcome for s in result.scores)
    assert isinstance(late, Failure)
    assert (late.family, late.reason) == (Family.DEADLINE, Reason.DEADLINE_EXCEEDED)
    assert fast == 0.5
    assert cancelled.is_set()
    assert clock.now() == pytest.approx(start + 5)
    assert result.usage.seconds == pytest.approx(5)


async def test_the_cost_of_every_metric_is_in_the_usage_also_where_it_failed() -> None:
    def judged(item, ledger: Ledger) -> float:
        ledger.record("judge", ModelUsage(1, 10, 2))
        return 0.5

    def failed(item, ledger: Ledger) -> float:
        ledger.record("judge", ModelUsage(1, 30, 4))
        raise Upstream(Reason.METRIC_FAILED, "no verdict")

    usage = (await scores(StubMetric("a", judged), StubMetric("b", failed))).usage
    assert usage.messages == 0
    assert dict(usage.models) == {"judge": ModelUsage(2, 40, 6)}


async def test_a_session_tells_its_metrics_and_names_its_items() -> None:
    metrics = StubMetric("a", 0.0, Range(-1.0, 2.0), "4"), StubMetric("b", 0.0, None)
    evaluation = make_evaluation(*metrics)
    async with evaluation.open(evaluation_setup("b", "a")) as session:
        assert session.metrics == (
            MetricInfo("b", "1", None),
            MetricInfo("a", "4", Range(-1.0, 2.0)),
        )
        assert (await session.score(item(1, 5))).id == item(1, 5).id


async def test_what_a_score_rests_on_is_reported_with_it() -> None:
    said = Verdict(0.5, "half of it", '{"judged": 0.5}')
    full = Score(0.5, 0.25, (said, said), {"clarity": 1.0})
    (found,) = (await scores(StubMetric("judged", full))).scores
    assert (found.name, found.outcome, found.spread) == ("judged", 0.5, 0.25)
    assert (found.verdicts, dict(found.parts)) == ((said, said), {"clarity": 1.0})


async def test_metrics_that_want_the_same_artifact_share_one_extraction() -> None:
    extractor = StubExtractor({"answer": "42"})
    answer, essay = Wanted("answer"), Wanted("essay", "in English")
    metrics = (
        StubMetric("a", 0.5, wants=answer),
        StubMetric("b", 0.5, wants=answer),
        StubMetric("c", 0.5, wants=essay),
    )
    evaluation = make_evaluation(*metrics, extractor=extractor)
    async with evaluation.open(evaluation_setup("a", "b", "c")) as session:
        result = await session.score(item())
    assert sorted(extractor.asked, key=repr) == sorted([answer, essay], key=repr)
    failed = result.scores[2].outcome
    assert isinstance(failed, Failure)
    assert failed.reason is Reason.EXTRACTION_FAILED
    assert [one.outcome for one in result.scores[:2]] == [0.5, 0.5]
    assert {one.wanted: one.outcome for one in result.artifacts} == {answer: "42", essay: failed}
    assert all(isinstance(one, Extracted) for one in result.artifacts)


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"prefix": ()}, "prefix"),
        ({"candidates": ()}, "candidates"),
        ({"candidates": ("",)}, "candidates[0]"),
        ({"horizon_messages": 65}, "horizon_messages"),
        ({"max_message_tokens": 0}, "max_message_tokens"),
    ],
)
async def test_a_wrong_setup_is_refused_by_field(fields, path: str) -> None:
    evaluation = make_evaluation(StubMetric("a", 0.0))
    with pytest.raises(InvalidInput) as refused:
        async with evaluation.open(evaluation_setup("a", **fields)):
            pass
    assert [v.field for v in refused.value.violations] == [path]


def test_a_complete_conversation_is_prefix_candidate_and_future() -> None:
    setup = evaluation_setup("a")
    future = (Message("user", "thanks"),)
    whole = setup.conversation(type(item())(item(1, 0).id, "goal", future))
    assert whole == (*setup.prefix, Message("assistant", "No."), *future)


@pytest.mark.parametrize("name", ["parts", "spread", "verdicts", "value"])
async def test_numbers_that_cannot_be_reckoned_with_fail_the_score(name: str) -> None:
    wrong: dict[str, Any] = {
        "parts": {"found": math.nan},
        "spread": math.inf,
        "verdicts": (Verdict(math.nan, "", ""),),
        "value": 1e200,
    }
    said = replace(Score(0.5), **{name: wrong[name]})
    metric = StubMetric("odd", lambda item, ledger: said, None)
    async with make_evaluation(metric).open(evaluation_setup("odd")) as session:
        (score,) = (await session.score(item())).scores
    assert isinstance(score.outcome, Failure)
    assert score.outcome.reason is Reason.METRIC_FAILED
