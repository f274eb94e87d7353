"""CPU time for each LLM call, in the GRPO batch: Foresight's three services against the reference.

For the reference the better of its two ways counts: serially, or from 128 threads.
"""

from __future__ import annotations

from typing import Final

from bench.side_by_side.findings import Goal, Line
from bench.side_by_side.rows import batch
from bench.side_by_side.work import Results, Row


def _lines(results: Results) -> list[Line]:
    found = results["batch"]
    ways = (found.spread("reference", name) for name in (batch.SERIAL_CPU, batch.CPU))
    reference = min((way for way in ways if way), key=lambda way: way.median, default=None)
    lines = [
        Line(
            "CPU per LLM call, all three services",
            "ms",
            reference,
            found.spread("foresight", batch.CPU),
            Goal("at most", 0.35),
        )
    ]
    for name in ("reward", "simulator", "evaluator"):
        own = found.spread("foresight", f"{name} {batch.CPU}")
        lines.append(Line(f"  of it the {name} service", "ms", None, own))
    client = found.spread("foresight", batch.CLIENT_CPU)
    lines.append(Line("  beside it the trainer's SDK", "ms", None, client))
    server = found.spread("foresight", f"model server {batch.CPU}")
    return [*lines, Line("  beside it the bench's model server", "ms", None, server)]


ROW: Final = Row("cpu", batch.WORK, _lines)
