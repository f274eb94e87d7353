"""The numbers of the side-by-side benchmark: spreads, goals, lines, the file."""

from __future__ import annotations

import json
from pathlib import Path

from bench.side_by_side import report
from bench.side_by_side.findings import Found, Goal, Line, Spread, quantile
from bench.side_by_side.rows import adaptive
from bench.side_by_side.rows.latency import ROW as LATENCY


def test_quantiles_are_values_that_were_found() -> None:
    values = [float(n) for n in range(100, 0, -1)]
    assert [quantile(values, share) for share in (0.01, 0.5, 0.99, 1.0)] == [1, 50, 99, 100]
    assert quantile([3.0], 0.99) == 3.0


def test_a_line_is_met_by_its_median() -> None:
    line = Line("row", "ms", None, Spread(1.0, 0.5, 9.0), Goal("at most", 1.0))
    assert line.met is True
    assert Line("row", "ms", None, Spread(1.1, 0.5, 9.0), Goal("at most", 1.0)).met is False
    assert Line("row", "ms", None, None, Goal("at most", 1.0)).met is None
    assert Goal("at least", 2.0).met_by(2.0) and not Goal("at least", 2.0).met_by(1.9)
    text = report.table([line])
    assert text.splitlines()[2].split() == ["row", "–", "1", "ms", "(0.5–9)", "≤", "1", "ms", "yes"]


def test_ratios_are_taken_round_by_round() -> None:
    found = Found([{"s": [20.0]}, {"s": [90.0]}], [{"s": [2.0]}, {"s": [3.0]}])
    assert found.ratios("s", "s", of="reference") == Spread(20.0, 10.0, 30.0)
    assert found.spread("foresight", "s") == Spread(2.5, 2.0, 3.0)
    assert found.spread("foresight", "other") is None


def test_the_p99_of_latency_is_that_of_all_rounds_together() -> None:
    rounds = [{"x": [1.0] * 99 + [9.0]}, {"x": [1.0] * 100}]
    lines = LATENCY.lines({"latency": Found(foresight=list(rounds))})
    assert [line.foresight for line in lines] == [Spread(1, 1, 1), Spread(1, 1, 1)]
    worse = [{"x": [1.0] * 97 + [9.0] * 3}, {"x": [1.0] * 100}]
    assert LATENCY.lines({"latency": Found(foresight=list(worse))})[1].foresight == Spread(9, 1, 9)


def test_the_adaptive_row_is_read_where_there_is_one(tmp_path: Path) -> None:
    path = tmp_path / "adaptive.json"
    assert adaptive.lines_of(path) == []
    path.write_text('{"headlines": {"some": {"fixed": 2000, "adaptive": 900}}, "more": []}')
    calls, part = adaptive.lines_of(path)
    assert "some" in calls.title
    assert calls.reference == Spread(2000, 2000, 2000)
    assert part.foresight == Spread(45, 45, 45)
    assert part.met is True


def test_the_document_keeps_every_round() -> None:
    line = Line("  row", "s", None, Spread(1 / 3, 0.0, 1.0), Goal("at most", 1))
    found = {"work": Found([{"s": [1 / 3]}], [{"s": [2.0]}])}
    data = json.loads(report.document([line], found, rounds=1, machine={"cores": 2}))
    assert data["lines"][0]["title"] == "row"
    assert data["lines"][0]["met"] is True
    assert data["findings"]["work"] == {"reference": [{"s": [0.333333]}], "foresight": [{"s": [2]}]}
