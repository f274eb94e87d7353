"""Hostile code: each attempt is stopped by what should stop it, and honest code runs after it."""

import re

import pytest

from foresight_services.sandbox.port import TestStatus
from tests.fakes.sandbox import processes_with
from tests.fakes.waiting import eventually
from tests.sandbox.attempts import EXHAUSTION, HONEST, TEST
from tests.sandbox.cheats import CHEATS
from tests.sandbox.escapes import ESCAPES
from tests.sandbox.late_cheats import LATE_CHEATS
from tests.sandbox.outside import filled_in, prepared


@pytest.fixture
def outside(tmp_path):
    with prepared(tmp_path) as words:
        yield words


@pytest.mark.parametrize(
    "attempt", (*EXHAUSTION, *ESCAPES, *CHEATS, *LATE_CHEATS), ids=lambda a: a.name
)
async def test_attempts(sandbox, attempt, outside):
    code = filled_in(attempt.code, outside)
    report = await sandbox.run_tests(code, TEST, attempt.limits)
    assert report.status is attempt.status, report
    assert re.search(attempt.stopped_by, report.stopped_by), report
    assert re.search(attempt.told, report.stderr), report
    assert "ESCAPED" not in report.stderr
    assert report.passed == 0
    assert not report.all_passed
    assert report.total == 3
    await eventually(lambda: not processes_with(outside["MARK"]))
    honest = await sandbox.run_tests(HONEST, TEST)
    assert honest.status is TestStatus.PASSED, honest


def test_names_are_unique():
    names = [attempt.name for attempt in (*EXHAUSTION, *ESCAPES, *CHEATS, *LATE_CHEATS)]
    assert len(names) == len(set(names))
