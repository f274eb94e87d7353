"""How two candidates differ at the sample indices that both have."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

from foresight._decision import Difference

__all__ = ["paired_difference"]


class Valued(Protocol):
    """A future with its value."""

    @property
    def sample_index(self) -> int:
        """Sample index, from 0."""
        ...

    @property
    def objective(self) -> float | None:
        """Its value; `None` where it failed."""
        ...


def paired_difference(a: Sequence[Valued], b: Sequence[Valued]) -> Difference | None:
    """Return how much better the futures `a` are than `b`; `None` where no index has both.

    Futures with equal index share their draws, so differences vary less than either value.
    """
    others = {future.sample_index: future.objective for future in b}
    gaps = []
    for future in a:
        other = others.get(future.sample_index)
        if future.objective is not None and other is not None:
            gaps.append(future.objective - other)
    if not gaps:
        return None
    n, mean = len(gaps), math.fsum(gaps) / len(gaps)
    stderr = None
    if n > 1:
        stderr = math.sqrt(math.fsum((gap - mean) ** 2 for gap in gaps) / (n - 1) / n)
    return Difference(mean + 0.0, stderr, n)
