"""The picture of `bench.anytime`: futures in the answer, and how far off it is, by deadline."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot


def draw(report: Mapping[str, Any], path: Path) -> None:
    """Draw `report` to `path`."""
    figure, (counts, errors) = pyplot.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    for name, setup in report["setups"].items():
        seconds = statistics.median(setup["full_seconds"])
        rows = setup["rows"]
        shares = [100 * one["share"] for one in rows]
        label = f"{name}, {seconds:.1f} s in all"
        counts.plot(shares, [one["n_ok"] for one in rows], "o-", label=label, markersize=4)
        valued = [one for one in rows if one["stderr"] is not None]
        shares = [100 * one["share"] for one in valued]
        errors.plot(shares, [one["stderr"] for one in valued], "o-", label=name, markersize=4)
    counts.axhline(report["samples"], color="grey", linestyle="--", linewidth=1)
    counts.set_ylabel("futures in a candidate's reward")
    errors.set_ylabel("standard error of the reward")
    errors.set_ylim(bottom=0)
    for axes in (counts, errors):
        axes.set_xlabel("deadline, % of the time that all futures take")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
