"""Distributions over things as bitmasks of the things that 0, 1, 2, ... answers contradict.

A thing starts with weight 1; each answer that contradicts it multiplies the weight by
error_rate / (1 - error_rate).
"""

from __future__ import annotations

from collections.abc import Iterator

Levels = tuple[int, ...]
"""Disjoint bitmasks of things; the index is the number of answers that contradict them."""


class Contradictions:
    """Arithmetic on levels at one error rate, in [0, 0.5)."""

    def __init__(self, error_rate: float) -> None:
        self._right = 1.0 - error_rate
        self._ratio = error_rate / (1.0 - error_rate)

    def observe(self, levels: Levels, agreeing: int) -> Levels:
        """Return the levels after one more answer, which the things in `agreeing` agree with."""
        if not self._ratio:
            return (levels[0] & agreeing,)
        after = [things & agreeing for things in levels]
        after.append(0)
        for count, things in enumerate(levels):
            after[count + 1] |= things & ~agreeing
        return tuple(after)

    def chance(self, before: Levels, after: Levels) -> float:
        """Return the probability of the answer that turned `before` into `after`."""
        return self._right * self.mass(after) / self.mass(before)

    def mass(self, levels: Levels, among: int = -1) -> float:
        """Return the total weight of the things that are in `among`, a bitmask."""
        weight, mass = 1.0, 0.0
        for things in levels:
            mass += weight * (things & among).bit_count()
            weight *= self._ratio
        return mass

    def share(self, levels: Levels, things: int) -> float:
        """Return the probability that the secret is in the bitmask `things`."""
        return self.mass(levels, things) / self.mass(levels)

    def probabilities(self, levels: Levels) -> Iterator[tuple[int, float]]:
        """Yield every thing in `levels` with its probability."""
        weight = 1.0 / self.mass(levels)
        for things in levels:
            for thing in members(things):
                yield thing, weight
            weight *= self._ratio


def without(levels: Levels, thing: int) -> Levels:
    """Return `levels` less one thing."""
    return tuple(things & ~(1 << thing) for things in levels)


def union(levels: Levels) -> int:
    """Return the bitmask of all things in `levels`."""
    joined = 0
    for things in levels:
        joined |= things
    return joined


def members(things: int) -> Iterator[int]:
    """Yield the indices in the bitmask `things`, in ascending order."""
    return (index for index in range(things.bit_length()) if things >> index & 1)
