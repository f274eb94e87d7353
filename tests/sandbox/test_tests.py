"""Tests of honest code, and requests whose tests are wrong."""

import asyncio

import pytest

from foresight_services.core.errors import InvalidInput, Reason, Upstream
from foresight_services.sandbox.port import TestStatus
from tests.sandbox.attempts import HONEST, TEST


async def test_right_code_passes(sandbox):
    report = await sandbox.run_tests(HONEST, TEST)
    assert report.status is TestStatus.PASSED
    assert (report.total, report.passed, report.failed, report.errors) == (3, 3, 0, 0)
    assert report.all_passed
    assert report.fraction == 1.0
    assert report.seconds > 0


async def test_wrong_code_fails_with_counts(sandbox):
    code = "def task_func(x):\n    if x == 0:\n        raise KeyError(x)\n    return 51 - x % 2\n"
    report = await sandbox.run_tests(code.replace("51 - x % 2", "x"), TEST)
    assert report.status is TestStatus.FAILED
    assert (report.total, report.passed, report.failed, report.errors) == (3, 1, 1, 1)
    assert report.fraction == pytest.approx(1 / 3)
    assert "KeyError: 0" in report.stderr


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("def task_func(x:", TestStatus.SYNTAX_ERROR),
        ("\0", TestStatus.SYNTAX_ERROR),
        ("import nothing_of_this_name", TestStatus.CODE_RAISED),
        ("", TestStatus.FAILED),
    ],
)
async def test_code_that_does_not_run_is_the_codes_fault(sandbox, code, status):
    report = await sandbox.run_tests(code, TEST)
    assert report.status is status
    assert report.passed == 0


@pytest.mark.parametrize(
    "test",
    [
        "def (",
        "",
        "x = 1",
        "import unittest\nclass TestCases(unittest.TestCase):\n    def check(self): pass\n",
        "class TestCases:\n    def test_a(self): pass\n",
    ],
)
async def test_tests_that_are_none_make_the_request_wrong(sandbox, test):
    with pytest.raises(InvalidInput) as caught:
        await sandbox.run_tests(HONEST, test)
    assert caught.value.violations[0].field == "task.metadata.test"


def importing(line: str) -> str:
    return f"{line}\n{TEST}"


@pytest.mark.parametrize("code", [HONEST, "import nothing_of_this_name\n" + HONEST])
async def test_a_package_that_the_sandbox_lacks_is_not_the_codes_fault(sandbox, code):
    with pytest.raises(Upstream) as caught:
        await sandbox.run_tests(code, importing("import nothing_of_this_name"))
    assert caught.value.reason is Reason.METRIC_FAILED


async def test_tests_that_raise_by_themselves_make_the_request_wrong(sandbox):
    with pytest.raises(InvalidInput) as caught:
        await sandbox.run_tests(HONEST, importing("1 / 0"))
    assert "ZeroDivisionError" in caught.value.message


async def test_tests_that_cannot_be_loaded_with_the_code_are_the_codes_fault(sandbox):
    report = await sandbox.run_tests("x = 1", importing("task_func(2)"))
    assert (report.status, report.passed) == (TestStatus.NOT_LOADED, 0)
    report = await sandbox.run_tests("json = 1", importing("json = globals().get('json', 2) / 1"))
    assert report.status is TestStatus.FAILED
    spoiled = "import sys\nsys.modules['json'] = None\n" + HONEST
    report = await sandbox.run_tests(spoiled, importing("import json"))
    assert (report.status, report.passed) == (TestStatus.NOT_LOADED, 0)


FULL = """
import multiprocessing
import unittest
from unittest import mock
from unittest.mock import patch

class Base(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.shared = 3

    def setUp(self):
        self.made = task_func(2)

    def tearDown(self):
        del self.made

    def test_inherited(self):
        self.assertEqual(self.shared, 3)

class TestCases(Base):
    def test_fixture(self):
        self.assertEqual(self.made, 5)

    @patch("builtins.print")
    def test_builtins_may_be_mocked(self, printed):
        print("x")
        printed.assert_called_once_with("x")

    def test_the_code_may_be_mocked(self):
        with patch("__test__.helper", return_value=10):
            self.assertEqual(task_func(2), 11)
        self.assertEqual(task_func(2), mock.ANY)

    def test_parts(self):
        for x in range(3):
            with self.subTest(x=x):
                self.assertEqual(task_func(x), x * x + 1)

    def test_raises(self):
        with self.assertRaisesRegex(TypeError, "multiply"):
            task_func("x")

    def test_files(self):
        with open("data.txt", "w") as file:
            file.write("x")
        with open("data.txt") as file:
            self.assertEqual(file.read(), "x")

    def test_processes(self):
        with multiprocessing.Pool(2) as pool:
            self.assertEqual(pool.map(abs, [-1, 2]), [1, 2])

    @unittest.skip("the text says so")
    def test_skipped(self):
        self.fail()

    @unittest.expectedFailure
    def test_expected(self):
        self.fail()

class TestLater(unittest.IsolatedAsyncioTestCase):
    async def test_asyncio(self):
        self.assertEqual(task_func(1), 2)
"""
HELPED = "def helper(x):\n    return x * x\ndef task_func(x):\n    return helper(x) + 1\n"


async def test_what_unittest_offers_works(sandbox):
    report = await sandbox.run_tests(HELPED, FULL)
    assert report.status is TestStatus.PASSED, report
    assert report.total == 11
    assert report.passed == 11


async def test_equality_of_the_codes_own_classes_is_fine(sandbox):
    code = (
        "import dataclasses\n"
        "@dataclasses.dataclass\nclass Point:\n    x: int\n"
        "class Loose:\n    def __init__(self, x): self.x = x\n"
        "    def __eq__(self, other): return isinstance(other, int) and other == self.x\n"
    )
    test = (
        "import unittest\nclass TestCases(unittest.TestCase):\n"
        "    def test_a(self):\n        self.assertEqual(Point(1), Point(1))\n"
        "        self.assertTrue(Loose(2) == 2)\n        self.assertNotEqual(Loose(2), 3)\n"
    )
    assert (await sandbox.run_tests(code, test)).status is TestStatus.PASSED


async def test_an_error_in_a_fixture_fails_its_tests(sandbox):
    test = (
        "import unittest\nclass TestCases(unittest.TestCase):\n"
        "    @classmethod\n    def setUpClass(cls): raise OSError\n"
        "    def test_a(self): pass\n    def test_b(self): pass\n"
    )
    report = await sandbox.run_tests(HONEST, test)
    assert (report.status, report.errors) == (TestStatus.FAILED, 2)


async def test_runs_do_not_see_each_other(sandbox):
    leave = "open('left', 'w').close()\n" + HONEST
    look = "import os\nassert not os.path.exists('left')\n" + HONEST
    reports = [await sandbox.run_tests(code, TEST) for code in (leave, look)]
    assert [report.status for report in reports] == [TestStatus.PASSED] * 2


async def test_many_at_once(sandbox):
    codes = [HONEST, "def task_func(x): return x"] * 4
    reports = await asyncio.gather(*(sandbox.run_tests(code, TEST) for code in codes))
    assert [r.status for r in reports] == [TestStatus.PASSED, TestStatus.FAILED] * 4


async def test_the_excerpt_has_no_control_characters(sandbox):
    code = "import sys\nsys.stderr.write('\\x1b[31mred\\x07\\x9b')\nsys.stderr.flush()\n1/0\n"
    report = await sandbox.run_tests(code, TEST)
    assert "red" in report.stderr
    assert not set(report.stderr) & set("\x1b\x07\x9b")
