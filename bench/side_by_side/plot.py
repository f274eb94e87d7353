"""The lines with a goal as a picture: the reference, Foresight, and the goal between them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot

from bench.side_by_side.findings import Line, Spread
from bench.side_by_side.report import number

_COLUMNS: Final = 4
_REFERENCE: Final = "#9aa5b1"
_MET: Final = "#2a7f62"
_MISSED: Final = "#c0562b"
_GOAL: Final = "#1f2933"


def draw(lines: Sequence[Line], path: Path, *, caption: str) -> None:
    """Write the picture of all lines that have a goal to `path`."""
    shown = [line for line in lines if line.goal is not None and line.foresight is not None]
    rows = max(1, -(-len(shown) // _COLUMNS))
    figure, axes = pyplot.subplots(
        rows, _COLUMNS, figsize=(4 * _COLUMNS, 2.1 * rows), squeeze=False, layout="constrained"
    )
    for place, line in zip(axes.flat, shown, strict=False):
        _draw(place, line)
    for place in list(axes.flat)[len(shown) :]:
        place.set_axis_off()
    figure.suptitle("Foresight beside CollabLLM 0.0.8, medians and extremes of the rounds")
    figure.supxlabel(caption, fontsize=8)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _draw(axes: Any, line: Line) -> None:
    assert line.goal is not None and line.foresight is not None
    bars: list[tuple[str, Spread, str]] = []
    if line.reference is not None:
        bars.append(("reference", line.reference, _REFERENCE))
    bars.append(("Foresight", line.foresight, _MET if line.met else _MISSED))
    for height, (name, spread, colour) in enumerate(reversed(bars)):
        reach = [[spread.median - spread.low], [spread.high - spread.median]]
        axes.barh(height, spread.median, color=colour, height=0.6, xerr=reach, capsize=3)
        axes.text(
            0.99,
            height,
            f"{name} {number(spread.median)} {line.unit}".rstrip(),
            transform=axes.get_yaxis_transform(),
            ha="right",
            va="center",
            fontsize=8,
        )
    axes.axvline(line.goal.bound, color=_GOAL, linestyle="--", linewidth=1)
    most = max([spread.high for _, spread, _ in bars] + [line.goal.bound])
    # Room at the right for what the bars stand for.
    axes.set_xlim(0, 1.6 * most)
    axes.set_yticks([])
    axes.tick_params(axis="x", labelsize=7)
    sign = "≤" if line.goal.kind == "at most" else "≥"
    title = f"{line.title.strip()}\ntarget {sign} {number(line.goal.bound)} {line.unit}"
    axes.set_title(title.rstrip(), fontsize=8, loc="left")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
