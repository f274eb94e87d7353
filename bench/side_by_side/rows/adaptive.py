"""LLM calls for the same probability of picking the best candidate, as another bench found it.

`bench/results/adaptive.json`, where there is one, is an object with the numbers `reference`,
Foresight's calls at a fixed number of futures, and `foresight`, those of adaptive sampling.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from bench.side_by_side.findings import Goal, Line, Spread
from bench.side_by_side.work import Results, Row

RESULTS: Final = Path(__file__).parents[2] / "results" / "adaptive.json"


def _lines(results: Results) -> list[Line]:
    del results
    return lines_of(RESULTS)


def lines_of(results: Path) -> list[Line]:
    """Return the lines that the file gives; none where there is no file."""
    if not results.exists():
        return []
    data = json.loads(results.read_text("utf-8"))
    fixed, adaptive = float(data["reference"]), float(data["foresight"])
    part = 100 * adaptive / fixed
    calls = (Spread(fixed, fixed, fixed), Spread(adaptive, adaptive, adaptive))
    return [
        Line("LLM calls for the same choice", "", *calls, note="from bench/results/adaptive.json"),
        Line(
            "LLM calls, of a fixed number's",
            "%",
            None,
            Spread(part, part, part),
            Goal("at most", 50),
        ),
    ]


ROW: Final = Row("adaptive", None, _lines)
