"""Metrics of installed packages: which are found and refused, and what their scores may be."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from foresight_services.core.errors import Failure, InvalidInput, Precondition, Reason
from foresight_services.core.evaluation import Evaluation
from foresight_services.core.future import ConversationScores, Verdict
from foresight_services.core.objective import MetricSpec, Range
from foresight_services.metrics import messages
from foresight_services.metrics.catalog import Catalog
from foresight_services.metrics.definition import Definition
from foresight_services.metrics.judging.ruled import RuledJudge
from foresight_services.metrics.plugins import GROUP, load_definitions
from foresight_services.metrics.tokenizers import Tokenizers
from foresight_services.metrics.tools import Tools
from tests.fakes.chat import ScriptedChat
from tests.fakes.evaluation import StubExtractor, evaluation_setup, item
from tests.fakes.virtual_time import LoopClock

SHIPPED: Mapping[str, Definition] = {"messages": messages.DEFINITION}

Install = Callable[..., None]

METRIC = """
from foresight_services.core.future import Direction, MetricInfo, Score, Verdict
from foresight_services.core.objective import Range
from foresight_services.metrics.definition import Definition, Parameter

class Metric:
    def __init__(self, spec, setup, tools):
        self.info = MetricInfo(spec.name, "1", Range(0.0, 1.0))

    async def score(self, subject):
        return Score(0.5)

"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Install packages, each a module and its entry points, where Python finds them."""
    known = set(sys.modules)
    monkeypatch.syspath_prepend(tmp_path)

    def add(package: str, text: str, *, entries: Mapping[str, str] | None = None) -> None:
        (tmp_path / f"{package}.py").write_text(METRIC + text)
        info = tmp_path / f"{package}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n")
        named = entries or {package: "DEFINITION"}
        lines = [f"{name} = {package}:{attribute}" for name, attribute in named.items()]
        (info / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *lines]))

    yield add
    for name in set(sys.modules) - known:
        del sys.modules[name]


def refused() -> list[str]:
    with pytest.raises(InvalidInput) as error:
        load_definitions(SHIPPED, enabled=True)
    assert {v.field for v in error.value.violations} == {"evaluator.plugins"}
    return [v.description for v in error.value.violations]


def evaluation(definitions: Mapping[str, Definition]) -> Evaluation:
    tools = Tools(judge=RuledJudge(ScriptedChat("{}")), token_counters=Tokenizers({}))
    catalog = Catalog(tools=tools, definitions=definitions)
    return Evaluation(catalog=catalog, extractor=StubExtractor(), clock=LoopClock())


async def scored(*names: str) -> ConversationScores:
    """Score one conversation with metrics of installed packages."""
    definitions = load_definitions(SHIPPED, enabled=True)
    async with evaluation(definitions).open(evaluation_setup(*names)) as session:
        return await session.score(item())


async def test_a_package_adds_its_metric(install: Install) -> None:
    install(
        "kindness",
        'DEFINITION = Definition("kindness", Metric, version="3", unit="smiles",'
        ' direction=Direction.LESS, parameters={"depth": Parameter("integer", low=1)})',
    )
    definitions = load_definitions(SHIPPED, enabled=True)
    assert list(definitions) == ["messages", "kindness"]
    setup = evaluation_setup(
        metrics=(MetricSpec("kindness", label="kind", parameters={"depth": 2.0}),)
    )
    async with evaluation(definitions).open(setup) as session:
        (info,) = session.metrics
        assert info.range == Range(0.0, 1.0)
        assert (info.name, info.metric, info.version) == ("kind", "kindness", "3")
        assert (info.unit, info.direction) == ("smiles", "less")
        assert [s.outcome for s in (await session.score(item())).scores] == [0.5]
    wrong = evaluation_setup(metrics=(MetricSpec("kindness", parameters={"depth": 0.0}),))
    with pytest.raises(InvalidInput, match=r"metrics\[0\]\.parameters\.depth"):
        async with evaluation(definitions).open(wrong):
            pytest.fail("opened")


def test_packages_can_be_left_alone(install: Install) -> None:
    install("broken", "raise ImportError('never loaded')")
    assert load_definitions(SHIPPED, enabled=False) == SHIPPED


