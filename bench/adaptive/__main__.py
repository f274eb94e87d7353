"""Adaptive sampling beside a fixed number of futures, in worlds whose truth is known.

    python -m bench.adaptive

Makes groups of eight candidates in the builtin worlds with their exact rewards and a table of real
futures (`groups`), then plays the tables through the core's sampling (`replay`). Candidates whose
exact rewards are equal are equally right; "up to" a tolerance, so are those within it of the best.
Writes bench/results/adaptive.json, and adaptive.png where matplotlib is installed.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from bench.adaptive.errors import differences, lifts, targets
from bench.adaptive.groups import Table, make_tables
from bench.adaptive.replay import (
    bias_of_means,
    first_candidates,
    gap,
    summary,
    without_common_draws,
)
from foresight_services.core.allocation import SamplePlan

RESULTS: Final = Path(__file__).parents[1] / "results"
FIXED: Final = (2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 28, 32, 36, 40, 44, 48)
CONFIDENCES: Final = (0.8, 0.9, 0.95)
GAP: Final = 0.05
"""Smallest gap of a group "with a gap", a twentieth of what success is worth."""

TOLERANCES: Final = (0.02, 0.05)
"""Differences that do not matter, in the rows of all groups up to them."""

HEADLINES: Final = {
    "with a gap": "confidence 0.9, tolerance 0.0",
    "all groups, up to 0.02": "confidence 0.9, tolerance 0.02",
    "all groups, up to 0.05": "confidence 0.9, tolerance 0.05",
}
"""The rows that the side-by-side benchmark shows, by the groups that they are of."""

SOME: Final = 100
"""Groups for the rows of less weight."""

Row = dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--groups", type=int, default=1000)
    parser.add_argument("--futures", type=int, default=48, help="of every candidate, at most")
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    start = time.perf_counter()
    with ProcessPoolExecutor(options.processes) as pool:
        parts = 4 * options.processes
        make = partial(make_tables, options.groups // parts, futures=options.futures)
        made = pool.map(_call, [partial(make, seed=options.seed + part) for part in range(parts)])
        tables = [table for part in made for table in part]
        print(f"{len(tables)} groups after {time.perf_counter() - start:.0f} s", flush=True)
        report = _report(pool, tables, options.futures, options.seed)
    report["headlines"] = headlines(report["best"])
    report["groups"] = len(tables)
    report["seconds"] = round(time.perf_counter() - start)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "adaptive.json").write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report, indent=1))
    if find_spec("matplotlib"):
        from bench.adaptive.plot import plot

        plot(report, RESULTS / "adaptive.png")


def headlines(best: Mapping[str, Any]) -> dict[str, Row]:
    """Return the calls of a fixed number and of ours, for the same chance of being right."""
    rows = {groups: best[groups]["adaptive"][name] for groups, name in HEADLINES.items()}
    return {
        groups: {"fixed": row["fixed_calls"], "adaptive": row["calls"]}
        for groups, row in rows.items()
    }


def _call(make: partial[list[Table]]) -> list[Table]:
    return make()


def _report(pool: ProcessPoolExecutor, tables: list[Table], most: int, seed: int) -> dict[str, Any]:
    clear = [table for table in tables if gap(table) >= GAP]
    some = clear[:SOME]
    rng = random.Random(seed)
    report: dict[str, Any] = {"gap": GAP, "groups_with_a_gap": len(clear), "some": len(some)}
    plain = [SamplePlan(most, aim="best", confidence=c) for c in CONFIDENCES]
    tolerant = SamplePlan(most, aim="best", confidence=0.9, tolerance=0.02)
    sets = {
        "with a gap": (clear, [*plain, tolerant]),
        "with a gap, no common draws": ([without_common_draws(t, rng) for t in clear], plain),
        "all groups": (tables, [plain[1], tolerant]),
        "four candidates, with a gap": (_with_gap(tables, 4)[:SOME], plain[1:2]),
        "two candidates, with a gap": (_with_gap(tables, 2)[:SOME], plain[1:2]),
    }
    report["best"] = {name: _best(pool, *part, most) for name, part in sets.items()}
    for slack in TOLERANCES:
        plans = [SamplePlan(most, aim="best", confidence=c, tolerance=slack) for c in CONFIDENCES]
        report["best"][f"all groups, up to {slack}"] = _best(pool, tables, plans, most, slack)
    windows = [SamplePlan(most, aim="best", confidence=0.9, window=w) for w in (1, 8, 32)]
    report["windows"] = _rows(pool, some, {str(plan.window): plan for plan in windows})
    totals = [
        SamplePlan(most, aim="best", confidence=0.999, total=8 * n) for n in (4, 6, 8, 12, 16)
    ]
    report["group_budget"] = _rows(pool, some, {str(plan.total): plan for plan in totals})
    ranking = {f"fixed {n}": SamplePlan(n, n, aim="ranking") for n in FIXED if n <= most}
    for c in (0.5, 0.8):
        ranking[f"confidence {c}"] = SamplePlan(most, aim="ranking", confidence=c)
    report["ranking of four"] = _rows(pool, _ranked(tables)[:SOME], ranking)
    means = {"fixed 8": SamplePlan(8, 8), "best, confidence 0.9": plain[1]}
    biases = pool.map(partial(bias_of_means, clear), means.values())
    report["means"] = dict(zip(means, biases, strict=True))
    report["target_stderr"] = targets(tables, most)
    report["differences"] = differences(tables, rng)
    report["lift"] = lifts(tables, rng)
    return report


def _rows(
    pool: ProcessPoolExecutor,
    tables: Sequence[Table],
    plans: Mapping[str, SamplePlan],
    slack: float = 0.0,
) -> dict[str, Row]:
    found = pool.map(partial(summary, tables, slack=slack), plans.values())
    return dict(zip(plans, found, strict=True))


def _ranked(tables: Sequence[Table]) -> list[Table]:
    """Return groups of four whose neighbours all differ."""
    fours = [first_candidates(table, 4) for table in tables]
    orders = [(table, sorted(table.truth)) for table in fours]
    return [t for t, o in orders if min(b - a for a, b in zip(o, o[1:], strict=False)) >= GAP / 2]


def _with_gap(tables: Sequence[Table], count: int) -> list[Table]:
    smaller = (first_candidates(table, count) for table in tables)
    return [table for table in smaller if gap(table) >= GAP]


def _best(
    pool: ProcessPoolExecutor,
    tables: Sequence[Table],
    adaptive: Sequence[SamplePlan],
    most: int,
    slack: float = 0.0,
) -> dict[str, object]:
    """Return fixed and adaptive rows, the latter with the calls that fixed numbers would take."""
    fixed = _rows(pool, tables, {str(n): SamplePlan(n, n) for n in FIXED if n <= most}, slack)
    plans = {f"confidence {p.confidence}, tolerance {p.tolerance}": p for p in adaptive}
    chosen = _rows(pool, tables, plans, slack)
    for row in chosen.values():
        row["fixed_calls"] = _calls_for(row["right"], list(fixed.values()))
        row["share_of_calls"] = row["calls"] / row["fixed_calls"]
    print(f"best of {len(tables)} groups done", flush=True)
    return {"groups": len(tables), "fixed": fixed, "adaptive": chosen}


def _calls_for(right: float, fixed: Sequence[Mapping[str, float]]) -> float:
    """Return the calls at which fixed numbers are as often right; the most there are if never."""
    for before, after in zip(fixed, fixed[1:], strict=False):
        if before["right"] <= right < after["right"]:
            share = (right - before["right"]) / (after["right"] - before["right"])
            return before["calls"] + share * (after["calls"] - before["calls"])
    return fixed[-1 if right >= fixed[-1]["right"] else 0]["calls"]


if __name__ == "__main__":
    main()
