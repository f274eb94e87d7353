"""The results of a run: a table for the terminal, and a file."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from bench.side_by_side.findings import Goal, Line, Spread
from bench.side_by_side.work import Results

_HEAD: Final = ("row", "reference", "Foresight", "target", "met?")
_MET: Final = {True: "yes", False: "NO", None: ""}


def machine(reference: Path | None) -> Mapping[str, Any]:
    """Return what the numbers were measured on."""
    return {
        "cores": os.cpu_count(),
        "cpu": _cpu(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "foresight": version("foresight"),
        "grpcio": version("grpcio"),
        "aiohttp": version("aiohttp"),
        "collabllm": _installed(reference, "collabllm"),
        "litellm": _installed(reference, "litellm"),
    }


def table(lines: Sequence[Line]) -> str:
    """Return the table, aligned; under it the notes."""
    rows = [_HEAD, *(_cells(line) for line in lines)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    text = []
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        text.append("  ".join(cells).rstrip())
    text.insert(1, "-" * len("  ".join("-" * width for width in widths)))
    text += [f"{line.title.strip()}: {line.note}." for line in lines if line.note]
    return "\n".join(text)


def document(
    lines: Sequence[Line], results: Results, *, rounds: int, machine: Mapping[str, Any]
) -> str:
    """Return the file's content: the lines, and the numbers of every round."""
    shown = [{**asdict(line), "title": line.title.strip(), "met": line.met} for line in lines]
    found = {name: asdict(findings) for name, findings in results.items()}
    whole = {"machine": machine, "rounds": rounds, "lines": shown, "findings": found}
    return json.dumps(_rounded(whole), indent=1, ensure_ascii=False) + "\n"


def number(value: float) -> str:
    """Return `value` to three digits, or whole where it has more."""
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _cells(line: Line) -> tuple[str, ...]:
    reference, own = _spread(line.reference, line.unit), _spread(line.foresight, line.unit)
    return line.title, reference, own, _goal(line.goal, line.unit), _MET[line.met]


def _spread(spread: Spread | None, unit: str) -> str:
    if spread is None:
        return "–"
    text = f"{number(spread.median)} {unit}".rstrip()
    if spread.low == spread.high:
        return text
    return f"{text} ({number(spread.low)}–{number(spread.high)})"


def _goal(goal: Goal | None, unit: str) -> str:
    if goal is None:
        return ""
    return f"{'≤' if goal.kind == 'at most' else '≥'} {number(goal.bound)} {unit}".rstrip()


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _installed(environment: Path | None, package: str) -> str:
    """Return the version of a package in another environment; empty where there is none."""
    if environment is None:
        return ""
    found = environment.glob(f"lib/python*/site-packages/{package}-*.dist-info")
    return next((path.name.removesuffix(".dist-info").rpartition("-")[2] for path in found), "")


def _rounded(value: Any) -> Any:
    """Return `value` with every float to six digits, which is more than they are good for."""
    match value:
        case float():
            return float(f"{value:.6g}")
        case dict():
            return {key: _rounded(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_rounded(inner) for inner in value]
    return value
