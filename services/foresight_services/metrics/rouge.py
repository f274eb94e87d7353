"""ROUGE, by the library `rouge-score`."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final

from foresight_services.core.future import EvaluationSetup, MetricInfo, Score
from foresight_services.core.objective import MetricSpec, Range
from foresight_services.core.subject import Subject
from foresight_services.metrics.artifact import scored_text
from foresight_services.metrics.definition import Definition, Parameter
from foresight_services.metrics.offload import workers
from foresight_services.metrics.optional import require_library
from foresight_services.metrics.tools import Tools

if TYPE_CHECKING:
    from rouge_score.rouge_scorer import RougeScorer

VARIANTS: Final = ("rouge1", "rouge2", "rougeL", "rougeLsum")
_SECONDS: Final = 60.0


@functools.cache
def _scorer(variant: str, stemmer: bool) -> RougeScorer:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer([variant], use_stemmer=stemmer)


def rouge_scores(text: str, reference: str, variant: str, stemmer: bool) -> dict[str, float]:
    """Return `f_measure`, `precision` and `recall` of `text`, each 0 to 1."""
    found = _scorer(variant, stemmer).score(reference, text)[variant]
    return {
        "f_measure": float(found.fmeasure),
        "precision": float(found.precision),
        "recall": float(found.recall),
    }


class Rouge:
    """F-measure of ROUGE against the reference, from 0 to 1; more is better.

    Inputs: the artifact or the last reply of the assistant, and the task's reference. Parameters:
    `variant`, one of rouge1, rouge2, rougeL (default) and rougeLsum, the last of which takes lines
    for sentences; `stemmer` (default false), whether words are cut to their stems first, in
    English. Words are runs of the letters a to z and of digits, in any case, so texts in other
    scripts score 0. Parts: `precision` and `recall`. Source: Lin 2004, as `rouge-score` has it.
    """

    def __init__(self, spec: MetricSpec, setup: EvaluationSetup, tools: Tools) -> None:
        del tools
        require_library("rouge", "rouge_score")
        self.info = MetricInfo("rouge", "1", Range(0.0, 1.0))
        self._spec = spec
        self._reference = setup.task.reference
        self._variant = str(spec.parameters.get("variant", "rougeL"))
        self._stemmer = spec.parameters.get("stemmer") is True

    async def score(self, subject: Subject) -> Score:
        """Compare the text with the reference, in a worker: rougeL takes quadratic time."""
        text = await scored_text(self._spec, subject)
        found = await workers().call(
            rouge_scores, _SECONDS, "rouge", text, self._reference, self._variant, self._stemmer
        )
        return Score(found.pop("f_measure"), parts=found)


DEFINITION: Final = Definition(
    "rouge",
    Rouge,
    parameters={
        "variant": Parameter(
            choices=VARIANTS, default="rougeL", description="which ROUGE; default rougeL"
        ),
        "stemmer": Parameter("flag", description="compare the stems of English words"),
    },
    artifact=True,
    needs_reference=True,
    uses=frozenset(),
    libraries=("rouge_score", "nltk"),
)
