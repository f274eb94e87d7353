"""Which candidate is best, or how they rank, and how sure that is.

A decision is a list of statements "this candidate is better than that one", each with the chance
that it holds (`comparison`), and a confidence in all of them together.

Invariant: equal values give an equal decision to the last bit, in whatever order they came.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from foresight_services.core.comparison import (
    Comparison,
    Spread,
    Values,
    compare,
    count,
    spread_of,
)
from foresight_services.core.estimator import Estimate, paired_difference

Aim = Literal["best", "ranking"]
"""What is to be decided: which candidate is best, or the order of all."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One statement of a decision: `above` is better than `below`."""

    above: int
    """Position of the better candidate."""
    below: int
    """Position of the worse one."""
    comparison: Comparison
    """What is known of it."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What the futures of a group say about the order of its candidates."""

    aim: Aim
    """What is decided."""
    ranking: tuple[int, ...]
    """Candidates that have a value, best first; of equals, the first in the request."""
    pairs: tuple[Pair, ...]
    """The statements that the decision makes: the best beside every other one, or neighbours."""
    spread: Spread
    """How much futures of the group vary."""
    tolerance: float
    """Differences up to this do not matter."""

    @property
    def best(self) -> int:
        """The candidate that is best as far as is known."""
        return self.ranking[0]

    @property
    def chances(self) -> tuple[float, ...]:
        """The chance that each statement is right, up to the tolerance."""
        return tuple(pair.comparison.chance(self.tolerance) for pair in self.pairs)

    @property
    def confidence(self) -> float:
        """The chance that the decision is right, up to the tolerance.

        For `best`, the product over all others of the chance that the best beats them: Slepian's
        inequality makes it a lower bound where the comparisons are as if normal, as they share
        the best one (Branke, Chick & Schmidt 2007, Management Science 53(12), section 2.3,
        PGS_Slep). For `ranking`, 1 less the neighbours' chances of error (Bonferroni).
        """
        return self.joint(self.chances)

    def joint(self, chances: Sequence[float]) -> float:
        """Return the confidence where the statements have these chances."""
        if self.aim == "best":
            return math.prod(chances)
        return max(0.0, 1.0 - math.fsum(1.0 - chance for chance in chances))


def decide(
    group: Sequence[Values],
    aim: Aim,
    tolerance: float = 0.0,
    value_range: tuple[float, float] | None = None,
) -> Decision | None:
    """Return the decision that `group` allows; None where no candidate has a value.

    Candidates are ordered by their differences from the one with the most futures. They can
    differ from the order of their means where one has had futures that others have not.

    Args:
        group: values by candidate and sample index.
        aim: what is to be decided.
        tolerance: differences up to this do not matter.
        value_range: the values that there can be; None where that is not known.
    """
    known = [c for c, values in enumerate(group) if count(values)]
    if not known:
        return None
    spread = spread_of(group, value_range)
    anchor = max(known, key=lambda c: (count(group[c]), -c))
    to_anchor = {c: compare(group[c], group[anchor], spread) for c in known if c != anchor}
    level = {c: to_anchor[c].difference if c != anchor else 0.0 for c in known}
    ranking = tuple(sorted(known, key=lambda c: (-level[c], c)))
    stated = (
        [(ranking[0], other) for other in ranking[1:]] if aim == "best" else list(pairwise(ranking))
    )
    pairs = tuple(
        Pair(i, j, to_anchor[i] if j == anchor else compare(group[i], group[j], spread))
        for i, j in stated
    )
    return Decision(aim, ranking, pairs, spread, tolerance)


def leads(
    group: Sequence[Values], decision: Decision, value_range: tuple[float, float] | None
) -> tuple[Estimate | None, ...]:
    """Return by how much the best candidate leads each one, by their common indices alone.

    None for a candidate that shares no index with the best, and for the best itself.
    """
    return tuple(
        None
        if candidate == decision.best
        else paired_difference(group[decision.best], values, value_range=value_range)
        for candidate, values in enumerate(group)
    )
