"""The data sets of CollabLLM as tasks: `load` yields them by name, row by row.

Each data set has a module that says which columns it reads and what becomes of them. `files` and
`hub` bring the rows, `records` checks them, `splits` divides them. The libraries for the hub and
for Parquet are optional and imported when they are needed.
"""

from foresight_services.datasets.load import DATA_SETS, load
from foresight_services.datasets.options import DEFAULT_SEED, Options
from foresight_services.datasets.task_row import Split, TaskRow, task_fields

__all__ = ["DATA_SETS", "DEFAULT_SEED", "Options", "Split", "TaskRow", "load", "task_fields"]
