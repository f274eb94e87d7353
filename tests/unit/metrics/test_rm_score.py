"""The metric `rm_score`: which model scores which messages, and within which bounds."""

from __future__ import annotations

import math
from typing import Any

import pytest

from foresight_services.core.conversation import Message
from foresight_services.core.errors import DomainError, InvalidInput, Precondition, Reason
from foresight_services.core.future import Direction, EvaluationItem, FutureId, Score
from foresight_services.core.objective import MetricSpec, Range
from foresight_services.core.ports import Metric
from foresight_services.metrics.catalog import Catalog
from foresight_services.metrics.judging.ruled import RuledJudge
from foresight_services.metrics.rm_score import DEFINITION
from foresight_services.metrics.tokenizers import Tokenizers
from foresight_services.metrics.tools import Tools
from tests.fakes.chat import ScriptedChat
from tests.fakes.evaluation import evaluation_setup, make_evaluation, subject_of
from tests.fakes.reward_model import StubRewardModel

SYSTEM = Message("system", "Be brief.")
EARLIER = (Message("user", "Hi."), Message("assistant", "Hello. What is it about?"))
ASKED = Message("user", "A poem.")
CANDIDATE = Message("assistant", "About what?")
LATER = (Message("user", "Tulips."), Message("assistant", "Tulips are red."))
CONVERSATION = EvaluationItem(FutureId(0, 0), "the goal", LATER)


def catalog(**models: StubRewardModel) -> Catalog:
    judge = RuledJudge(ScriptedChat(""))
    tools = Tools(judge=judge, token_counters=Tokenizers({}), reward_models=models)
    return Catalog(tools=tools, definitions={"rm_score": DEFINITION})


def setup(**parameters: Any):
    return evaluation_setup(
        prefix=(SYSTEM, *EARLIER, ASKED),
        candidates=(CANDIDATE.content,),
        metrics=(MetricSpec("rm_score", parameters=parameters),),
    )


async def build(models: dict[str, StubRewardModel], **parameters: Any) -> Metric:
    (metric,) = await catalog(**models).build(setup(**parameters))
    return metric


async def scored(model: StubRewardModel, **parameters: Any) -> Score:
    metric = await build({"rm": model}, **parameters)
    return await metric.score(subject_of(setup(**parameters), CONVERSATION))


async def test_the_score_is_the_logit_of_the_complete_conversation() -> None:
    model = StubRewardModel(-7.25)
    assert await scored(model) == Score(-7.25)
    assert model.seen == [(SYSTEM, *EARLIER, ASKED, CANDIDATE, *LATER)]


async def test_the_scope_future_begins_with_the_message_that_the_candidate_answers() -> None:
    model = StubRewardModel(1.0)
    await scored(model, scope="future")
    assert model.seen == [(ASKED, CANDIDATE, *LATER)]


async def test_without_bounds_there_is_no_range() -> None:
    info = (await build({"rm": StubRewardModel()})).info
    assert (info.range, info.unit, info.direction) == (None, "logit", Direction.MORE)


@pytest.mark.parametrize(("logit", "value"), [(-9.0, -2.0), (0.5, 0.5), (9.0, 3.0)])
async def test_bounds_clip_and_give_a_range(logit: float, value: float) -> None:
    bounds = {"low": -2, "high": 3}
    assert (await build({"rm": StubRewardModel()}, **bounds)).info.range == Range(-2.0, 3.0)
    assert await scored(StubRewardModel(logit), **bounds) == Score(value, parts={"logit": logit})


@pytest.mark.parametrize("logit", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("bounds", [{}, {"low": -2.0, "high": 3.0}])
async def test_what_is_no_number_is_no_score_and_is_not_clipped_to_one(logit, bounds) -> None:
    evaluation = make_evaluation(catalog=catalog(rm=StubRewardModel(logit)))
    async with evaluation.open(setup(**bounds)) as session:
        (score,) = (await session.score(CONVERSATION)).scores
    assert not isinstance(score.outcome, float)
    assert score.outcome.reason is Reason.METRIC_FAILED


async def test_the_model_is_prepared_before_the_metric_is_used() -> None:
    model = StubRewardModel()
    await build({"rm": model})
    assert model.prepared == 1


async def test_the_model_that_is_named_scores() -> None:
    models = {"kind": StubRewardModel(1.0), "safe": StubRewardModel(2.0)}
    metric = await build(models, model="safe")
    assert await metric.score(subject_of(setup(), CONVERSATION)) == Score(2.0)
    assert models["kind"].prepared == 0


@pytest.mark.parametrize(
    ("parameters", "field", "told"),
    [
        ({"model": "saef"}, "model", "did you mean 'safe'? (known: kind, safe)"),
        ({}, "model", "name one of kind, safe"),
        ({"model": "kind", "low": 1}, "high", "both low and high"),
        ({"model": "kind", "high": 1}, "low", "both low and high"),
        ({"model": "kind", "low": 1, "high": 1}, "high", "more than low"),
        ({"model": "kind", "low": -math.inf, "high": 1}, "high", "finite"),
        ({"model": "kind", "scope": "assistant"}, "scope", "known: all, future"),
    ],
)
async def test_wrong_parameters_are_named(parameters, field: str, told: str) -> None:
    models = {"kind": StubRewardModel(), "safe": StubRewardModel()}
    with pytest.raises(InvalidInput) as raised:
        await build(models, **parameters)
    (violation,) = raised.value.violations
    assert violation.field == f"metrics[0].parameters.{field}"
    assert told in violation.description


async def test_without_a_model_the_metric_is_not_available() -> None:
    with pytest.raises(Precondition) as raised:
        await build({})
    error: DomainError = raised.value
    assert error.reason is Reason.METRIC_UNAVAILABLE
    assert error.metadata == {"metric": "rm_score", "needs": "evaluator.reward_models"}
