"""MATH-Hard: the level 5 problems of MATH, with worked solutions.

Columns `problem`, `solution`, `level`, `type`; parts `train` and `test`. As in CollabLLM, the goal
is the problem and the reference the whole solution; its final answer is kept as metadata.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from foresight_services.core.task import Task
from foresight_services.datasets.options import Options
from foresight_services.datasets.records import Record, Records
from foresight_services.datasets.splits import drawn_split, published_split
from foresight_services.datasets.task_row import TaskRow, task_row

NAME: Final = "math-hard"
REPOSITORY: Final = "lighteval/MATH-Hard"
PRESET: Final = "math"
EVAL_SHARE: Final = 0.1
"""Share that is held out where no part is named."""

_BOX: Final = re.compile(r"\\(?:boxed|fbox)\s*")
_BARE: Final = re.compile(r"[0-9A-Za-z]+")
_BRACES: Final = re.compile(r"\\.|[{}]", re.DOTALL)


def math_hard(records: Records, options: Options) -> Iterator[TaskRow]:
    """Yield the problems."""
    for record in records():
        yield _row(record, options)


def _row(record: Record, options: Options) -> TaskRow:
    problem, solution = record.text("problem"), record.text("solution")
    metadata = {
        "answer": boxed_answer(solution) or "",
        "level": record.text("level"),
        "type": record.text("type"),
    }
    return task_row(
        record,
        dataset=NAME,
        content=(problem, solution),
        split=published_split(record) or drawn_split(options.seed, problem, EVAL_SHARE),
        task=Task(options.preset_or(PRESET), goal=problem, reference=solution, metadata=metadata),
    )


def boxed_answer(solution: str) -> str | None:
    r"""Return what the last \boxed{...} holds, None where there is none that ends."""
    boxes = list(_BOX.finditer(solution))
    if not boxes:
        return None
    start = boxes[-1].end()
    if not solution.startswith("{", start):
        # A box around a number or a letter has no braces.
        bare = _BARE.match(solution, start)
        return bare[0] if bare else None
    depth = 0
    for brace in _BRACES.finditer(solution, start):
        # What follows a backslash is text: \{ opens nothing.
        depth += {"{": 1, "}": -1}.get(brace[0], 0)
        if depth == 0:
            return solution[start + 1 : brace.start()].strip() or None
    return None
