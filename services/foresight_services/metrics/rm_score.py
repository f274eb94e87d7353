"""What a reward model makes of the conversation."""

from __future__ import annotations

from typing import Final

from foresight_services.core.conversation import Conversation
from foresight_services.core.errors import InvalidInput, Precondition, Reason, Violation
from foresight_services.core.future import EvaluationSetup, MetricInfo, Score
from foresight_services.core.objective import MetricSpec, Range
from foresight_services.core.subject import Subject
from foresight_services.core.suggest import one_of
from foresight_services.metrics.definition import Definition, Parameter, Prepared
from foresight_services.metrics.tools import RewardModel, Tools

NAME: Final = "rm_score"
WHERE: Final = "evaluator.reward_models"
"""Where the configuration names reward models."""


class RmScore:
    """The logit of a sequence-classification model with one label; unbounded (CollabLLM
    `rm_score`).

    Parameter `model`: name of a configured reward model; default the only one. Parameters `low` and
    `high`, both or neither: bounds to which scores are clipped, which gives the metric a range; the
    logit itself is then the part `logit`. Parameter `scope`: `all` (default), the complete
    conversation, system messages included; `future`, from the user message that the candidate
    answers on, for models that were trained on single exchanges. Inputs: the conversation.
    """

    def __init__(self, spec: MetricSpec, setup: EvaluationSetup, tools: Tools) -> None:
        """Find the model; see Definition.build."""
        self._model = _model(spec, tools)
        self._range = _range(spec)
        # The candidates answer the prefix's last message.
        future = spec.parameters.get("scope", "all") == "future"
        self._first = len(setup.prefix) - 1 if future else 0

    @property
    def info(self) -> MetricInfo:
        """Name, version and range."""
        return MetricInfo(NAME, "1", self._range)

    async def prepare(self) -> None:
        """Load the model, or try its server; once for the process."""
        if isinstance(self._model, Prepared):
            await self._model.prepare()

    async def score(self, subject: Subject) -> Score:
        """Return the model's logit, clipped if bounds were declared."""
        shown: Conversation = subject.conversation[self._first :]
        logit = await self._model.score(shown, subject)
        # A logit that is no number fails below; clipping would make one of an infinite one.
        if self._range is None or not abs(logit) < float("inf"):
            return Score(logit)
        clipped = min(max(logit, self._range.low), self._range.high)
        return Score(clipped, parts={"logit": logit})


def _model(spec: MetricSpec, tools: Tools) -> RewardModel:
    models = tools.reward_models
    if not models:
        raise Precondition(
            Reason.METRIC_UNAVAILABLE,
            f"{NAME} needs a reward model; the configuration's {WHERE} names none",
            metadata={"metric": NAME, "needs": WHERE},
        )
    given = spec.parameters.get("model")
    if given is None and len(models) == 1:
        (only,) = models.values()
        return only
    field = "metric.parameters.model"
    if given is None:
        problem = f"is missing; name one of {', '.join(sorted(models))}"
        raise InvalidInput((Violation(field, problem),))
    if str(given) not in models:
        raise InvalidInput((Violation(field, one_of(str(given), models)),))
    return models[str(given)]


def _range(spec: MetricSpec) -> Range | None:
    bounds = {key: spec.parameters.get(key) for key in ("low", "high")}
    missing = [key for key, value in bounds.items() if value is None]
    if len(missing) == 2:
        return None
    if missing:
        problem = "is missing; give both low and high, or neither"
        raise InvalidInput((Violation(f"metric.parameters.{missing[0]}", problem),))
    low, high = (float(str(value)) for value in bounds.values())
    if not (abs(low) < float("inf") and low < high < float("inf")):
        problem = f"is {high:g}; low and high must be finite, and high more than low"
        raise InvalidInput((Violation("metric.parameters.high", problem),))
    return Range(low, high)


DEFINITION: Final = Definition(
    NAME,
    RmScore,
    unit="logit",
    parameters={
        "model": Parameter(
            description=f"name in the configuration's {WHERE}; default the only one"
        ),
        "low": Parameter("number", description="least score; lower ones are clipped to it"),
        "high": Parameter("number", description="greatest score; higher ones are clipped to it"),
        "scope": Parameter(
            choices=("all", "future"), default="all", description="which messages are scored"
        ),
    },
    uses=frozenset({"reward_models"}),
)
