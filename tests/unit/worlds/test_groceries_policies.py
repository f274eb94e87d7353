"""What the rule-based assistants of the groceries world ask before they order."""

import random

import pytest

from foresight_services.core.conversation import Conversation, Message
from foresight_services.worlds.groceries import Groceries, sentences
from foresight_services.worlds.groceries.policies import FOCUSED_BATCHES, worth_asking

WORLD = Groceries()
NEEDS = {need.id: need for need in WORLD.knowledge.needs}
EVERYTHING = sentences.asks(NEEDS.values())


def policy(skill: str, *texts: str, seed: int = 0) -> str:
    """Return what `skill` says after the opening and `texts`, the assistant's first."""
    conversation: Conversation = tuple(
        Message("assistant" if i % 2 else "user", text)
        for i, text in enumerate((sentences.OPENING, *texts))
    )
    return WORLD.policy_turn(skill, conversation, random.Random(seed))


def test_assumer_orders_at_once() -> None:
    assert policy("assumer") == sentences.ORDERS


def test_interrogator_asks_about_everything_once_then_orders() -> None:
    assert policy("interrogator") == EVERYTHING
    rest = policy("interrogator", "Your diet and budget?", "I'm vegan. Where do you deliver?")
    assert WORLD.reader.assistant(rest).asks == NEEDS.keys() - {"diet", "budget"}
    assert policy("interrogator", EVERYTHING, "Hm.") == sentences.ORDERS


def test_focused_asks_a_few_of_what_is_worth_asking_then_orders() -> None:
    worthy = [need.id for need in worth_asking(WORLD.knowledge)]
    assert worthy == ["address", "diet", "budget", "household", "allergies"]
    asks = {
        frozenset(WORLD.reader.assistant(policy("focused", seed=seed)).asks) for seed in range(50)
    }
    assert asks == {frozenset(worthy[:n]) for n in FOCUSED_BATCHES}
    said = "$40. For one person. 12 Oak Lane."
    asked = {policy("focused", "Hello.", said, seed=seed) for seed in range(50)}
    assert asked == {sentences.asks([NEEDS["diet"], NEEDS["allergies"]])}
    assert policy("focused", sentences.asks(worth_asking(WORLD.knowledge)), "Hm.") == (
        sentences.ORDERS
    )


def test_unknown_skill_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown skill 'expert', expected one of assumer, int"):
        policy("expert")


def test_questions_in_a_system_message_are_not_asked() -> None:
    prefix = (Message("system", EVERYTHING), Message("user", sentences.OPENING))
    assert WORLD.policy_turn("interrogator", prefix, random.Random(0)) == EVERYTHING
