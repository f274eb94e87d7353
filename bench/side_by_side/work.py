"""Pieces of work: what is asked of each side in a round. Rows read their findings."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from bench.side_by_side.bench import Bench
from bench.side_by_side.findings import Findings, Found, Line

Measure = Callable[[Bench], Awaitable[Findings]]
Results = Mapping[str, Found]
"""The findings by the name of the work; empty ones for work that was not done."""


@dataclass(frozen=True, slots=True)
class Work:
    """What is asked of each side in a round."""

    name: str
    """Its name in results."""
    foresight: Measure
    """Ask Foresight."""
    reference: Measure | None = None
    """Ask the reference; None where it has nothing to ask."""
    most_rounds: int = 100
    """Rounds in which it is done, for work that takes long and varies little."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table of numbers to reach: some lines, read from what the work found."""

    name: str
    """By which `--only` chooses it."""
    work: Work | None
    """What has to be done for it; None where they are read from a file."""
    lines: Callable[[Results], Sequence[Line]]
    """Make its lines."""
