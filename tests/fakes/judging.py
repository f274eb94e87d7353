"""Judges that say what a test wants, and metrics that ask them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from foresight_services.core.conversation import Message
from foresight_services.core.future import EvaluationItem, EvaluationSetup, FutureId, Score
from foresight_services.core.objective import JsonValue, MetricSpec
from foresight_services.core.ports import ChatReply, ChatRequest, FinishReason, Metric
from foresight_services.core.subject import Subject
from foresight_services.core.task import Task
from foresight_services.core.usage import Ledger
from foresight_services.metrics.catalog import Catalog
from foresight_services.metrics.definition import Definition
from foresight_services.metrics.extraction import PromptedExtractor
from foresight_services.metrics.judging.judge import Judge
from foresight_services.metrics.judging.prompted import (
    Asker,
    PromptedJudge,
    PromptedJudgeSettings,
    load_judge_prompts,
)
from foresight_services.metrics.tools import TokenCounter, Tools
from tests.fakes.chat import Answer, ScriptedChat

TASK = Task(
    description="A person gets help with mathematics.",
    goal="Find the positive x with x^2 + x = 6.",
    reference="x is 2",
)

SETUP = EvaluationSetup(
    task=TASK,
    prefix=(Message("system", "operator's secret"), Message("user", "help with a quadratic?")),
    candidates=("Which equation?", "It is 2."),
    metrics=(),
    horizon_messages=4,
    max_message_tokens=100,
)

ITEM = EvaluationItem(
    FutureId(0, 0),
    "the goal of this future",
    (Message("user", "x^2 + x = 6"), Message("assistant", "x = 2")),
)

PROMPTS = load_judge_prompts()

OWN_FIELDS: Mapping[str, tuple[str, ...]] = {
    "accuracy": ("completion",),
    "extract": ("artifact", "requirement"),
    "helpfulness": (),
    "interactivity": (),
    "preference": ("first", "second"),
    "rubric": ("criteria", "completion"),
    "success": (),
}
"""Every question's fields beside those that all have."""


class NoTokenizers:
    """Has no tokenizer; implements the port `TokenCounters`."""

    names: tuple[str, ...] = ()

    def get(self, name: str) -> TokenCounter:
        """Refuse: no judge counts tokens."""
        raise AssertionError(f"{name!r} was asked for")


class FinishingChat(ScriptedChat):
    """Says by `finish` why its replies ended."""

    def __init__(self, answer: Answer | str, finish: FinishReason) -> None:
        super().__init__(answer)
        self._finish: FinishReason = finish

    async def complete(self, request: ChatRequest) -> ChatReply:
        """Return what the script says."""
        return replace(await super().complete(request), finish=self._finish)


def in_turn(*replies: str) -> Callable[[ChatRequest], str]:
    """Answer with `replies`, one after the other."""
    left = iter(replies)
    return lambda request: next(left)


def verdict(rationale: str = "because", **scores: float) -> str:
    """Return the reply of a judge that keeps to the format."""
    return json.dumps({"rationale": rationale, **scores})


def tools_with(judge: Judge) -> Tools:
    """Return the tools of an evaluator that has a judge and nothing else."""
    return Tools(judge=judge, token_counters=NoTokenizers())


async def build(
    definition: Definition,
    judge: Judge,
    *,
    setup: EvaluationSetup = SETUP,
    artifact: str = "",
    parameters: Mapping[str, JsonValue] | None = None,
) -> Metric:
    """Return the metric as the catalog makes it."""
    spec = MetricSpec(definition.name, artifact=artifact, parameters=parameters or {})
    catalog = Catalog(tools=tools_with(judge), definitions={definition.name: definition})
    (metric,) = await catalog.build(replace(setup, metrics=(spec,)))
    return metric


def extractor_of(
    answer: Answer | str = "", *, model: ScriptedChat | None = None, **settings: Any
) -> tuple[PromptedExtractor, ScriptedChat]:
    """Return an extractor whose model answers by `answer`, and that model."""
    model = model or ScriptedChat(answer)
    asked = PromptedJudgeSettings(**settings)
    return PromptedExtractor(model, settings=asked, prompts=PROMPTS), model


def asker(**settings: Any) -> Asker:
    """Return what makes prompts; its model says nothing."""
    return Asker(ScriptedChat(""), settings=PromptedJudgeSettings(**settings), prompts=PROMPTS)


@dataclass(frozen=True)
class Scored:
    """A conversation that a metric has scored."""

    score: Score
    """What it got."""
    asked: list[ChatRequest]
    """What its judge was asked, extractions left out."""
    ledger: Ledger
    """What it cost."""

    @property
    def shown(self) -> str:
        """The message with the conversation that the judge was asked first."""
        return self.asked[0].messages[-1].content


async def score(
    definition: Definition,
    answer: Answer | str,
    *,
    setup: EvaluationSetup = SETUP,
    item: EvaluationItem = ITEM,
    artifact: str = "",
    parameters: Mapping[str, JsonValue] | None = None,
    extracted: str = "",
    **settings: Any,
) -> Scored:
    """Return how the metric scores `item`, its judge answering by `answer`.

    `extracted` is the reply of the model that extracts.
    """
    model = ScriptedChat(answer)
    judge = PromptedJudge(model, settings=PromptedJudgeSettings(**settings))
    metric = await build(definition, judge, setup=setup, artifact=artifact, parameters=parameters)
    extractor, _ = extractor_of(extracted)
    ledger = Ledger()
    async with Subject(setup, item, ledger=ledger, extractor=extractor) as subject:
        return Scored(await metric.score(subject), model.requests, ledger)
