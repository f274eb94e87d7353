"""From specs to metrics, and every spec that is wrong."""

from __future__ import annotations

import pytest

from foresight_services.core.errors import InvalidInput, Precondition, Reason, Violation
from foresight_services.core.future import EvaluationSetup, MetricInfo, Score, Wanted
from foresight_services.core.objective import JsonValue, MetricSpec, Range
from foresight_services.core.ports import Metric
from foresight_services.core.subject import Subject
from foresight_services.core.task import Task
from foresight_services.metrics import messages, success, token_amount
from foresight_services.metrics.artifact import METADATA_KEY, scored_text
from foresight_services.metrics.catalog import SHIPPED, Catalog
from foresight_services.metrics.definition import REQUIREMENT, Definition, Parameter
from foresight_services.metrics.judging.ruled import RuledJudge
from foresight_services.metrics.tokenizers import Tokenizers
from foresight_services.metrics.tools import Tools
from tests.fakes.chat import ScriptedChat
from tests.fakes.evaluation import StubExtractor, evaluation_setup, subject_of

TOOLS = Tools(judge=RuledJudge(ScriptedChat('{"success": 1}')), token_counters=Tokenizers({}))


def catalog(*definitions: Definition) -> Catalog:
    return Catalog(tools=TOOLS, definitions={one.name: one for one in definitions})


THREE = catalog(messages.DEFINITION, success.DEFINITION, token_amount.DEFINITION)


class Length:
    """Length of the text that is scored, an extracted one if the spec says so."""

    def __init__(self, spec: MetricSpec, setup: EvaluationSetup, tools: Tools) -> None:
        self.info = MetricInfo("ignored", "ignored", None, judge_calls=1)
        self._spec = spec

    async def score(self, subject: Subject) -> Score:
        return Score(float(len(await scored_text(self._spec, subject))))


LENGTH = Definition("length", Length, version="9", unit="characters", artifact=True)


async def test_metrics_come_in_the_order_of_their_specs_each_with_its_parameters() -> None:
    specs = (
        MetricSpec("token_amount", parameters={"scope": "all", "tokenizer": "words"}),
        MetricSpec("success"),
        MetricSpec("messages"),
    )
    built = await THREE.build(evaluation_setup(metrics=specs))
    assert [metric.info.name for metric in built] == ["token_amount", "success", "messages"]
    (default,) = await THREE.build(evaluation_setup("token_amount"))
    assert built[0].info.range != default.info.range


async def test_one_metric_can_be_applied_twice_under_labels() -> None:
    specs = (
        MetricSpec("token_amount", label="all", parameters={"scope": "all"}),
        MetricSpec("token_amount"),
    )
    one, two = await THREE.build(evaluation_setup(metrics=specs))
    assert (one.info.name, two.info.name) == ("all", "token_amount")
    assert (one.info.metric, two.info.metric) == ("token_amount", "token_amount")
    assert one.info.unit == token_amount.DEFINITION.unit
    assert one.info.direction is token_amount.DEFINITION.direction


def test_every_metric_that_ships_is_known_by_its_own_name_and_has_a_version() -> None:
    assert {"messages", "success", "token_amount"} <= set(SHIPPED)
    for name, definition in SHIPPED.items():
        assert definition.name == name
        assert definition.version


def test_every_choice_of_every_parameter_that_ships_is_accepted() -> None:
    setup = evaluation_setup(task=Task(goal="a goal", reference="a reference"))
    for name, definition in SHIPPED.items():
        for key, parameter in definition.all_parameters.items():
            for value in parameter.choices:
                spec = MetricSpec(name, parameters={key: value})
                wrong = [v.field for v in definition.violations("here", spec, setup)]
                assert f"here.parameters.{key}" not in wrong, (name, value)


async def test_everything_that_is_wrong_is_told_at_once() -> None:
    needy = Definition("needy", Length, needs_reference=True)
    known = catalog(messages.DEFINITION, success.DEFINITION, token_amount.DEFINITION, needy)
    specs = (
        MetricSpec("sucess"),
        MetricSpec("messages", artifact="answer", parameters={"scope": "all"}),
        MetricSpec("token_amount", parameters={"scop": "all", "scope": "al", "tokenizer": 1.0}),
        MetricSpec("needy"),
        MetricSpec("needy", label="again"),
    )
    with pytest.raises(InvalidInput) as refused:
        await known.build(evaluation_setup(metrics=specs))
    found = {v.field: v.description for v in refused.value.violations}
    assert len(found) == len(refused.value.violations)
    assert found["metrics[0].name"].startswith("unknown 'sucess'; did you mean 'success'? (known: ")
    assert found["metrics[1].artifact"] == "'messages' scores the conversation itself"
    assert found["metrics[1].parameters.scope"] == "takes no parameters"
    assert found["metrics[2].parameters.scop"].startswith("unknown 'scop'; did you mean 'scope'?")
    assert found["metrics[2].parameters.scope"].startswith("unknown 'al'; did you mean 'all'?")
    assert "metrics[2].parameters.tokenizer" in found
    assert found["task.reference"] == "is empty; the metric 'needy' needs it"
    assert len(found) == 7


