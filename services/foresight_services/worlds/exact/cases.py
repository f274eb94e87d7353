"""Random cases whose exact reward is known.

A case is a world, a prefix, a candidate, an objective and a horizon.
A prefix is a real conversation of the world, played by a random policy and broken off after a few
turns, so that what it reveals is consistent. Objectives weigh success against messages and tokens.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, TypedDict

from foresight_services.core.conversation import Conversation, Message
from foresight_services.worlds.exact import groceries as exact_groceries
from foresight_services.worlds.exact import twenty_questions as exact_twenty_questions
from foresight_services.worlds.groceries import Groceries
from foresight_services.worlds.groceries.sentences import OPENING
from foresight_services.worlds.twenty_questions import TwentyQuestions, opening_message
from foresight_services.worlds.world import TERMINATION_SIGNAL, World

MAX_HORIZON: Final = 8
"""Greatest horizon of a random case, in messages."""

SMALL_TALK: Final = "Hello there, nice to meet you!"
"""A candidate that neither asks nor guesses nor orders."""


PARAMETERS: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {"token_amount": MappingProxyType({"tokenizer": "words"})}
)
"""What a metric has to be told so that it counts as the enumeration does."""


@dataclass(frozen=True, slots=True)
class Case:
    """A question whose answer is known."""

    world: str
    """Name of the world."""
    prefix: Conversation
    """The conversation before the candidate."""
    candidate: str
    """The response to score."""
    weights: Mapping[str, float]
    """Weights of the metrics `success`, `messages` and `token_amount`."""
    horizon: int
    """Length of a future in messages."""
    skill: str
    """The policy that plays on."""


class _Arguments(TypedDict):
    """What every world's enumeration takes."""

    prefix: Conversation
    candidate: str
    weights: Mapping[str, float]
    horizon: int
    skill: str


def random_case(world: World, rng: random.Random) -> Case:
    """Return a case of `world`; equal states of `rng` give equal cases."""
    prefix = _random_prefix(world, rng)
    candidate = (
        SMALL_TALK
        if rng.random() < 0.1
        else world.policy_turn(rng.choice(world.skills), prefix, rng)
    )
    weights = {
        "success": rng.uniform(0.5, 1.5),
        "messages": -rng.uniform(0.0, 0.05),
        "token_amount": -rng.uniform(0.0, 2.0),
    }
    skill = rng.choice(world.skills)
    return Case(world.name, prefix, candidate, weights, rng.randint(0, MAX_HORIZON), skill)


def exact_reward(world: World, case: Case) -> float:
    """Return the exact multiturn-aware reward of `case` in `world`.

    Raises:
        ValueError: where no enumeration of the world is known.
    """
    arguments = _Arguments(
        prefix=case.prefix,
        candidate=case.candidate,
        weights=case.weights,
        horizon=case.horizon,
        skill=case.skill,
    )
    if isinstance(world, TwentyQuestions):
        return exact_twenty_questions.exact_mr(world, **arguments)
    if isinstance(world, Groceries):
        return exact_groceries.exact_mr(world, **arguments)
    raise ValueError(f"the world {world.name!r} cannot be enumerated")


def _random_prefix(world: World, rng: random.Random) -> Conversation:
    while True:
        opening = (
            opening_message(rng.randint(1, 8)) if isinstance(world, TwentyQuestions) else OPENING
        )
        prefix: Conversation = (Message("user", opening),)
        goal = world.draw_goal(prefix, rng)
        # A good player so far, or a mixed bag.
        skills = rng.choice((world.skills, world.skills[-1:]))
        for _ in range(rng.randint(0, 6)):
            reply = world.policy_turn(rng.choice(skills), prefix, rng)
            prefix = (*prefix, Message("assistant", reply))
            prefix = (*prefix, Message("user", world.user_turn(goal, prefix, rng)))
            if TERMINATION_SIGNAL in prefix[-1].content:
                break
        else:
            return prefix
