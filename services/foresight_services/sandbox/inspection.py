"""Reads a test text without running it: which tests it has, so that none can go missing.

Counted are the methods whose names begin with `test` of module-level classes that come from
`unittest.TestCase`, as far as the text itself shows it.
"""

from __future__ import annotations

import ast
import warnings
from dataclasses import dataclass
from typing import Final

from foresight_services.core.errors import InvalidInput, Violation

TEST_FIELD: Final = "task.metadata.test"
"""Where the contract has the test text."""
_ROOTS: Final = frozenset({"TestCase", "IsolatedAsyncioTestCase"})


@dataclass(frozen=True, slots=True)
class ExpectedTest:
    """A test that the text has."""

    case: str
    """Name of its class."""
    method: str
    """Name of its method."""
    may_skip: bool
    """Whether the text itself says that it is, or may be, skipped."""
    may_fail: bool
    """Whether the text itself says that it is expected to fail."""


def expected_tests(test: str) -> tuple[ExpectedTest, ...]:
    """Return the tests of the text `test`; raises InvalidInput if it is no Python or has none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = ast.parse(test)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise _invalid(f"it is no Python module ({type(error).__name__})") from error
    classes = {node.name: node for node in module.body if isinstance(node, ast.ClassDef)}
    found = tuple(
        ExpectedTest(
            case=name,
            method=method.name,
            may_skip=_says(node, "skip") or _says(method, "skip"),
            may_fail=_says(node, "expectedFailure") or _says(method, "expectedFailure"),
        )
        for name, node in classes.items()
        if _is_case(node, classes)
        for method in _methods(node, classes).values()
    )
    if not found:
        raise _invalid("it has no tests: no class from unittest.TestCase with methods test...")
    return found


def _invalid(why: str) -> InvalidInput:
    return InvalidInput((Violation(TEST_FIELD, why),))


def _is_case(node: ast.ClassDef, classes: dict[str, ast.ClassDef]) -> bool:
    return any(
        base not in classes and base in _ROOTS
        for each in _lineage(node, classes)
        for base in map(_last_name, each.bases)
    )


def _lineage(node: ast.ClassDef, classes: dict[str, ast.ClassDef]) -> list[ast.ClassDef]:
    """Return `node` and the classes of the text that it comes from, nearest first."""
    line = [node]
    for each in line:
        line += [
            classes[base]
            for base in map(_last_name, each.bases)
            if base in classes and classes[base] not in line
        ]
    return line


def _last_name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def _methods(
    node: ast.ClassDef, classes: dict[str, ast.ClassDef]
) -> dict[str, ast.FunctionDef | ast.AsyncFunctionDef]:
    return {
        statement.name: statement
        for each in reversed(_lineage(node, classes))
        for statement in each.body
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef)
        and statement.name.startswith("test")
    }


def _says(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, word: str) -> bool:
    return any(
        word in name
        for decorator in node.decorator_list
        for part in ast.walk(decorator)
        if (name := _last_name(part) if isinstance(part, ast.expr) else "")
    )
