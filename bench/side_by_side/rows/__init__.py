"""The rows, in the order of the table."""

from __future__ import annotations

from typing import Final

from bench.side_by_side.rows import (
    adaptive,
    batch,
    cached,
    cpu,
    latency,
    memory,
    prompts,
    saturation,
)

ROWS: Final = (
    latency.ROW,
    cpu.ROW,
    batch.ROW,
    saturation.ROW,
    cached.ROW,
    prompts.ROW,
    memory.ROW,
    adaptive.ROW,
)
"""All rows."""
