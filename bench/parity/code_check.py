"""The reference's check of code, in processes that hold nothing else.

`untrusted_check` forks, which is not safe where other threads run and slow where much memory is
held. So the workers are forked before anything else is imported or started.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Final

_WORKERS: Final = 2
_MOST_MIB: Final = 300 * 1024
_MOST_SECONDS: Final = 60


def passes(code: str, test: str, entry_point: str) -> float:
    """Return 1 where `code` passes every test of `test`, else 0."""
    import matplotlib.pyplot  # noqa: F401  (`untrusted_check` imports it in every process it forks)
    from bigcodebench.eval import untrusted_check

    status, _ = untrusted_check(
        code,
        test,
        entry_point,
        max_as_limit=_MOST_MIB,
        max_data_limit=_MOST_MIB,
        max_stack_limit=_MOST_MIB,
        min_time_limit=_MOST_SECONDS,
        gt_time_limit=_MOST_SECONDS,
    )
    return float(status == "pass")


@contextmanager
def code_checkers() -> Iterator[ProcessPoolExecutor]:
    """Run the workers; to be entered while the process has one thread and little memory."""
    with ProcessPoolExecutor(_WORKERS, mp_context=multiprocessing.get_context("fork")) as pool:
        # The first call forks them all.
        pool.submit(int).result()
        yield pool
