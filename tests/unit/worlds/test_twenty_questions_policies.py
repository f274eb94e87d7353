from __future__ import annotations

import random
from collections import Counter

import pytest

from foresight_services.core.conversation import Conversation, Message, Role
from foresight_services.worlds.twenty_questions import TwentyQuestions, opening_message
from foresight_services.worlds.twenty_questions.knowledge import builtin_knowledge
from foresight_services.worlds.twenty_questions.moves import Ask, Guess
from foresight_services.worlds.world import TERMINATION_SIGNAL

KNOWLEDGE = builtin_knowledge()
NAMES = [thing.name for thing in KNOWLEDGE.things]
HOLDERS = {attribute.id: attribute.things for attribute in KNOWLEDGE.attributes}
ANSWERED = [
    "Is it alive?",
    "No.",
    "Can you hold it in one hand?",
    "No.",
    "Does it have legs?",
    "No.",
]


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


def policy_texts(world: TwentyQuestions, skill: str, said: Conversation, n: int) -> Counter[str]:
    return Counter(world.policy_turn(skill, said, random.Random(seed)) for seed in range(n))


@pytest.mark.parametrize("skill", TwentyQuestions.skills)
def test_policies_are_deterministic_given_the_seed(skill: str):
    world = TwentyQuestions(0.1)
    texts = [
        [world.policy_turn(skill, talk(*ANSWERED), rng) for _ in range(5)]
        for rng in (random.Random(7), random.Random(7))
    ]
    assert texts[0] == texts[1]


def test_unknown_skill():
    with pytest.raises(ValueError, match="unknown skill 'wizard'; known: guesser, asker"):
        TwentyQuestions().policy_turn("wizard", talk(), random.Random(0))


def test_guesser_guesses_uniformly_what_is_still_possible():
    world = TwentyQuestions()
    said = talk("Is it a plant?", "Yes.", "Is it a rose?", "No.")
    texts = policy_texts(world, "guesser", said, 2000)
    guesses = {KNOWLEDGE.things[NAMES.index(name)].guess for name in fitting(plant=True)}
    assert agrees(texts, dict.fromkeys(guesses - {"Is it a rose?"}, 1.0))


def test_asker_asks_uniformly_what_is_open():
    world = TwentyQuestions()
    said = talk("Is it an animal?", "Yes.", "Does it have legs?", "No.")
    left = fitting(animal=True, legs=False)
    open_questions = {
        attribute.question
        for attribute in KNOWLEDGE.attributes
        if 0 < len(left & fitting(**{attribute.id: True})) < len(left)
    }
    texts = policy_texts(world, "asker", said, 3000)
    assert agrees(texts, dict.fromkeys(open_questions, 1.0))


def test_asker_does_not_repeat_a_question_although_answers_err():
    world = TwentyQuestions(0.2)
    texts = policy_texts(world, "asker", talk(*ANSWERED), 2000)
    assert set(texts) == {attribute.question for attribute in KNOWLEDGE.attributes} - set(ANSWERED)


def test_informed_asks_the_question_that_splits_nearest_to_half():
    world = TwentyQuestions()
    for known in ({}, {"animal": True}, {"manmade": True, "metal": True}):
        said = [t for key in known for t in (question(key), "Yes.")]
        left = fitting(**known)
        text = world.policy_turn("informed", talk(*said), random.Random(0))
        move = world.language.parse(text)
        assert isinstance(move, Ask)

        def distance(attribute: str, left: set[str] = left) -> float:
            return abs(len(left & fitting(**{attribute: True})) / len(left) - 0.5)

        chosen = KNOWLEDGE.attributes[move.attribute].id
        assert distance(chosen) == pytest.approx(min(map(distance, HOLDERS)))
        assert distance(chosen) < 0.2


def question(attribute: str) -> str:
    return next(a.question for a in KNOWLEDGE.attributes if a.id == attribute)


@pytest.mark.parametrize("skill", ["asker", "informed"])
@pytest.mark.parametrize("error_rate", [0.0, 0.1])
def test_last_turn_is_a_guess_of_the_most_probable(skill: str, error_rate: float):
    world = TwentyQuestions(error_rate)
    said = talk("Is it a plant?", "Yes.", "Does it taste sweet?", "Yes.", turns=3)
    texts = policy_texts(world, skill, said, 60)
    assert set(texts) == {"Is it an apple?", "Is it a banana?", "Is it a strawberry?"}


@pytest.mark.parametrize("skill", ["asker", "informed"])
def test_a_single_remaining_thing_is_guessed(skill: str):
    world = TwentyQuestions()
    said = talk("Is it a plant?", "Yes.", "Is it sharp?", "Yes.", "Is it small?", "No.")
    assert set(policy_texts(world, skill, said, 20)) == {"Is it a cactus?"}


def test_a_thing_more_probable_than_all_others_together_is_guessed():
    world = TwentyQuestions(0.01)
    said = ["Is it a plant?", "Yes.", "Is it sharp?", "Yes.", "Is it small?", "No."]
    text = world.policy_turn("informed", talk(*said, *said, *said), random.Random(0))
    assert text == "Is it a cactus?"
    doubtful = TwentyQuestions(0.4).policy_turn("informed", talk(*said), random.Random(0))
    assert isinstance(world.language.parse(doubtful), Ask)


@pytest.mark.parametrize("skill", TwentyQuestions.skills)
def test_contradictory_answers_leave_every_thing_not_denied(skill: str):
    world = TwentyQuestions()
    said = ["Is it an animal?", "Yes.", "Is it alive?", "No.", "Is it a dog?", "No."]
    texts = policy_texts(world, skill, talk(*said, turns=4), 3000)
    assert set(texts) == {t.guess for t in KNOWLEDGE.things if t.name != "dog"}


def test_when_all_was_denied_any_thing_is_guessed():
    world = TwentyQuestions()
    said = [t for thing in KNOWLEDGE.things for t in (thing.guess, "No.")]
    text = world.policy_turn("guesser", talk(*said, turns=999), random.Random(0))
    assert isinstance(world.language.parse(text), Guess)


def test_better_policies_win_more_often():
    world = TwentyQuestions()

    def wins(skill: str) -> int:
        return sum(won(world, skill, random.Random(seed)) for seed in range(60))

    scores = [wins(skill) for skill in world.skills]
    assert scores[0] < scores[1] < scores[2] == 60


def won(world: TwentyQuestions, skill: str, rng: random.Random) -> bool:
    """Play one game of ten turns."""
    said = talk(turns=10)
    goal = world.draw_goal(said, rng)
    while TERMINATION_SIGNAL not in said[-1].content:
        said += (Message("assistant", world.policy_turn(skill, said, rng)),)
        said += (Message("user", world.user_turn(goal, said, rng)),)
    return world.success(goal, said) == 1.0
