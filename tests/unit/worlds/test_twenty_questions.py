from __future__ import annotations

import random
from collections import Counter

import pytest

from foresight_services.core.conversation import Conversation, Message, Role
from foresight_services.worlds.twenty_questions import TwentyQuestions, opening_message
from foresight_services.worlds.twenty_questions.knowledge import builtin_knowledge
from foresight_services.worlds.world import TERMINATION_SIGNAL, World

NAMES = [thing.name for thing in builtin_knowledge().things]
HOLDERS = {attribute.id: attribute.things for attribute in builtin_knowledge().attributes}


def talk(*said: str, turns: int = 20) -> Conversation:
    """Alternate assistant and user messages after the opening of a game of `turns`."""
    roles: tuple[Role, Role] = ("assistant", "user")
    rest = tuple(Message(roles[index % 2], text) for index, text in enumerate(said))
    return (Message("user", opening_message(turns)), *rest)


def fitting(**known: bool) -> set[str]:
    """Name the things whose attributes are as given."""
    return {
        name
        for index, name in enumerate(NAMES)
        if all((HOLDERS[key] >> index & 1) == held for key, held in known.items())
    }


def agrees(drawn: Counter[str], weights: dict[str, float]) -> bool:
    """Tell whether counts follow `weights`, by a chi-square within 4 standard deviations."""
    assert set(drawn) == set(weights)
    scale = drawn.total() / sum(weights.values())
    statistic = sum((drawn[x] - w * scale) ** 2 / (w * scale) for x, w in weights.items())
    freedom = len(weights) - 1
    return abs(statistic - freedom) < 4 * (2 * freedom) ** 0.5


def test_the_world_is_a_world():
    world: World = TwentyQuestions()
    assert world.name == "twenty_questions"
    assert world.skills == ("guesser", "asker", "informed")


@pytest.mark.parametrize("error_rate", [-0.1, 0.5, 1.0, float("nan")])
def test_error_rates_that_carry_no_information_are_refused(error_rate: float):
    with pytest.raises(ValueError, match="error_rate"):
        TwentyQuestions(error_rate)


def test_check_goal():
    world = TwentyQuestions()
    assert world.check_goal("elephant") is None
    assert world.check_goal("  Puppy ") is None
    complaint = world.check_goal("elefant")
    assert complaint == "'elefant' is not a known thing; the nearest is 'elephant'."
    assert "'xxxx" in (world.check_goal("x" * 1_000_000) or "")
    with pytest.raises(ValueError, match="nearest is 'elephant'"):
        world.success("elefant", talk("Is it a dog?"))


@pytest.mark.parametrize(
    ("said", "reply"),
    [
        ("Is it alive?", "Yes."),
        ("Is it a vehicle?", "No."),
        ("Isn't it alive?", "Yes."),
        ("Is it inanimate?", "No."),
        ("Is it a vehicle? Is it alive?", "No."),
        ("Is it a whale?", "No, that's not it."),
        ("Is it an ELEPHANT?", f"Yes, that's it! You found it. {TERMINATION_SIGNAL}"),
        ("Is it an elephant or a whale?", "One at a time, please: guess a single thing."),
        (
            "What a day!",
            "I can only answer yes/no questions about the thing, or reply to a guess.",
        ),
    ],
)
def test_user_replies(said: str, reply: str):
    assert TwentyQuestions().user_turn("elephant", talk(said), random.Random(0)) == reply


def test_user_opens_the_game():
    text = TwentyQuestions().user_turn("dog", (), random.Random(0))
    assert text == opening_message(20)
    assert TwentyQuestions().turn_limit(talk(turns=6)) == 6
    assert TwentyQuestions().turn_limit(talk(turns=1)) == 1
    assert TwentyQuestions().turn_limit(()) == 20


@pytest.mark.parametrize("said", ["Is it alive?", "Is it a whale?", "Hm.", "A dog? A cat?"])
def test_user_ends_the_chat_on_the_last_turn_and_reveals_nothing(said: str):
    world = TwentyQuestions()
    conversation = talk("Is it soft?", "No.", said, turns=2)
    replies = {world.user_turn(goal, conversation, random.Random(0)) for goal in ("car", "lion")}
    assert replies == {f"That was your last turn, so the game is over. {TERMINATION_SIGNAL}"}


