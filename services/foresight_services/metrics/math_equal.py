"""Whether a text gives the mathematical answer of the reference."""

from __future__ import annotations

import logging
import re
from typing import Any, Final

from foresight_services.core.errors import InvalidInput, Violation
from foresight_services.core.future import EvaluationSetup, MetricInfo, Score
from foresight_services.core.objective import MetricSpec, Range
from foresight_services.core.subject import Subject
from foresight_services.metrics.artifact import scored_text
from foresight_services.metrics.definition import Definition
from foresight_services.metrics.offload import workers
from foresight_services.metrics.optional import require_library
from foresight_services.metrics.tools import Tools

_SECONDS: Final = 10.0
_DELIMITED: Final = re.compile(r"\$|\\boxed|\\\[|\\\(")
_COMMAND: Final = re.compile(r"\\[a-zA-Z]+")
_TWO_WORDS: Final = re.compile(r"[^\W\d_]{2,}[^\S\n]+[^\W\d_]{2,}")


class MathEqual:
    """1 where the answer of the text equals that of the reference, else 0; more is better.

    Inputs: the artifact or the last reply of the assistant, and the task's reference. Each is an
    expression in LaTeX or plain notation, or prose with the answer in it: in \\boxed{}, between $,
    or the last number. `math-verify` reads both and compares them by algebra, so that 1/2, 0.5 and
    \\frac{1}{2} are equal. A text without an answer scores 0; one whose comparison takes more than
    10 seconds, or more memory than a worker has, fails without a score.
    """

    def __init__(self, spec: MetricSpec, setup: EvaluationSetup, tools: Tools) -> None:
        del tools
        require_library("math_equal", "math_verify")
        self.info = MetricInfo("math_equal", "1", Range(0.0, 1.0))
        self._spec = spec
        self._reference = setup.task.reference

    async def prepare(self) -> None:
        """Check that the reference has an answer."""
        if not await workers().call(has_answer, _SECONDS, "math_equal", self._reference):
            what = "has no mathematical answer that 'math_equal' could read"
            raise InvalidInput((Violation("task.reference", what),))

    async def score(self, subject: Subject) -> Score:
        """Compare the answers in a worker, which can be killed: algebra may never end."""
        text = await scored_text(self._spec, subject)
        same = await workers().call(answers_agree, _SECONDS, "math_equal", text, self._reference)
        return Score(1.0 if same else 0.0)


def has_answer(text: str) -> bool:
    """Return whether there is an answer in `text`."""
    return bool(_answers(text))


def answers_agree(text: str, reference: str) -> bool:
    """Return whether the answers of `text` and `reference` are equal."""
    from math_verify import verify

    found = _answers(text)
    if not found:
        return False
    # Its own limit on time needs signals; the worker's takes its place.
    return bool(verify(_answers(reference), found, timeout_seconds=None, raise_on_error=True))


def _answers(text: str) -> list[Any]:
    from math_verify import parse

    logging.disable()
    if _DELIMITED.search(text) is None and _TWO_WORDS.search(_COMMAND.sub(" ", text)) is None:
        read: list[Any] = parse(f"${text.strip()}$", parsing_timeout=None)
        if any(not isinstance(answer, str) for answer in read):
            return read
    plain: list[Any] = parse(text, parsing_timeout=None)
    return plain


DEFINITION: Final = Definition(
    "math_equal",
    MathEqual,
    artifact=True,
    needs_reference=True,
    uses=frozenset(),
    libraries=("math-verify", "latex2sympy2_extended", "sympy", "antlr4-python3-runtime"),
)
