"""Latency of one MR over its own critical path: its longest future's chain of calls, and the judge.

A new MR begins at a fixed interval whatever the latency of the calls, and however long those before
it take, so nothing is tuned to one of them. Foresight is given twice the rate of the reference.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from bench.side_by_side.bench import Bench, Span, checked
from bench.side_by_side.call_log import critical_paths
from bench.side_by_side.findings import Findings, Goal, Line, Spread, quantile
from bench.side_by_side.work import Results, Row, Work

_INTERVAL: Final = 0.25
"""Seconds between the starts of two MRs for Foresight."""
_REFERENCE_INTERVAL: Final = 0.5
"""The same for the reference, which takes a tenth of a second of CPU for each."""

MEDIAN: Final = Goal("at most", 1.05)
P99: Final = Goal("at most", 1.15)


async def _foresight(bench: Bench) -> Findings:
    async def paced(asked: Sequence[int]) -> list[Span]:
        begin = time.monotonic()
        async with asyncio.TaskGroup() as group:
            tasks = []
            for number, case in enumerate(asked):
                await asyncio.sleep(max(0.0, begin + number * _INTERVAL - time.monotonic()))
                tasks.append(group.create_task(bench.score([case])))
        return [span for task in tasks for span in task.result()]

    seconds = bench.sizes.paced_seconds
    return await _ratios(bench, int(seconds / _INTERVAL), paced)


async def _reference(bench: Bench) -> Findings:
    reference = bench.reference
    assert reference is not None

    async def paced(asked: Sequence[int]) -> list[Span]:
        return await reference.run(asked, interval=_REFERENCE_INTERVAL)

    seconds = bench.sizes.reference_paced_seconds
    return await _ratios(bench, int(seconds / _REFERENCE_INTERVAL), paced)


async def _ratios(
    bench: Bench, how_many: int, paced: Callable[[Sequence[int]], Awaitable[list[Span]]]
) -> Findings:
    found: dict[str, Sequence[float]] = {}
    for latency in bench.sizes.latencies:
        await bench.server.reset(latency)
        spans = await paced(bench.fresh_cases(how_many))
        calls = checked(await bench.server.calls(), len(spans))
        paths = critical_paths(calls)
        pairs = [(span.end - span.begin, paths[str(span.case)]) for span in spans]
        found[latency.name] = [taken / path for taken, path in pairs]
        found[f"{latency.name}, ms over"] = [1e3 * (taken - path) for taken, path in pairs]
    return found


def _lines(results: Results) -> list[Line]:
    found = results["latency"]
    names = [name for name in (found.foresight or found.reference)[0] if "over" not in name]
    lines = []
    for name in names:
        title = f"MR over its critical path, {name}"
        median = found.spread("reference", name), found.spread("foresight", name)
        p99 = _p99(found.values("reference", name)), _p99(found.values("foresight", name))
        lines.append(Line(f"{title}: median", "×", *median, MEDIAN))
        lines.append(Line(f"{title}: p99", "×", *p99, P99))
    return lines


def _p99(rounds: list[list[float]]) -> Spread | None:
    """Return the p99 of all rounds together, which alone has enough MRs, and of each round."""
    if not rounds:
        return None
    each = [quantile(values, 0.99) for values in rounds]
    return Spread(quantile([v for values in rounds for v in values], 0.99), min(each), max(each))


ROW: Final = Row("latency", Work("latency", _foresight, _reference), _lines)
