"""Turns what a sandboxed run of tests left behind into a report.

Nothing that comes out of the sandbox is believed by itself: every expected test needs a result,
every control test the result that it has to have, and the whole the nonce of the run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from foresight_services.core.errors import InvalidInput, Reason, Upstream, Violation
from foresight_services.sandbox.inspection import TEST_FIELD, ExpectedTest
from foresight_services.sandbox.port import Completed, Message, Stop, TestReport, TestStatus

_EXCERPT: Final = 2000
_TAB: Final = "\t"
_STOPPED: Final[Mapping[Stop, tuple[TestStatus, str]]] = {
    Stop.WALL_TIME: (TestStatus.TIMED_OUT, "limit of wall time"),
    Stop.CPU_TIME: (TestStatus.TIMED_OUT, "limit of CPU time"),
    Stop.MEMORY: (TestStatus.MEMORY, "limit of memory"),
    Stop.PROCESSES: (TestStatus.PROCESSES, "limit of processes"),
    Stop.FILES: (TestStatus.FILES, "limit of files"),
    Stop.OUTPUT: (TestStatus.OUTPUT, "limit of output"),
}


def printable(text: str, limit: int = _EXCERPT) -> str:
    """Return the end of `text` without control characters, save for line breaks and tabs."""
    kept = (c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text[-limit:])
    return "".join(kept).strip()


@dataclass(frozen=True, slots=True)
class Secrets:
    """What only the harness can know."""

    controls: Mapping[str, str]
    """The outcome that each control test must have."""
    token: str
    """Proves that the harness speaks, once the code has been executed."""
    nonce: str
    """Proves that the harness speaks, once the tests have ended."""


def build_report(
    completed: Completed,
    expected: tuple[ExpectedTest, ...],
    secret: Secrets,
    loaded: Message | None,
    result: Message | None,
) -> TestReport:
    """Return the report of a run.

    `loaded` and `result` are what the harness said after the code and after the tests, if it did.
    """
    status, why, counts = _judge(completed, expected, secret, loaded, result)
    skipped = counts["skipped_by_text"]
    return TestReport(
        status=status,
        total=max(len(expected) - skipped, 1),
        passed=counts["passed"],
        failed=counts["failed"] + counts["skipped"],
        errors=counts["error"] + counts["memory"],
        stopped_by=why,
        stderr=printable(completed.stderr.decode(errors="replace")),
        seconds=completed.seconds,
    )


def refuse_broken(alone: TestReport) -> None:
    """Raise if the test text is at fault: `alone` is its report without any code.

    A missing name may be one that the code should have defined.
    """
    if alone.status is not TestStatus.NOT_LOADED:
        return
    error = alone.stopped_by.rpartition(" ")[2]
    if error in ("ModuleNotFoundError", "ImportError"):
        raise Upstream(
            Reason.METRIC_FAILED,
            "the tests need a package that the sandbox does not have (evaluator.sandbox.python)",
        )
    if error != "NameError":
        raise InvalidInput((Violation(TEST_FIELD, f"it raises {error} by itself"),))


_Verdict = tuple[TestStatus, str, Counter[str]]


def _judge(
    completed: Completed,
    expected: tuple[ExpectedTest, ...],
    secret: Secrets,
    loaded: Message | None,
    result: Message | None,
) -> _Verdict:
    none: Counter[str] = Counter()
    if completed.stop in _STOPPED:
        return (*_STOPPED[completed.stop], none)
    if loaded is not None and loaded.get("token") != secret.token:
        return TestStatus.TAMPERED, "report without the token", none
    if loaded is not None and loaded.get("stage") != "loaded":
        return (*_refused(loaded), none)
    if result is None:
        return (*_vanished(completed, loaded is not None), none)
    if result.get("nonce") != secret.nonce:
        return TestStatus.TAMPERED, "report without the nonce", none
    if changed := result.get("changed"):
        return TestStatus.TAMPERED, f"changed: {printable(str(changed), 200)}", none
    if broken := result.get("broken"):
        return TestStatus.NOT_LOADED, f"exception in the test text: {_name(broken)}", none
    outcomes = result.get("outcomes")
    if not isinstance(outcomes, dict):
        return TestStatus.TAMPERED, "report without outcomes", none
    if any(outcomes.get(name) != outcome for name, outcome in secret.controls.items()):
        return TestStatus.TAMPERED, "control tests", none
    return _count(expected, {k: v for k, v in outcomes.items() if k not in secret.controls})


def _name(text: object) -> str:
    """Return `text` if it can be the name of an exception."""
    return text if isinstance(text, str) and text.isidentifier() and len(text) < 80 else "unknown"


def _refused(loaded: Message) -> tuple[TestStatus, str]:
    match loaded.get("stage"):
        case "syntax":
            return TestStatus.SYNTAX_ERROR, "syntax of the code"
        case "memory":
            return TestStatus.MEMORY, "limit of memory (address space)"
        case "raised":
            return TestStatus.CODE_RAISED, "exception in the code"
        case "exited":
            return TestStatus.EXITED_EARLY, "SystemExit before the tests"
        case "changed":
            return TestStatus.TAMPERED, f"changed: {printable(str(loaded.get('changed')), 200)}"
    return TestStatus.TAMPERED, "report of no known kind"


def _vanished(completed: Completed, loaded: bool) -> tuple[TestStatus, str]:
    when = "during the tests" if loaded else "before the tests"
    if completed.stop is Stop.EXITED:
        return TestStatus.EXITED_EARLY, f"exit with status {completed.exit_code} {when}"
    return TestStatus.CRASHED, f"signal {completed.signal} {when}"


def _count(expected: tuple[ExpectedTest, ...], outcomes: Mapping[str, object]) -> _Verdict:
    """Count outcomes; a test that the text does not show counts, too, but only when it fails."""
    counts: Counter[str] = Counter()
    for test in expected:
        outcome = outcomes.get(f"{test.case}.{test.method}")
        if outcome == "skipped" and test.may_skip:
            outcome = "skipped_by_text"
        elif outcome == "expected_failure":
            outcome = "passed" if test.may_fail else "failed"
        counts[str(outcome)] += 1
    known = {f"{test.case}.{test.method}" for test in expected}
    others = [outcome for name, outcome in outcomes.items() if name not in known]
    if counts["None"]:
        return TestStatus.TAMPERED, "tests without a result", Counter()
    if counts["passed"] + counts["skipped_by_text"] == len(expected) and counts["passed"]:
        if all(outcome == "passed" for outcome in others):
            return TestStatus.PASSED, "nothing", counts
    if counts["memory"]:
        return TestStatus.MEMORY, "limit of memory (address space)", counts
    return TestStatus.FAILED, "tests", counts
