"""BigCodeBench: Python functions with unit tests.

Columns `task_id`, `instruct_prompt`, `code_prompt`, `canonical_solution`, `test`, `entry_point`; on
the hub the part `v0.1.2`. The tests are metadata for the metric that runs them; nothing here does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from foresight_services.core.task import Task
from foresight_services.datasets.options import Options
from foresight_services.datasets.records import Record, Records
from foresight_services.datasets.splits import drawn_split
from foresight_services.datasets.task_row import TaskRow, task_row

NAME: Final = "bigcodebench"
REPOSITORY: Final = "bigcode/bigcodebench"
PART: Final = "v0.1.2"
"""The release, which the hub publishes as a part."""
PRESET: Final = "code_generation"
EVAL_SHARE: Final = 0.2
"""Share that is held out."""


def bigcodebench(records: Records, options: Options) -> Iterator[TaskRow]:
    """Yield the tasks."""
    for record in records():
        yield _row(record, options)


def _row(record: Record, options: Options) -> TaskRow:
    goal, stub = record.text("instruct_prompt"), record.text("code_prompt")
    program = stub + record.text("canonical_solution")
    test, entry_point = record.text("test"), record.text("entry_point")
    metadata = {
        "task_id": record.text("task_id"),
        "test": test,
        "entry_point": entry_point,
        "extraction_requirement": (
            "Give one complete Python program that runs as it stands: code alone, no prose and no"
            f" Markdown fences. It starts with these lines, unchanged:\n\n{stub}"
        ),
    }
    return task_row(
        record,
        dataset=NAME,
        content=(goal, program, test, entry_point),
        split=drawn_split(options.seed, goal, EVAL_SHARE),
        task=Task(options.preset_or(PRESET), goal=goal, reference=program, metadata=metadata),
    )
