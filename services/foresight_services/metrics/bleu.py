"""BLEU as CollabLLM computes it: over characters."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Final

from foresight_services.core.future import EvaluationSetup, MetricInfo, Score
from foresight_services.core.objective import MetricSpec, Range
from foresight_services.core.subject import Subject
from foresight_services.metrics.artifact import scored_text
from foresight_services.metrics.definition import Definition
from foresight_services.metrics.offload import LONG_TEXT, workers
from foresight_services.metrics.tools import Tools

ORDERS: Final = (1, 2, 3, 4)
UNIT_RANGE: Final = Range(0.0, 1.0)
_SECONDS: Final = 60.0


def bleu_score(text: Sequence[str], reference: Sequence[str], *, smoothed: bool = False) -> float:
    """Return the BLEU of `text`, 0 to 1: n-grams up to 4 with equal weights, brevity penalty.

    Equal to the last bit to NLTK's `sentence_bleu([reference], text)`, whose rule for an order
    without a match is kept: the precision counts as the least normal float, so that the score is
    tiny but not 0 as long as one unit matches. With `smoothed` the k-th such order counts as
    1 / 2^k matches instead (Chen & Cherry 2014, method 3, as in NIST's mteval).
    """
    logs: list[float] = []
    unmatched = 0
    for order in ORDERS:
        found, there = _ngrams(text, order), _ngrams(reference, order)
        matches = sum(min(count, there[ngram]) for ngram, count in found.items() if ngram in there)
        if order == 1 and matches == 0:
            return 0.0
        possible = max(1, len(text) - order + 1)
        if matches:
            precision = matches / possible
        elif smoothed:
            unmatched += 1
            precision = 1 / (2**unmatched * possible)
        else:
            precision = sys.float_info.min
        logs.append(0.25 * math.log(precision))
    shorter = len(text) <= len(reference)
    brevity = math.exp(1 - len(reference) / len(text)) if shorter else 1.0
    return brevity * math.exp(math.fsum(logs))


def _ngrams(units: Sequence[str], order: int) -> Counter[Hashable]:
    if isinstance(units, str):
        return Counter(units[i : i + order] for i in range(len(units) - order + 1))
    return Counter(zip(*(units[start:] for start in range(order)), strict=False))


class Bleu:
    """Character-level BLEU against the reference, from 0 to 1; more is better.

    Inputs: the artifact or the last reply of the assistant, and the task's reference; white space
    and case count. 4-grams of characters without smoothing: a text that shares no 4 characters in a
    row with the reference scores nearly 0. Source: CollabLLM 0.0.8 `bleu`, which gives NLTK's
    `sentence_bleu` two strings; the BLEU of words is `bleu_word`.
    """

    def __init__(self, spec: MetricSpec, setup: EvaluationSetup, tools: Tools) -> None:
        del tools
        self.info = MetricInfo("bleu", "1", UNIT_RANGE)
        self._spec = spec
        self._reference = setup.task.reference

    async def score(self, subject: Subject) -> Score:
        """Compare the text with the reference."""
        text = await scored_text(self._spec, subject)
        if len(text) + len(self._reference) < LONG_TEXT:
            return Score(bleu_score(text, self._reference))
        value = await workers().call(bleu_score, _SECONDS, "bleu", text, self._reference)
        return Score(value)


DEFINITION: Final = Definition("bleu", Bleu, artifact=True, needs_reference=True, uses=frozenset())