def test_user_confirms_a_right_guess_on_the_last_turn():
    text = TwentyQuestions().user_turn("car", talk("Is it a car?", turns=1), random.Random(0))
    assert text.startswith("Yes") and text.endswith(TERMINATION_SIGNAL)


def test_user_errs_at_the_error_rate_about_attributes_only():
    world = TwentyQuestions(0.2)
    rng = random.Random(1)
    replies = Counter(world.user_turn("dog", talk("Is it alive?"), rng) for _ in range(5000))
    assert set(replies) == {"Yes.", "No."}
    assert abs(replies["No."] - 1000) < 4 * (5000 * 0.2 * 0.8) ** 0.5
    guesses = {world.user_turn("dog", talk("Is it a cat?"), rng) for _ in range(200)}
    assert guesses == {"No, that's not it."}


def test_success_needs_one_message_that_guesses_only_the_goal():
    world = TwentyQuestions()
    assert world.success("dog", talk("Is it alive?", "Yes.", "It's a puppy!")) == 1.0
    assert world.success("dog", talk("Is it a cat?")) == 0.0
    assert world.success("dog", talk("Is it a dog, a cat or a cow?")) == 0.0
    assert world.success("dog", talk("Is it alive?", "It is a dog.")) == 0.0
    assert world.success("dog", talk("Is it a dog?", "No.", "Is it a cat?", "No.")) == 1.0


def test_goal_is_drawn_uniformly_from_what_fits():
    world = TwentyQuestions()
    said = talk("Is it inanimate?", "No.", "Is it a mammal?", "Yes.", "Is it a dog?", "No.")
    rng = random.Random(2)
    drawn = Counter(world.draw_goal(said, rng) for _ in range(2000))
    assert agrees(drawn, dict.fromkeys(fitting(living=True, mammal=True) - {"dog"}, 1.0))


def test_goal_is_drawn_by_bayes_when_answers_err():
    world = TwentyQuestions(0.2)
    said = talk("Is it alive?", "Yes.", "Is it an animal?", "No.", "Is it a cactus?", "No.")
    rng = random.Random(3)
    drawn = Counter(world.draw_goal(said, rng) for _ in range(10_000))
    living, animal = fitting(living=True), fitting(animal=True)
    weights = {
        name: (0.8 if name in living else 0.2) * (0.2 if name in animal else 0.8)
        for name in set(NAMES) - {"cactus"}
    }
    assert agrees(drawn, weights)


def test_a_confirmed_guess_settles_the_goal():
    world = TwentyQuestions(0.1)
    said = talk("Is it a dog?", "Yes!", "Is it alive?", "No.")
    assert {world.draw_goal(said, random.Random(seed)) for seed in range(50)} == {"dog"}
    assert world.policy_turn("informed", said, random.Random(0)) == "Is it a dog?"


@pytest.mark.parametrize(
    ("error_rate", "said"),
    [
        (0.0, ["Is it an animal?", "Yes.", "Is it alive?", "No."]),
        (0.0, ["Is it alive?", "Yes.", "Isn't it alive?", "No."]),
        (0.3, ["Is it a dog?", "Yes.", "Is it a cat?", "Yes."]),
    ],
)
def test_goal_cannot_be_drawn_when_nothing_fits(error_rate: float, said: list[str]):
    with pytest.raises(ValueError, match="no known thing fits"):
        TwentyQuestions(error_rate).draw_goal(talk(*said), random.Random(0))


def test_replies_to_unclear_messages_reveal_nothing():
    world = TwentyQuestions()
    said = talk("Hm.", "Yes.", "A dog? A cat?", "No.", "Is it alive?", "Who knows")
    drawn = {world.draw_goal(said, random.Random(seed)) for seed in range(3000)}
    assert drawn == set(NAMES)
