"""The metric `bertscore`: which texts are compared, and how precision and recall become a score."""

from __future__ import annotations

import pytest

from foresight_services.core.conversation import Message
from foresight_services.core.errors import InvalidInput, Precondition, Reason, Upstream
from foresight_services.core.future import EvaluationItem, FutureId, Score
from foresight_services.core.objective import MetricSpec, Range
from foresight_services.core.task import Task
from foresight_services.metrics.bertscore import DEFINITION
from foresight_services.metrics.catalog import Catalog
from foresight_services.metrics.judging.ruled import RuledJudge
from foresight_services.metrics.tokenizers import Tokenizers
from foresight_services.metrics.tools import Tools
from tests.fakes.chat import ScriptedChat
from tests.fakes.evaluation import StubExtractor, evaluation_setup, subject_of
from tests.fakes.reward_model import StubMatcher

LATER = (Message("user", "Tulips."), Message("assistant", "Tulips are red."))
CONVERSATION = EvaluationItem(FutureId(0, 0), "the goal", LATER)
REFERENCE = "Roses are red."


def setup(artifact: str = "", reference: str = REFERENCE):
    return evaluation_setup(
        task=Task(goal="the goal", reference=reference),
        metrics=(MetricSpec("bertscore", artifact=artifact),),
    )


def tools_with(matcher: StubMatcher | None) -> Tools:
    judge = RuledJudge(ScriptedChat(""))
    return Tools(judge=judge, token_counters=Tokenizers({}), bertscore=matcher)


async def scored(precision: float, recall: float, *, artifact: str = "") -> Score:
    text = "Tulips." if artifact else "Tulips are red."
    matcher = StubMatcher({(text, REFERENCE): (precision, recall)})
    tools = tools_with(matcher)
    catalog = Catalog(tools=tools, definitions={"bertscore": DEFINITION})
    (metric,) = await catalog.build(setup(artifact))
    assert matcher.prepared == 1
    assert metric.info.range == Range(-1.0, 1.0)
    extractor = StubExtractor({"poem": "Tulips."})
    return await metric.score(subject_of(setup(artifact), CONVERSATION, extractor=extractor))


async def test_the_last_reply_is_compared_with_the_reference() -> None:
    score = await scored(0.5, 1.0)
    assert score.value == pytest.approx(2 / 3)
    assert score.parts == {"precision": 0.5, "recall": 1.0}


async def test_an_artifact_is_compared_with_the_reference() -> None:
    assert (await scored(0.25, 0.25, artifact="poem")).value == 0.25


@pytest.mark.parametrize(
    ("precision", "recall", "f1"),
    [(0.0, 0.0, 0.0), (0.0, 0.5, 0.0), (1.0, 1.0, 1.0), (-1.0, -1.0, -1.0), (-0.5, -1.0, -2 / 3)],
)
async def test_f1_is_the_harmonic_mean(precision: float, recall: float, f1: float) -> None:
    assert (await scored(precision, recall)).value == pytest.approx(f1)


@pytest.mark.parametrize(("precision", "recall"), [(0.5, -0.5), (-0.1, 0.2)])
async def test_there_is_none_between_opposite_signs(precision: float, recall: float) -> None:
    with pytest.raises(Upstream) as raised:
        await scored(precision, recall)
    assert raised.value.reason is Reason.METRIC_FAILED


async def test_without_an_encoder_the_metric_is_not_available() -> None:
    tools = tools_with(None)
    with pytest.raises(Precondition) as raised:
        await Catalog(tools=tools, definitions={"bertscore": DEFINITION}).build(setup())
    assert raised.value.reason is Reason.METRIC_UNAVAILABLE
    assert raised.value.metadata == {"metric": "bertscore", "needs": "evaluator.bertscore"}


async def test_it_needs_a_reference() -> None:
    tools = tools_with(StubMatcher({}))
    catalog = Catalog(tools=tools, definitions={"bertscore": DEFINITION})
    with pytest.raises(InvalidInput) as raised:
        await catalog.build(setup(reference=" "))
    assert raised.value.violations[0].field == "task.reference"
