"""Assertions that code cannot reach, and outcomes of tests; used inside the sandbox."""

from __future__ import annotations

import ast
import builtins
import types
import unittest
import unittest.case
from collections.abc import Callable
from unittest.result import TestResult

PROBES = ("\x00 no value is equal to this", -0x5EED_1E55_F00D)
DEEPEST = 3
WIDEST = 1000

ErrorInfo = tuple[type[BaseException], BaseException, types.TracebackType] | tuple[None, None, None]


def lies_about_equality(value: object, depth: int = 0) -> bool:
    """Whether `value`, made by the code, says that it is equal to what nothing is equal to."""
    kind = type(value)
    if isinstance(value, list | tuple | set | frozenset | dict) and kind.__module__ == "builtins":
        if depth == DEEPEST:
            return False
        parts = list(value.values()) if isinstance(value, dict) else list(value)
        return any(lies_about_equality(part, depth + 1) for part in parts[:WIDEST])
    for name, said in (("__eq__", True), ("__ne__", False)):
        method = getattr(kind, name)
        # Code that is not from a file: the candidate's.
        if isinstance(method, types.FunctionType) and method.__code__.co_filename[:1] == "<":
            if any(method(value, probe) is said for probe in PROBES):
                return True
    return False


class Checked(ast.NodeTransformer):
    """Makes the tests' own comparisons call `name` with what they compare."""

    def __init__(self, name: str) -> None:
        self.name = name

    def visit_Compare(self, node: ast.Compare) -> ast.Compare:
        """Wrap the left side of `==` and `!=`."""
        self.generic_visit(node)
        if isinstance(node.ops[0], ast.Eq | ast.NotEq):
            call = ast.Call(ast.Name(self.name, ast.Load()), [node.left], [])
            node.left = ast.fix_missing_locations(ast.copy_location(call, node.left))
        return node


class Recorder(TestResult):
    """Keeps the outcome of one test; formats nothing."""

    def __init__(self, say: Callable[[BaseException], object]) -> None:
        super().__init__()
        self.say = say
        self.outcome: str | None = None

    def note(self, outcome: str, error: BaseException | None = None) -> None:
        """Keep the first bad outcome: cleaning up may fail after the test did."""
        if self.outcome in (None, "passed"):
            self.outcome = outcome
        if error is not None:
            self.say(error)

    def addSuccess(self, test: unittest.TestCase) -> None:
        """Note a pass."""
        self.note("passed")

    def addFailure(self, test: unittest.TestCase, err: ErrorInfo) -> None:
        """Note an assertion that does not hold."""
        self.note("failed", err[1])

    def addError(self, test: unittest.TestCase, err: ErrorInfo) -> None:
        """Note another exception."""
        self.note("memory" if isinstance(err[1], MemoryError) else "error", err[1])

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        """Note a skip."""
        self.note("skipped")

    def addExpectedFailure(self, test: unittest.TestCase, err: ErrorInfo) -> None:
        """Note a failure that was expected."""
        self.note("expected_failure")

    def addUnexpectedSuccess(self, test: unittest.TestCase) -> None:
        """Note a success that was not."""
        self.note("failed")

    def addSubTest(
        self, test: unittest.TestCase, subtest: unittest.TestCase, err: ErrorInfo | None
    ) -> None:
        """Note what a part of a test raised."""
        if err is not None:
            failed = isinstance(err[1], test.failureException)
            self.note("failed" if failed else "error", err[1])


def private_assertions(
    checked: Callable[[object], object],
) -> Callable[[unittest.TestCase], None]:
    """Return a function that binds private copies of all that `TestCase` does to a test."""
    private_globals = dict(vars(unittest.case))
    private_globals["__builtins__"] = dict(vars(builtins))
    copies: dict[str, types.FunctionType] = {}
    for name, function in vars(unittest.TestCase).items():
        if not isinstance(function, types.FunctionType) or name.startswith("__"):
            continue
        if function.__globals__ is vars(unittest.case):  # not what a decorator made elsewhere
            copies[name] = types.FunctionType(
                function.__code__,
                private_globals,
                name,
                function.__defaults__,
                function.__closure__,
            )
            copies[name].__kwdefaults__ = function.__kwdefaults__

    def checking(method: Callable[..., object]) -> Callable[..., object]:
        def check(*args: object, **kwargs: object) -> object:
            for value in args:
                checked(value)
            return method(*args, **kwargs)

        return check

    def bind(test: unittest.TestCase) -> None:
        for name, copy in copies.items():
            owner = next(kind for kind in type(test).__mro__ if name in vars(kind))
            if owner is unittest.TestCase:
                bound = types.MethodType(copy, test)
                test.__dict__[name] = checking(bound) if name.startswith("assert") else bound

    return bind
