"""BLEU over words."""

from __future__ import annotations

import functools
from typing import Final

from foresight_services.core.future import EvaluationSetup, MetricInfo, Score
from foresight_services.core.objective import MetricSpec
from foresight_services.core.subject import Subject
from foresight_services.metrics.artifact import scored_text
from foresight_services.metrics.bleu import LONG, UNIT_RANGE, Reference
from foresight_services.metrics.definition import Definition
from foresight_services.metrics.offload import workers
from foresight_services.metrics.tools import Tools
from foresight_services.metrics.words import words

_SECONDS: Final = 60.0


def word_bleu_score(text: str, reference: str) -> float:
    """Return the smoothed BLEU of the words of `text`, 0 to 1."""
    return Reference(words(reference)).bleu(words(text), smoothed=True)


class WordBleu:
    """Word-level BLEU against the reference, from 0 to 1; more is better.

    Inputs: the artifact or the last reply of the assistant, and the task's reference. Up to 4 words
    in a row, where a word is what the tokenizer `words` counts: a run of letters and digits, or a
    single mark; case counts. Orders without a match are smoothed (Chen & Cherry 2014, method 3), so
    that one shared word is above 0. Source: Papineni et al. 2002.
    """

    def __init__(self, spec: MetricSpec, setup: EvaluationSetup, tools: Tools) -> None:
        del tools
        self.info = MetricInfo("bleu_word", "1", UNIT_RANGE)
        self._spec = spec
        self._reference = setup.task.reference
        self._counted = functools.cache(lambda: Reference(words(self._reference)))

    async def score(self, subject: Subject) -> Score:
        """Compare the text with the reference."""
        text = await scored_text(self._spec, subject)
        if len(text) + len(self._reference) < LONG:
            return Score(self._counted().bleu(words(text), smoothed=True))
        value = await workers().call(word_bleu_score, _SECONDS, "bleu_word", text, self._reference)
        return Score(value)


DEFINITION: Final = Definition(
    "bleu_word", WordBleu, artifact=True, needs_reference=True, uses=frozenset()
)
