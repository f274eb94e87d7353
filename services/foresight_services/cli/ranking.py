"""Ranks of candidates by their rewards."""

from __future__ import annotations

from collections.abc import Sequence


def ranks(values: Sequence[float | None]) -> list[int | None]:
    """Return each value's rank from 1, the greatest; equal values share one, None has none."""
    known = [value for value in values if value is not None]
    return [
        None if value is None else 1 + sum(other > value for other in known) for value in values
    ]


def leaders(values: Sequence[float | None]) -> list[int]:
    """Return the positions of the greatest value, more than one where several share it."""
    return [index for index, rank in enumerate(ranks(values)) if rank == 1]