PARAMETERS = {
    "text": Parameter(),
    "choice": Parameter(choices=("a", "b")),
    "number": Parameter("number", low=0.0, high=1.0),
    "integer": Parameter("integer", low=1),
    "flag": Parameter("flag"),
    "list": Parameter("list"),
    "mapping": Parameter("mapping"),
}


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("text", "x", None),
        ("text", 1.0, "must be a text"),
        ("choice", "b", None),
        ("choice", "c", "unknown 'c' (known: a, b)"),
        ("choice", True, "must be one of ('a', 'b')"),
        ("number", 0.0, None),
        ("number", 1.5, "is 1.5; must be at least 0 and at most 1"),
        ("number", float("nan"), "must be a number"),
        ("number", True, "must be a number"),
        ("number", "1", "must be a number"),
        ("integer", 3.0, None),
        ("integer", 0.0, "is 0; must be at least 1"),
        ("integer", 1.5, "is 1.5; must be a whole number"),
        ("flag", False, None),
        ("flag", 1.0, "must be true or false"),
        ("list", ["x", 1.0], None),
        ("list", "x", "must be a list"),
        ("mapping", {"x": [None]}, None),
        ("mapping", ["x"], "must be a mapping"),
    ],
)
async def test_parameters_are_checked_before_the_metric_is_made(
    key: str, value: JsonValue, problem: str | None
) -> None:
    known = catalog(Definition("free", Length, parameters=PARAMETERS))
    setup = evaluation_setup(metrics=(MetricSpec("free", parameters={key: value}),))
    if problem is None:
        assert len(await known.build(setup)) == 1
        return
    with pytest.raises(InvalidInput) as refused:
        await known.build(setup)
    (found,) = refused.value.violations
    assert found == Violation(f"metrics[0].parameters.{key}", problem)


async def test_a_required_parameter_must_be_given() -> None:
    known = catalog(Definition("free", Length, parameters={"x": Parameter(required=True)}))
    with pytest.raises(InvalidInput, match=r"metrics\[0\]\.parameters\.x: is missing"):
        await known.build(evaluation_setup("free"))


async def test_no_metric_is_refused() -> None:
    with pytest.raises(InvalidInput) as refused:
        await THREE.build(evaluation_setup(metrics=()))
    assert [v.field for v in refused.value.violations] == ["metrics"]


async def test_what_a_metric_refuses_is_told_by_its_place() -> None:
    def refuse(spec: MetricSpec, setup: EvaluationSetup, tools: Tools) -> Metric:
        raise InvalidInput(
            (Violation("metric.parameters.x", "is odd"), Violation("task.goal", "is empty"))
        )

    known = catalog(messages.DEFINITION, Definition("picky", refuse))
    with pytest.raises(InvalidInput) as refused:
        await known.build(evaluation_setup("messages", "picky"))
    assert [v.field for v in refused.value.violations] == ["metrics[1].parameters.x", "task.goal"]


async def test_a_metric_gets_ready_before_it_scores_and_may_lack_something() -> None:
    class Lacking(Length):
        async def prepare(self) -> None:
            raise Precondition(Reason.METRIC_UNAVAILABLE, "no sandbox")

    with pytest.raises(Precondition, match="no sandbox"):
        await catalog(Definition("lacking", Lacking)).build(evaluation_setup("lacking"))


async def test_metrics_of_one_artifact_pay_for_one_extraction() -> None:
    specs = (
        MetricSpec("length", artifact="answer"),
        MetricSpec("length", artifact="answer", label="same"),
        MetricSpec("length", artifact="answer", label="other", parameters={REQUIREMENT: "short"}),
        MetricSpec("length", label="whole"),
    )
    setup = evaluation_setup(metrics=specs)
    built = await catalog(LENGTH).build(setup)
    assert [metric.info.judge_calls for metric in built] == [2, 1, 2, 1]
    assert (built[0].info.version, built[0].info.unit) == ("9", "characters")
    extractor = StubExtractor({"answer": "42"})
    async with subject_of(setup, extractor=extractor) as subject:
        found = [(await metric.score(subject)).value for metric in built]
    assert found == [2.0, 2.0, 2.0, float(len("Sure."))]
    assert extractor.asked == [Wanted("answer"), Wanted("answer", "short")]


async def test_a_task_can_say_what_an_extraction_has_to_meet() -> None:
    task = Task(goal="g", metadata={METADATA_KEY: "with a title"})
    spec = MetricSpec("length", artifact="essay")
    setup = evaluation_setup(task=task, metrics=(spec,))
    extractor = StubExtractor({"essay": "Once"})
    async with subject_of(setup, extractor=extractor) as subject:
        assert await scored_text(spec, subject) == "Once"
    assert extractor.asked == [Wanted("essay", "with a title")]


async def test_a_range_is_the_metrics_own() -> None:
    (metric,) = await THREE.build(evaluation_setup("messages", horizon_messages=6))
    assert metric.info.range == Range(1.0, 7.0)


async def test_a_metric_may_tell_another_unit_than_its_usual_one() -> None:
    specs = (
        MetricSpec("token_amount", parameters={"tokenizer": "words"}),
        MetricSpec("token_amount", label="t", parameters={"tokenizer": "words", "unit": "token"}),
    )
    usual, own = await THREE.build(evaluation_setup(metrics=specs))
    assert (usual.info.unit, own.info.unit) == ("thousand tokens", "tokens")