BROKEN = {
    "no module": (
        "import nowhere_to_be_found",
        "ModuleNotFoundError: No module named 'nowhere_to_be_found'",
    ),
    "no attribute": ("", "AttributeError: "),
    "a defect": ("raise ValueError('two\\nlines')", "ValueError: two lines"),
    "an exit": ("raise SystemExit('bye')", "SystemExit: bye"),
    "a class": ("DEFINITION = Metric", "is of type type; must be a Definition"),
    "another name": (
        'DEFINITION = Definition("other", Metric)',
        "defines 'other'; must be called as the entry point is",
    ),
    "no build": ('DEFINITION = Definition("plugin", None)', "build must be callable"),
    "a version": (
        'DEFINITION = Definition("plugin", Metric, version=1)',
        "version must be a text that is not empty",
    ),
    "a unit": ('DEFINITION = Definition("plugin", Metric, unit=None)', "unit must be a text"),
    "a direction": (
        'DEFINITION = Definition("plugin", Metric, direction="more")',
        "direction must be a Direction",
    ),
    "parameters": (
        'DEFINITION = Definition("plugin", Metric, parameters={"x": "text"})',
        "parameters must map names to Parameters",
    ),
}


@pytest.mark.parametrize(("text", "problem"), BROKEN.values(), ids=BROKEN)
def test_a_broken_package_is_told_by_its_name(install: Install, text: str, problem: str) -> None:
    install("plugin", text)
    (told,) = refused()
    assert told.startswith(f"plugin 1.2, entry point 'plugin' (plugin:DEFINITION): {problem}")
    assert "\n" not in told


def test_a_name_that_is_taken_is_refused_and_all_is_told_at_once(install: Install) -> None:
    text = """
DEFINITION = Definition("{0}", Metric)
MESSAGES = Definition("messages", Metric)
"""
    install("one", text.format("same"), entries={"same": "DEFINITION", "messages": "MESSAGES"})
    install("two", text.format("same"), entries={"same": "DEFINITION"})
    assert refused() == [
        "one 1.2, entry point 'messages' (one:MESSAGES): the name is taken by Foresight",
        "two 1.2, entry point 'same' (two:DEFINITION): the name is taken by one 1.2",
    ]


NO_SCORES = {
    "None": ("None", "returned NoneType in place of a Score"),
    "a number": ("0.5", "returned float in place of a Score"),
    "no value": ("Score(None)", "value, of type NoneType, is no float"),
    "text": ("Score('0.5')", "value, of type str, is no float"),
    "a flag": ("Score(True)", "value, of type bool, is no float"),
    "too great": ("Score(10**400)", "value, of type int, is no float"),
    "nan": ("Score(float('nan'))", "scored nan, expected 0.0 to 1.0"),
    "inf": ("Score(float('inf'))", "scored inf, expected 0.0 to 1.0"),
    "out of range": ("Score(1.5)", "scored 1.5, expected 0.0 to 1.0"),
    "spread": ("Score(0.5, float('nan'))", "spread is no finite number"),
    "verdicts": ("Score(0.5, None, ['good'])", "verdicts are no tuple of Verdicts"),
    "a verdict": ("Score(0.5, None, (Verdict(0.5, 1, ''),))", "verdicts are no tuple"),
    "a surrogate": (r"Score(0.5, None, (Verdict(0.5, '\ud800', ''),))", "verdicts are no tuple"),
    "parts": ("Score(0.5, None, (), {'x': 'y'})", "parts do not map names to finite numbers"),
    "no parts": ("Score(0.5, None, (), None)", "parts do not map names to finite numbers"),
    "an exit": ("exit_now()", "tried to end the process"),
}


@pytest.mark.parametrize(("returned", "problem"), NO_SCORES.values(), ids=NO_SCORES)
async def test_what_is_no_score_fails_and_costs_no_other_score(
    install: Install, returned: str, problem: str
) -> None:
    install(
        "plugin",
        f"""
def exit_now():
    raise SystemExit(3)

class Bad(Metric):
    async def score(self, subject):
        return {returned}

DEFINITION = Definition("plugin", Bad)
""",
    )
    bad, fine = (await scored("plugin", "messages")).scores
    assert fine.outcome == 1.0
    assert isinstance(bad.outcome, Failure)
    assert bad.outcome.reason is Reason.METRIC_FAILED
    assert dict(bad.outcome.metadata) == {"metric": "plugin"}
    assert problem in bad.outcome.message
    assert (bad.spread, bad.verdicts, dict(bad.parts)) == (None, (), {})


