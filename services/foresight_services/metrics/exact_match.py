"""Whether a text is the reference."""

from __future__ import annotations

import unicodedata
from typing import Final

from foresight_services.core.future import EvaluationSetup, MetricInfo, Score
from foresight_services.core.objective import MetricSpec, Range
from foresight_services.core.subject import Subject
from foresight_services.metrics.artifact import scored_text
from foresight_services.metrics.definition import Definition, Parameter
from foresight_services.metrics.tools import Tools


class ExactMatch:
    """1 where the text equals the reference, else 0; more is better.

    Inputs: the artifact or the last reply of the assistant, and the task's reference. Parameters:
    `strip` (default true) ignores white space around both; `ignore_case` (default false) compares
    by Unicode case folding; `ignore_punctuation` (default false) leaves out all characters that
    Unicode calls punctuation and takes any white space for one space.
    """

    def __init__(self, spec: MetricSpec, setup: EvaluationSetup, tools: Tools) -> None:
        del tools
        self.info = MetricInfo("exact_match", "1", Range(0.0, 1.0))
        self._spec = spec
        self._strip = spec.parameters.get("strip", True) is True
        self._ignore_case = spec.parameters.get("ignore_case") is True
        self._ignore_punctuation = spec.parameters.get("ignore_punctuation") is True
        self._reference = self._normal(setup.task.reference)

    async def score(self, subject: Subject) -> Score:
        """Compare the text with the reference."""
        text = await scored_text(self._spec, subject)
        return Score(1.0 if self._normal(text) == self._reference else 0.0)

    def _normal(self, text: str) -> str:
        if self._ignore_case:
            text = text.casefold()
        if self._ignore_punctuation:
            kept = "".join(c for c in text if not unicodedata.category(c).startswith("P"))
            text = " ".join(kept.split())
        return text.strip() if self._strip else text


DEFINITION: Final = Definition(
    "exact_match",
    ExactMatch,
    parameters={
        "strip": Parameter(
            "flag", default=True, description="ignore white space around the texts; default true"
        ),
        "ignore_case": Parameter("flag", description="compare without regard to case"),
        "ignore_punctuation": Parameter(
            "flag", description="compare without punctuation, any white space as one space"
        ),
    },
    artifact=True,
    needs_reference=True,
    uses=frozenset(),
)
