"""BLEU as CollabLLM computes it: over characters."""

from __future__ import annotations

import functools
import math
import sys
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from operator import add
from typing import Final

from foresight_services.core.future import EvaluationSetup, MetricInfo, Score
from foresight_services.core.objective import MetricSpec, Range
from foresight_services.core.subject import Subject
from foresight_services.metrics.artifact import scored_text
from foresight_services.metrics.definition import Definition
from foresight_services.metrics.offload import workers
from foresight_services.metrics.tools import Tools

ORDERS: Final = (1, 2, 3, 4)
UNIT_RANGE: Final = Range(0.0, 1.0)
LONG: Final = 10_000
"""Characters of text and reference together from which a worker compares them."""

_SECONDS: Final = 60.0


class Reference:
    """A text that others are compared with, its n-grams counted once."""

    def __init__(self, units: Sequence[str]) -> None:
        """Take the characters of a string, or a list of words."""
        self._length = len(units)
        self._counts = tuple(_ngram_counts(units))

    def bleu(self, units: Sequence[str], *, smoothed: bool = False) -> float:
        """Return the BLEU of a text, 0 to 1: n-grams up to 4 with equal weights, brevity penalty.

        Equal to the last bit to NLTK's `sentence_bleu([reference], units)`, whose rule for an order
        without a match is kept: its precision counts as the least normal float, so that the score
        is tiny but not 0 as long as one unit matches. With `smoothed` the k-th such order counts as
        1 / 2^k matches instead (Chen & Cherry 2014, method 3, as in NIST's mteval).
        """
        logs: list[float] = []
        unmatched = 0
        for order, found in enumerate(_ngram_counts(units), start=1):
            matches = _matches(found, self._counts[order - 1])
            if order == 1 and matches == 0:
                return 0.0
            possible = max(1, len(units) - order + 1)
            if matches:
                precision = matches / possible
            elif smoothed:
                unmatched += 1
                precision = 1 / (2**unmatched * possible)
            else:
                precision = sys.float_info.min
            logs.append(0.25 * math.log(precision))
        shorter = len(units) <= self._length
        brevity = math.exp(1 - self._length / len(units)) if shorter else 1.0
        return brevity * math.exp(math.fsum(logs))


def _ngram_counts(units: Sequence[str]) -> Iterator[Counter[Hashable]]:
    """Yield how often each n-gram occurs, order by order."""
    if not isinstance(units, str):
        for order in ORDERS:
            yield Counter(zip(*(units[start:] for start in range(order)), strict=False))
        return
    # N-grams of a string grow by one character, which is several times faster than slicing.
    ngrams: Sequence[str] = units
    yield Counter(ngrams)
    for order in ORDERS[1:]:
        ngrams = list(map(add, ngrams, units[order - 1 :]))
        yield Counter(ngrams)


def _matches(found: Counter[Hashable], there: Counter[Hashable]) -> int:
    get = there.get
    return sum([n if n < (most := get(ngram, 0)) else most for ngram, n in found.items()])


def bleu_score(text: str, reference: str) -> float:
    """Return the BLEU of the characters of `text`, 0 to 1."""
    return Reference(reference).bleu(text)


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
        self._counted = functools.cache(lambda: Reference(self._reference))

    async def score(self, subject: Subject) -> Score:
        """Compare the text with the reference."""
        text = await scored_text(self._spec, subject)
        if len(text) + len(self._reference) < LONG:
            return Score(self._counted().bleu(text))
        value = await workers().call(bleu_score, _SECONDS, "bleu", text, self._reference)
        return Score(value)


DEFINITION: Final = Definition("bleu", Bleu, artifact=True, needs_reference=True, uses=frozenset())
