"""Whether a text matches a pattern."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final

from foresight_services.core.errors import InvalidInput, Violation
from foresight_services.core.future import EvaluationSetup, MetricInfo, Score
from foresight_services.core.objective import MetricSpec, Range
from foresight_services.core.subject import Subject
from foresight_services.metrics.artifact import scored_text
from foresight_services.metrics.definition import Definition, Parameter
from foresight_services.metrics.offload import LONG_TEXT, in_thread
from foresight_services.metrics.optional import missing_library
from foresight_services.metrics.tools import Tools

if TYPE_CHECKING:
    from re2 import Pattern

MAX_PATTERN: Final = 4096
"""Greatest length of a pattern, in characters; time grows with it."""

_FLAGS: Final = {"ignore_case": "i", "multiline": "m", "dot_all": "s"}


@functools.lru_cache(maxsize=64)
def _compiled(pattern: str, flags: str) -> Pattern:
    import re2

    options = re2.Options()
    options.log_errors = False
    # An error is to be about the pattern as it was given, so flags come after it is known good.
    compiled = re2.compile(pattern, options)
    return re2.compile(f"(?{flags}){pattern}", options) if flags else compiled


class Regex:
    """1 where the text matches the pattern, else 0; more is better.

    Inputs: the artifact or the last reply of the assistant. Parameters: `pattern` (required), a
    regular expression of RE2, whose time is linear in the text, so without look-around and back
    references; `full` (default false), whether the whole text has to match and not a part of it;
    `ignore_case`, `multiline` (^ and $ match at lines) and `dot_all` (. matches a line break), each
    false by default.
    """

    def __init__(self, spec: MetricSpec, setup: EvaluationSetup, tools: Tools) -> None:
        del setup, tools
        self.info = MetricInfo("regex", "1", Range(0.0, 1.0))
        self._spec = spec
        flags = "".join(mark for flag, mark in _FLAGS.items() if spec.parameters.get(flag) is True)
        self._pattern = _pattern(str(spec.parameters["pattern"]), flags)
        self._full = spec.parameters.get("full") is True

    async def score(self, subject: Subject) -> Score:
        """Look for the pattern."""
        text = await scored_text(self._spec, subject)
        found = self._found(text) if len(text) < LONG_TEXT else await in_thread(self._found, text)
        return Score(1.0 if found else 0.0)

    def _found(self, text: str) -> bool:
        look = self._pattern.fullmatch if self._full else self._pattern.search
        return look(text) is not None


def _pattern(pattern: str, flags: str) -> Pattern:
    field = "metric.parameters.pattern"
    if len(pattern) > MAX_PATTERN:
        what = f"has {len(pattern)} characters; at most {MAX_PATTERN}"
        raise InvalidInput((Violation(field, what),))
    try:
        import re2
    except ModuleNotFoundError as error:
        raise missing_library("regex", "re2") from error
    try:
        return _compiled(pattern, flags)
    except re2.error as error:
        said = error.args[0] if error.args else ""
        why = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
        what = f"is no regular expression of RE2: {why[:200]}"
        raise InvalidInput((Violation(field, what),)) from error


DEFINITION: Final = Definition(
    "regex",
    Regex,
    parameters={
        "pattern": Parameter(required=True, description="regular expression of RE2"),
        "full": Parameter("flag", description="match the whole text"),
        "ignore_case": Parameter("flag", description="match letters of either case"),
        "multiline": Parameter("flag", description="let ^ and $ match at every line"),
        "dot_all": Parameter("flag", description="let . match a line break"),
    },
    artifact=True,
    uses=frozenset(),
    libraries=("google-re2",),
)
