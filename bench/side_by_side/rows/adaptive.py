"""LLM calls for the same probability of picking the best candidate, as another bench found it.

`bench/results/adaptive.json`, where there is one, has under `headlines`, by groups, the calls
`adaptive` of adaptive sampling and `fixed` of a fixed number of futures that is as often right.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from bench.side_by_side.findings import Goal, Line, Spread
from bench.side_by_side.work import Results, Row

RESULTS: Final = Path(__file__).parents[2] / "results" / "adaptive.json"


_NOTE: Final = "from bench/results/adaptive.json; without adaptive sampling in the first column"


def _lines(results: Results) -> list[Line]:
    del results
    return lines_of(RESULTS)


def lines_of(results: Path) -> list[Line]:
    """Return the lines that the file gives; none where there is no file."""
    if not results.exists():
        return []
    lines: list[Line] = []
    for groups, calls in json.loads(results.read_text("utf-8"))["headlines"].items():
        fixed, adaptive = float(calls["fixed"]), float(calls["adaptive"])
        part = 100 * adaptive / fixed
        counted = (Spread(fixed, fixed, fixed), Spread(adaptive, adaptive, adaptive))
        share = Spread(part, part, part)
        lines += [
            Line(f"LLM calls for the same choice: {groups}", "", *counted, note=_NOTE),
            Line("  of a fixed number's", "%", None, share, Goal("at most", 50)),
        ]
    return lines


ROW: Final = Row("adaptive", None, _lines)