async def test_what_is_a_score_arrives_whole(install: Install) -> None:
    install(
        "plugin",
        """
class Full(Metric):
    async def score(self, subject):
        return Score(1, 0, (Verdict(1, "good", "raw"),), {"x": 2})

DEFINITION = Definition("plugin", Full)
""",
    )
    (score,) = (await scored("plugin")).scores
    assert score.outcome == 1.0
    assert (score.spread, dict(score.parts)) == (0.0, {"x": 2.0})
    assert score.verdicts == (Verdict(1.0, "good", "raw"),)


async def test_an_unexpected_exception_keeps_its_text_to_the_log(
    install: Install, caplog: pytest.LogCaptureFixture
) -> None:
    install(
        "plugin",
        """
class Bad(Metric):
    async def score(self, subject):
        raise KeyError("a secret")

DEFINITION = Definition("plugin", Bad)
""",
    )
    with caplog.at_level(logging.ERROR):
        bad, fine = (await scored("plugin", "messages")).scores
    assert fine.outcome == 1.0
    assert isinstance(bad.outcome, Failure)
    assert bad.outcome.reason is Reason.INTERNAL
    assert "secret" not in bad.outcome.message
    assert "a secret" in caplog.text


UNBUILT = {
    "a defect": "raise KeyError('a secret')",
    "no info": "self.info = None",
    "an exit": "raise SystemExit(3)",
    "a range": "self.info = MetricInfo('plugin', '1', Range(0.0, float('nan')))",
    "ends": "self.info = MetricInfo('plugin', '1', Range(1.0, 0.0))",
    "calls": "self.info = MetricInfo('plugin', '1', None, judge_calls=-1)",
}


@pytest.mark.parametrize(
    ("when", "line"),
    [
        *(("build", line) for line in UNBUILT.values()),
        ("prepare", UNBUILT["a defect"]),
        ("prepare", UNBUILT["an exit"]),
    ],
    ids=[*UNBUILT, "a defect later", "an exit later"],
)
async def test_a_metric_that_cannot_be_made_refuses_the_requests_that_name_it(
    install: Install, caplog: pytest.LogCaptureFixture, when: str, line: str
) -> None:
    made = "super().__init__(spec, setup, tools)"
    install(
        "plugin",
        f"""
class Bad(Metric):
    def __init__(self, spec, setup, tools):
        {line if when == "build" else made}

    async def prepare(self):
        {line if when == "prepare" else "pass"}

DEFINITION = Definition("plugin", Bad)
""",
    )
    with caplog.at_level(logging.ERROR), pytest.raises(Precondition) as error:
        await scored("messages", "plugin")
    assert error.value.reason is Reason.METRIC_UNAVAILABLE
    assert error.value.metadata["metric"] == "plugin"
    assert "secret" not in error.value.message
    assert "the plug-in's metric plugin cannot be used" in caplog.text
    (fine,) = (await scored("messages")).scores
    assert fine.outcome == 1.0


async def test_a_metric_may_refuse_its_parameters_and_get_ready(install: Install) -> None:
    install(
        "plugin",
        """
from foresight_services.core.errors import InvalidInput, Violation

class Careful(Metric):
    def __init__(self, spec, setup, tools):
        super().__init__(spec, setup, tools)
        self.ready = False
        if spec.artifact == "nothing":
            raise InvalidInput((Violation("metric.artifact", "cannot be nothing"),))

    async def prepare(self):
        self.ready = True

    async def score(self, subject):
        return Score(float(self.ready))

DEFINITION = Definition("plugin", Careful, artifact=True)
""",
    )
    definitions = load_definitions(SHIPPED, enabled=True)
    specs = (MetricSpec("messages"), MetricSpec("plugin", artifact="nothing"))
    with pytest.raises(InvalidInput, match=r"metrics\[1\]\.artifact: cannot be nothing"):
        async with evaluation(definitions).open(evaluation_setup(metrics=specs)):
            pytest.fail("opened")
    async with evaluation(definitions).open(evaluation_setup("plugin")) as session:
        assert session.metrics[0].range == Range(0.0, 1.0)
        assert [s.outcome for s in (await session.score(item())).scores] == [1.0]
