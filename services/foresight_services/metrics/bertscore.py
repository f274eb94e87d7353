"""How much a text means the same as the reference, token by token."""

from __future__ import annotations

from typing import Final

from foresight_services.core.errors import Precondition, Reason, Upstream
from foresight_services.core.future import EvaluationSetup, MetricInfo, Score
from foresight_services.core.objective import MetricSpec, Range
from foresight_services.core.subject import Subject
from foresight_services.metrics.artifact import scored_text
from foresight_services.metrics.definition import Definition, Prepared
from foresight_services.metrics.tools import Tools

NAME: Final = "bertscore"
WHERE: Final = "evaluator.bertscore"
"""Where the configuration names the encoder."""


class BertScore:
    """BERTScore's F1 of the artifact, or else the last reply, against the task's reference, without
    idf weights and baseline (Zhang et al., ICLR 2020).

    Range: -1 to 1, that of the cosines which precision and recall are means of; real encoders stay
    far above 0, also for unrelated texts. An empty text scores 0. Precision and recall are its
    parts. Inputs: artifact or last assistant message, the task's reference.
    """

    def __init__(self, spec: MetricSpec, setup: EvaluationSetup, tools: Tools) -> None:
        """Find the encoder; see Definition.build."""
        del setup
        if tools.bertscore is None:
            raise Precondition(
                Reason.METRIC_UNAVAILABLE,
                f"{NAME} needs an encoder; the configuration's {WHERE} names none",
                metadata={"metric": NAME, "needs": WHERE},
            )
        self._spec = spec
        self._matcher = tools.bertscore
        self.info = MetricInfo(NAME, "1", Range(-1.0, 1.0))

    async def prepare(self) -> None:
        """Load the encoder; once for the process."""
        if isinstance(self._matcher, Prepared):
            await self._matcher.prepare()

    async def score(self, subject: Subject) -> Score:
        """Return the harmonic mean of precision and recall."""
        text = await scored_text(self._spec, subject)
        precision, recall = await self._matcher.match(text, subject.task.reference)
        parts = {"precision": precision, "recall": recall}
        return Score(_f1(precision, recall), parts=parts)


def _f1(precision: float, recall: float) -> float:
    if precision == recall:
        return precision
    # Between numbers of opposite signs there is no harmonic mean; it would leave every range.
    if precision * recall < 0:
        raise Upstream(
            Reason.METRIC_FAILED,
            f"{NAME}: precision {precision:.3g} and recall {recall:.3g} have no F1",
            metadata={"metric": NAME},
        )
    return 2 * precision * recall / (precision + recall)


DEFINITION: Final = Definition(
    NAME, BertScore, artifact=True, needs_reference=True, uses=frozenset({"bertscore"})
)
