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
    panels = {
        "with a gap": "the best one named, where there is a gap",
        "all groups, up to 0.05": "one within 0.05 of the best named",
    }
    figure, axes = pyplot.subplots(1, len(panels), figsize=(11, 4.4))
    for axis, (name, what) in zip(axes, panels.items(), strict=True):
        part = report["best"][name]
        rows_of = part["adaptive"].items()
        adaptive = [row for key, row in rows_of if not key.endswith("0.02")]
        for label, rows, style in (
            ("fixed number of futures", list(part["fixed"].values()), "o-"),
            ("adaptive", adaptive, "s-"),
        ):
            calls, right = [row["calls"] for row in rows], [row["right"] for row in rows]
            axis.plot(calls, right, style, label=label, markersize=4)
        axis.set_title(f"{what} ({part['groups']} groups of 8)", fontsize=10)
        axis.set_xlabel("model calls per group")
        axis.set_ylabel("probability")
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
    for axis in axes:
        axis.legend(loc="lower right", fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
