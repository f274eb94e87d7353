"""The plot of the benchmark: probability of finding the best candidate against model calls."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot


def plot(report: Mapping[str, Any], path: Path) -> None:
    """Draw `report` to `path`."""
    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4.4), sharey=True)
    for axis, name in zip(axes, ("with a gap", "all groups"), strict=True):
        part = report["best"][name]
        adaptive = list(part["adaptive"].values())
        for label, rows, style in (
            ("fixed number of futures", list(part["fixed"].values()), "o-"),
            ("adaptive", adaptive[:-1], "s-"),
            ("adaptive, tolerance 0.02", adaptive[-1:], "^"),
        ):
            calls, right = [row["calls"] for row in rows], [row["right"] for row in rows]
            axis.plot(calls, right, style, label=label, markersize=4)
        axis.set_title(f"{name} ({part['groups']} groups of 8)")
        axis.set_xlabel("model calls per group")
        axis.grid(alpha=0.3, which="both")
    apart = report["best"]["with a gap, no common draws"]["adaptive"]
    rows = list(apart.values())
    axes[0].plot(
        [row["calls"] for row in rows],
        [row["right"] for row in rows],
        "s--",
        label="adaptive, no common draws",
        markersize=4,
    )
    axes[0].set_ylabel("probability of naming the best candidate")
    axes[0].legend(loc="lower right", fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
