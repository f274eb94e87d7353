"""Whether code passes its tests."""

from __future__ import annotations

import pytest

from foresight_services.core.errors import InvalidInput, Precondition, Reason, Upstream
from foresight_services.metrics.pass_rate import DEFINITION
from foresight_services.sandbox.code_sandbox import ProcessSandbox
from foresight_services.sandbox.port import TestStatus
from foresight_services.sandbox.settings import Isolation, SandboxSettings
from tests.fakes.sandbox import ScriptedSandbox, report_of
from tests.fakes.subjects import score_text, tools

CODE = "def double(x):\n    return 2 * x\n"
TEST = """
import unittest

class TestDouble(unittest.TestCase):
    def test_two(self):
        self.assertEqual(double(2), 4)

    def test_text(self):
        self.assertEqual(double("a"), "aa")
"""
HALF = report_of(TestStatus.FAILED, total=2, passed=1, failed=1)
ALL = report_of(TestStatus.PASSED, total=2, passed=2)


@pytest.mark.parametrize(
    ("report", "partial", "value"),
    [(ALL, False, 1.0), (HALF, False, 0.0), (ALL, True, 1.0), (HALF, True, 0.5)],
)
async def test_all_or_nothing_unless_a_share_is_wanted(report, partial, value) -> None:
    given = tools(ScriptedSandbox(report))
    score = await score_text(
        DEFINITION, CODE, metadata={"test": TEST}, given=given, partial=partial
    )
    assert score.value == value
    assert score.parts == {"passed": report.passed, "total": 2.0}


async def test_the_code_is_taken_out_of_the_reply() -> None:
    sandbox = ScriptedSandbox(ALL)
    reply = f"Here:\n```python\n{CODE}```\nUse it:\n```python\ndouble(1)\n```"
    await score_text(DEFINITION, reply, metadata={"test": TEST}, given=tools(sandbox))
    assert sandbox.tested == [(CODE, TEST)]


async def test_an_example_in_the_codes_own_documentation_is_no_reply() -> None:
    sandbox = ScriptedSandbox(ALL)
    example = "    ```python\n    double(1)\n    ```\n"
    code = f'def double(x):\n    """Double.\n\n{example}    """\n    return 2 * x\n'
    await score_text(DEFINITION, code, metadata={"test": TEST}, given=tools(sandbox))
    assert sandbox.tested == [(code, TEST)]


@pytest.mark.parametrize("text", ["(" * 60_000, "x = 1\0", "x" * 70_000, "'\\d'", "\ud800"])
async def test_odd_texts_are_code_that_fails_and_no_error(text: str) -> None:
    sandbox = ScriptedSandbox(HALF)
    score = await score_text(DEFINITION, text, metadata={"test": TEST}, given=tools(sandbox))
    assert score.value == 0.0


async def test_a_task_without_tests_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"task\.metadata\.test"):
        await score_text(DEFINITION, CODE, given=tools(ScriptedSandbox(ALL)))


@pytest.mark.parametrize(
    ("sandbox", "reason"),
    [
        (None, Reason.METRIC_UNAVAILABLE),
        (ScriptedSandbox(ALL, unavailable="no namespaces"), Reason.SANDBOX_UNAVAILABLE),
    ],
)
async def test_what_cannot_isolate_code_is_found_before_scoring(sandbox, reason) -> None:
    with pytest.raises(Precondition) as caught:
        await score_text(DEFINITION, CODE, metadata={"test": TEST}, given=tools(sandbox))
    assert caught.value.reason is reason


async def test_what_the_sandbox_could_not_do_is_no_score() -> None:
    failing = ScriptedSandbox(Upstream(Reason.METRIC_FAILED, "no process"))
    with pytest.raises(Upstream, match="no process"):
        await score_text(DEFINITION, CODE, metadata={"test": TEST}, given=tools(failing))


@pytest.mark.parametrize(
    ("code", "passed"), [(CODE, 2), ("def double(x):\n    return x + x\n", 2), ("double = abs", 0)]
)
async def test_real_code_is_run(code: str, passed: int) -> None:
    sandbox = ProcessSandbox(SandboxSettings(isolation=Isolation.NONE, max_concurrency=1))
    score = await score_text(DEFINITION, code, metadata={"test": TEST}, given=tools(sandbox))
    assert score.value == (1.0 if passed == 2 else 0.0)
    assert score.parts == {"passed": passed, "total": 2.0}
