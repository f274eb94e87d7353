"""Subjects to score, and metrics built for them as the catalog does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from foresight_services.core.conversation import Conversation, Message
from foresight_services.core.errors import Reason, Upstream
from foresight_services.core.future import EvaluationItem, EvaluationSetup, FutureId, Score, Wanted
from foresight_services.core.objective import JsonValue, MetricSpec
from foresight_services.core.ports import Metric
from foresight_services.core.subject import Subject
from foresight_services.core.task import Task
from foresight_services.core.usage import Ledger
from foresight_services.metrics.catalog import Catalog
from foresight_services.metrics.definition import Definition
from foresight_services.metrics.judging.judge import Judge
from foresight_services.metrics.tokenizers import Tokenizers
from foresight_services.metrics.tools import Tools
from foresight_services.sandbox.port import CodeSandbox

PREFIX: Conversation = (Message("user", "Please."),)


class ScriptedExtractor:
    """Knows artifacts by name; implements the port `Extractor`."""

    def __init__(self, artifacts: Mapping[str, str]) -> None:
        self.asked: list[Wanted] = []
        self._artifacts = artifacts

    async def extract(self, wanted: Wanted, subject: Subject) -> str:
        """Return the artifact."""
        self.asked.append(wanted)
        if wanted.artifact not in self._artifacts:
            raise Upstream(Reason.EXTRACTION_FAILED, "not scripted")
        return self._artifacts[wanted.artifact]


def tools(sandbox: CodeSandbox | None = None, files: Mapping[str, str] | None = None) -> Tools:
    """Return the tools of an evaluator whose judge nobody asks."""
    return Tools(cast(Judge, None), Tokenizers(files or {}), sandbox)


def setup_for(
    spec: MetricSpec,
    *,
    task: Task | None = None,
    prefix: Conversation = PREFIX,
    candidates: tuple[str, ...] = ("Sure.",),
    horizon_messages: int = 4,
    max_message_tokens: int = 100,
) -> EvaluationSetup:
    """Return a setup with one metric."""
    return EvaluationSetup(
        task or Task(goal="the goal"),
        prefix,
        candidates,
        (spec,),
        horizon_messages,
        max_message_tokens,
    )


def subject_of(
    setup: EvaluationSetup,
    future: Conversation = (),
    *,
    candidate: int = 0,
    artifacts: Mapping[str, str] | None = None,
) -> Subject:
    """Return a conversation of `setup`."""
    item = EvaluationItem(FutureId(candidate, 0), "the goal", future)
    return Subject(setup, item, ledger=Ledger(), extractor=ScriptedExtractor(artifacts or {}))


async def built(
    definition: Definition, setup: EvaluationSetup, given: Tools | None = None
) -> Metric:
    """Return the metric of `setup`, ready to score."""
    catalog = Catalog(tools=given or tools(), definitions={definition.name: definition})
    (metric,) = await catalog.build(setup)
    return metric


async def score_text(
    definition: Definition,
    text: str,
    *,
    reference: str = "",
    metadata: Mapping[str, str] | None = None,
    given: Tools | None = None,
    **parameters: JsonValue,
) -> Score:
    """Return the score of a last reply that says `text`."""
    spec = MetricSpec(definition.name, parameters=parameters)
    task = Task(goal="the goal", reference=reference, metadata=metadata or {})
    setup = setup_for(spec, task=task, candidates=(text,))
    metric = await built(definition, setup, given)
    async with subject_of(setup) as subject:
        return await metric.score(subject)
