"""Whether code passes its tests."""

from __future__ import annotations

import ast
import warnings
from typing import Final

from foresight_services.core.errors import InvalidInput, Precondition, Reason, Violation
from foresight_services.core.future import EvaluationSetup, MetricInfo, Score
from foresight_services.core.objective import MetricSpec, Range
from foresight_services.core.subject import Subject
from foresight_services.metrics.artifact import scored_text
from foresight_services.metrics.definition import Definition, Parameter
from foresight_services.metrics.fenced import longest_block
from foresight_services.metrics.tools import Tools

TEST_KEY: Final = "test"
"""Where a task's metadata has the tests (CollabLLM's name for it)."""

_LONGEST_TRIED: Final = 1 << 16
"""Characters; reading more as Python would keep everything else waiting."""

_LANGUAGES: Final = ("python", "py", "python3")


def code_of(text: str) -> str:
    """Return the code in `text`: all of it where it is Python, fenced examples in it included."""
    if is_python(text):
        return text
    return longest_block(text, _LANGUAGES)


def is_python(text: str) -> bool:
    """Return whether `text` can be read as Python; a very long text is not tried."""
    if len(text) > _LONGEST_TRIED:
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what code does wrong is for its tests to find
        try:
            ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return False
    return True


class PassRate:
    """1 where the code passes all of its tests, else 0; more is better.

    Inputs: the artifact or the last reply of the assistant, and `task.metadata["test"]`, a module
    for `unittest` that finds the code's names defined. A text that is Python is the code; of any
    other, the longest fenced block in Python, else the longest without a language. Parameter
    `partial` (default false): the share of the tests that passed, from 0 to 1, in place of all or
    nothing. Parts:
    `passed` and `total`, tests. Code that does not end, or that a limit of the sandbox stops, has
    passed none. Source: CollabLLM 0.0.8 `pass_rate`.
    """

    def __init__(self, spec: MetricSpec, setup: EvaluationSetup, tools: Tools) -> None:
        test = setup.task.metadata.get(TEST_KEY, "")
        if not test.strip():
            what = "is missing; 'pass_rate' runs these tests (a unittest module)"
            raise InvalidInput((Violation(f"task.metadata.{TEST_KEY}", what),))
        if tools.sandbox is None:
            raise Precondition(
                Reason.METRIC_UNAVAILABLE,
                "'pass_rate' needs a sandbox, and this evaluator has none",
                metadata={"metric": "pass_rate", "needs": "evaluator.sandbox"},
            )
        self.info = MetricInfo("pass_rate", "1", Range(0.0, 1.0))
        self._spec = spec
        self._test = test
        self._sandbox = tools.sandbox
        self._partial = spec.parameters.get("partial") is True

    async def prepare(self) -> None:
        """Try the sandbox; Precondition tells what this machine lacks."""
        await self._sandbox.check()

    async def score(self, subject: Subject) -> Score:
        """Run the tests."""
        code = code_of(await scored_text(self._spec, subject))
        report = await self._sandbox.run_tests(code, self._test)
        value = report.fraction if self._partial else float(report.all_passed)
        return Score(value, parts={"passed": float(report.passed), "total": float(report.total)})


DEFINITION: Final = Definition(
    "pass_rate",
    PassRate,
    parameters={
        "partial": Parameter("flag", description="score the share of the tests that passed")
    },
    artifact=True,
    uses=frozenset({"sandbox"}),
)
