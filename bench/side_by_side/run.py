"""Measure Foresight beside the reference, in one run on one model server.

    python -m bench.side_by_side --reference .venv-parity [--rounds 5] [--only ROW]

Both sides take turns in every round. Prints a table, writes `side_by_side.json` and
`side_by_side.png`, and ends with 1 if anything that it started fails.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import aiohttp
import grpc
import uvloop

from bench.side_by_side import report
from bench.side_by_side.bench import Bench, NotWholeError, benching, warm_up
from bench.side_by_side.findings import Found, Line
from bench.side_by_side.processes import ChildFailed, ended
from bench.side_by_side.rows import ROWS
from bench.side_by_side.sizes import FULL, SMALL
from bench.side_by_side.work import Results, Row, Work
from foresight.errors import ForesightError

RESULTS: Final = Path(__file__).parents[1] / "results"
_MOST_SECONDS: Final = 15 * 60
"""Time that a run may take."""
_SECONDS_TO_START: Final = 60
"""Of it, for starting and ending the processes."""
_FAILURES: Final = (
    *(ChildFailed, NotWholeError, TimeoutError),
    *(ForesightError, grpc.RpcError, aiohttp.ClientError, ExceptionGroup),
)
"""What a run ends with where a process or its work fails; anything else is a mistake in here."""


def main() -> int:
    """Run the benchmark; return the exit status."""
    arguments = _arguments()
    reference = None if arguments.without_reference else Path(arguments.reference)
    if reference is not None and not next(reference.glob("lib/python*/site-packages/collabllm"), 0):
        print(f"{reference} has no collabllm; `make parity` installs it", file=sys.stderr)
        return 1
    if arguments.plot:
        # Before the work, so that a missing library is not found out after it.
        import bench.side_by_side.plot  # noqa: F401
    rows = [row for row in ROWS if not arguments.only or row.name in arguments.only]
    try:
        results = uvloop.run(_bounded(rows, reference, arguments))
    except _FAILURES as error:
        print(f"failed: {type(error).__name__} {error}", file=sys.stderr)
        return 1
    except asyncio.CancelledError:
        print("stopped", file=sys.stderr)
        return 1
    _report(rows, results, reference, arguments)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.side_by_side")
    parser.add_argument("--reference", default=".venv-parity", help="environment of the reference")
    parser.add_argument("--without-reference", action="store_true", help="measure Foresight alone")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--only", action="append", choices=[row.name for row in ROWS], help="some rows; repeatable"
    )
    parser.add_argument("--small", action="store_true", help="little work; shows that it runs")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder to write to")
    parser.add_argument("--no-plot", dest="plot", action="store_false", help="draw no picture")
    return parser.parse_args()


async def _bounded(
    rows: Sequence[Row], reference: Path | None, arguments: argparse.Namespace
) -> Results:
    """Run within the time that a run may take; a signal ends it in order."""
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, task.cancel)
    async with asyncio.timeout(_MOST_SECONDS):
        with tempfile.TemporaryDirectory(prefix="side-by-side-") as folder:
            sizes = SMALL if arguments.small else FULL
            async with benching(Path(folder), reference, sizes) as bench:
                return await _guarded(bench, rows, arguments.rounds)


async def _guarded(bench: Bench, rows: Sequence[Row], rounds: int) -> Results:
    """Work unless one of the processes ends, which ends the run at once."""
    children = [bench.server.process, *bench.services.children]
    if bench.reference is not None:
        children.append(bench.reference.process)
    work = asyncio.create_task(_work(bench, rows, rounds))
    guard = asyncio.create_task(ended(*children))
    try:
        await asyncio.wait((work, guard), return_when=asyncio.FIRST_COMPLETED)
        return guard.result() if guard.done() else work.result()
    finally:
        for task in (work, guard):
            task.cancel()
        await asyncio.gather(work, guard, return_exceptions=True)


async def _work(bench: Bench, rows: Sequence[Row], rounds: int) -> Results:
    """Return what every piece of work found, the sides taking turns at being first.

    A round for which there may be too little time is not begun.
    """
    results: defaultdict[str, Found] = defaultdict(Found)
    works = dict.fromkeys(row.work for row in rows if row.work is not None)
    end = time.monotonic() + _MOST_SECONDS - _SECONDS_TO_START
    longest = dict.fromkeys(works, 0.0)
    await warm_up(bench)
    for number in range(rounds):
        due = [work for work in works if number < work.most_rounds]
        if time.monotonic() + sum(longest[work] for work in due) > end:
            print(f"no time for more than {number} rounds", file=sys.stderr)
            break
        for work in due:
            begin = time.monotonic()
            await _both(bench, work, results[work.name], reference_first=number % 2 == 0)
            seconds = time.monotonic() - begin
            longest[work] = max(longest[work], seconds)
            print(f"round {number + 1}, {work.name}: {seconds:.1f} s", file=sys.stderr, flush=True)
    return results


async def _both(bench: Bench, work: Work, found: Found, *, reference_first: bool) -> None:
    async def reference() -> None:
        if bench.reference is not None and work.reference is not None:
            found.reference.append(await work.reference(bench))

    if reference_first:
        await reference()
    found.foresight.append(await work.foresight(bench))
    if not reference_first:
        await reference()


def _report(
    rows: Sequence[Row], results: Results, reference: Path | None, arguments: argparse.Namespace
) -> None:
    rounds = max((len(found.foresight) for found in results.values()), default=0)
    lines: list[Line] = [line for row in rows for line in row.lines(results)]
    machine = report.machine(reference)
    facts = ", ".join(f"{name} {value}" for name, value in machine.items() if value)
    print(f"{facts}; {rounds} rounds: medians (extremes)\n\n{report.table(lines)}")
    arguments.results.mkdir(parents=True, exist_ok=True)
    text = report.document(lines, results, rounds=rounds, machine=machine)
    (arguments.results / "side_by_side.json").write_text(text, "utf-8")
    if arguments.plot:
        from bench.side_by_side.plot import draw

        draw(lines, arguments.results / "side_by_side.png", caption=facts)
