"""The situations of the demo: moments in the builtin worlds at which the next message matters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from foresight_services.core.conversation import Conversation, Message, messages_by
from foresight_services.worlds.groceries.sentences import OPENING, ORDERS
from foresight_services.worlds.twenty_questions import opening_message

_TURNS: Final = 7
_EARLY: Final = (("Is it alive?", "Yes."), ("Is it an animal?", "Yes."))
_LATE: Final = (
    ("Is it a mammal?", "Yes."),
    ("Do people keep it as a pet or on a farm?", "Yes."),
    ("Does it eat other animals?", "No."),
    ("Is it known for the sound it makes?", "Yes."),
)

_WHAT_MATTERS: Final = "What are your address, diet, budget, household size and allergies?"
_EVERYTHING: Final = (
    "What are your address, diet, budget, household size, allergies, delivery time, favourite "
    "brands and preferred packaging?"
)


@dataclass(frozen=True, slots=True)
class Scene:
    """A prefix and the candidates to compare."""

    name: str
    """What the scene is called in JSON."""
    title: str
    """What it shows."""
    preset: str
    """The task."""
    prefix: Conversation
    """The conversation so far."""
    candidates: tuple[str, ...]
    """Possible next messages."""
    horizon: int
    """Messages that looking ahead takes in."""
    skill: str
    """The policy that plays on."""


def scenes() -> Iterator[Scene]:
    """Yield the scenes in the order in which they are told."""
    yield _game(
        "early",
        "20 Questions, early in the game: 19 animals are left, 5 turns",
        _EARLY,
        ("Is it a mammal?", "Can it fly?", "Is it a dog?"),
    )
    yield _game(
        "last_turn",
        "20 Questions, the last turn: a cow or a sheep",
        (*_EARLY, *_LATE),
        ("Is it soft?", "Does it have legs?", "Is it a sheep?"),
    )
    yield Scene(
        name="groceries",
        title="Groceries: an order that leaves open what the shopper needs",
        preset="groceries",
        prefix=(Message("user", OPENING),),
        candidates=(_WHAT_MATTERS, _EVERYTHING, ORDERS),
        horizon=6,
        skill="focused",
    )


def _game(
    name: str, title: str, answered: tuple[tuple[str, str], ...], candidates: tuple[str, ...]
) -> Scene:
    prefix: Conversation = (Message("user", opening_message(_TURNS)),)
    for question, answer in answered:
        prefix = (*prefix, Message("assistant", question), Message("user", answer))
    turns_after_candidate = _TURNS - messages_by("assistant", prefix) - 1
    return Scene(
        name=name,
        title=title,
        preset="twenty_questions",
        prefix=prefix,
        candidates=candidates,
        # A reply to the candidate and to every later turn: the game ends within it.
        horizon=2 * turns_after_candidate + 1,
        skill="informed",
    )
