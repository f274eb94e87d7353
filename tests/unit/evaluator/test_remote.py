"""An evaluator that does not keep to the contract: what it says is never taken for a score."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest

from foresight.v1 import conversation_pb2, metric_pb2
from foresight.v1 import evaluator_service_pb2 as pb
from foresight.v1 import evaluator_service_pb2_grpc as pb_grpc
from foresight_services.core.errors import Failure, Reason, Upstream
from foresight_services.core.ports import Evaluator
from foresight_services.evaluator.remote import RemoteEvaluator
from foresight_services.rpc.channel import Peer
from foresight_services.rpc.server import Registration
from tests.fakes.evaluation import evaluation_setup, item
from tests.fakes.servers import serving
from tests.fakes.virtual_time import LoopClock

Scores = Callable[[pb.ConversationScores], None]


class Told(pb_grpc.EvaluatorServiceServicer):
    """Answers what a test wants."""

    def __init__(self, infos: list[metric_pb2.MetricInfo], scores: Scores | None) -> None:
        self._infos = infos
        self._scores = scores

    async def Evaluate(
        self, request_iterator: AsyncIterator[pb.EvaluateRequest], context: object
    ) -> AsyncIterator[pb.EvaluateResponse]:
        """Say that it is ready, then answer conversations, or end."""
        await anext(request_iterator)
        yield pb.EvaluateResponse(ready=pb.EvaluationReady(metrics=self._infos))
        async for request in request_iterator:
            if self._scores is None:
                return
            which = request.conversation
            answer = pb.ConversationScores(
                candidate_index=which.candidate_index, sample_index=which.sample_index
            )
            self._scores(answer)
            yield pb.EvaluateResponse(scores=answer)


@asynccontextmanager
async def evaluator(
    infos: list[metric_pb2.MetricInfo], scores: Scores | None = None
) -> AsyncIterator[Evaluator]:
    add = partial(pb_grpc.add_EvaluatorServiceServicer_to_server, Told(infos, scores))
    async with serving(Registration("foresight.v1.EvaluatorService", add)) as channel:
        yield RemoteEvaluator(Peer("evaluator", channel), LoopClock())


def info(
    name: str, low: float = 0.0, high: float = 1.0, judge_calls: int = 0
) -> metric_pb2.MetricInfo:
    values = conversation_pb2.ValueRange(min=low, max=high)
    return metric_pb2.MetricInfo(name=name, version="1", range=values, judge_calls=judge_calls)


@pytest.mark.parametrize(
    ("infos", "problem"),
    [
        ([info("a")], "did not accept the metrics of the setup one by one"),
        ([info("b"), info("a")], "did not accept the metrics of the setup one by one"),
        ([info("a"), info("b"), info("b")], "did not accept the metrics of the setup one by one"),
        ([info("a"), info("b", 1.0, 0.0)], "told no valid range"),
        ([info("a"), info("b", math.nan, 1.0)], "told no valid range"),
        ([info("a"), info("b", 0.0, math.inf)], "told no valid range"),
        ([info("a"), info("b", judge_calls=-1)], "told no valid range or number of judge calls"),
    ],
    ids=["few", "order", "many", "ends", "nan", "infinite", "calls"],
)
async def test_a_wrong_answer_to_the_setup_is_refused(
    infos: list[metric_pb2.MetricInfo], problem: str
) -> None:
    async with evaluator(infos) as remote:
        with pytest.raises(Upstream, match=f"the evaluator {problem}") as refused:
            async with remote.open(evaluation_setup("a", "b")):
                pytest.fail("opened")
    assert refused.value.reason is Reason.SERVICE_UNAVAILABLE


def give(*scores: tuple[str, float]) -> Scores:
    def add(answer: pb.ConversationScores) -> None:
        for name, value in scores:
            answer.scores.add(name=name, value=value)

    return add


@pytest.mark.parametrize(
    "scores",
    [give(("a", 0.5)), give(("b", 0.5), ("a", 0.5)), give(("a", 0.5), ("b", 0.5), ("c", 0.5))],
    ids=["few", "order", "many"],
)
async def test_scores_of_other_metrics_are_refused(scores: Scores) -> None:
    async with (
        evaluator([info("a"), info("b")], scores) as remote,
        remote.open(evaluation_setup("a", "b")) as session,
    ):
        with pytest.raises(Upstream, match="did not give one score for every metric") as refused:
            await session.score(item())
    assert refused.value.reason is Reason.SERVICE_UNAVAILABLE


@pytest.mark.parametrize("value", [math.nan, math.inf, -0.5, 1.5], ids=str)
async def test_what_is_no_score_is_a_failure_of_its_metric_alone(value: float) -> None:
    async with (
        evaluator([info("a"), info("b")], give(("a", value), ("b", 0.5))) as remote,
        remote.open(evaluation_setup("a", "b")) as session,
    ):
        bad, fine = (await session.score(item())).scores
    assert fine.outcome == 0.5
    assert isinstance(bad.outcome, Failure)
    assert bad.outcome.reason is Reason.METRIC_FAILED
    assert bad.outcome.message == f"a: scored {value}, expected 0.0 to 1.0"


async def test_a_score_that_is_neither_value_nor_error_is_a_failure() -> None:
    def empty(answer: pb.ConversationScores) -> None:
        answer.scores.add(name="a")

    async with (
        evaluator([info("a")], empty) as remote,
        remote.open(evaluation_setup("a")) as session,
    ):
        (score,) = (await session.score(item())).scores
    assert isinstance(score.outcome, Failure)


async def test_an_end_before_all_is_scored_is_told_to_everybody() -> None:
    async with (
        evaluator([info("a")]) as remote,
        remote.open(evaluation_setup("a")) as session,
    ):
        for sample in range(2):
            with pytest.raises(Upstream, match="the evaluator ended before all was scored"):
                await session.score(item(sample=sample))
