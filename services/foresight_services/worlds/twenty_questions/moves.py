"""What one assistant message can be in the game."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True)
class Ask:
    """A yes/no question about an attribute."""

    attribute: int
    """Index into the knowledge's attributes."""
    negated: bool = False
    """Whether it asks for the opposite, so that "yes" means that the attribute does not hold."""


@dataclass(frozen=True, slots=True)
class Guess:
    """One thing named as the answer."""

    thing: int
    """Index into the knowledge's things."""


class NoMove(Enum):
    """A message that asks or guesses nothing the world can answer."""

    SEVERAL = "several"
    """It names more than one thing, which is no guess."""
    UNCLEAR = "unclear"
    """Nothing in it is recognised."""


Move = Ask | Guess | NoMove
