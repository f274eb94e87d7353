from __future__ import annotations

import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from foresight_services.worlds.twenty_questions.knowledge import builtin_knowledge
from foresight_services.worlds.twenty_questions.language import Language
from foresight_services.worlds.twenty_questions.moves import Ask, Guess, Move, NoMove

LANGUAGE = Language(builtin_knowledge())


def meaning(text: str) -> str:
    """Name the move of `text`: an attribute, "not" an attribute, "=" a thing, or a NoMove."""
    return described(LANGUAGE.parse(text))


def described(move: Move) -> str:
    if isinstance(move, Ask):
        name = builtin_knowledge().attributes[move.attribute].id
        return f"not {name}" if move.negated else name
    if isinstance(move, Guess):
        return f"={builtin_knowledge().things[move.thing].name}"
    return move.value


SENTENCES = [
    # Plain questions and paraphrases.
    ("Is it an animal?", "animal"),
    ("is it made of wood", "wooden"),
    ("Is it a living thing?", "living"),
    ("Can you eat it?", "food"),
    ("Is it something you can wear?", "worn"),
    ("Would I find it in the kitchen?", "kitchen"),
    ("Does it run on electricity?", "plugged"),
    ("Is it man-made?", "manmade"),
    ("Is it artificial, or something else?", "manmade"),
    ("DOES IT HAVE WHEELS?", "wheels"),
    ("Is it a *musical* instrument?", "instrument"),
    ("Is it a mode of transportation?", "vehicle"),
    ("Is it huge?", "huge"),
    ("Would it fit in your hand?", "handheld"),
    ("Alive?", "living"),
    ("An animal, perhaps?", "animal"),
    # Preamble, and only the first question counts.
    ("Great! Let me think. Is it something you can eat?", "food"),
    ("So it's not alive. Is it used for cooking?", "kitchen"),
    ("Since it's not an animal, is it a plant?", "plant"),
    ("OK, it is an animal - does it eat meat?", "predator"),
    ("Is it alive? Is it a dog?", "living"),
    ("Is it an animal or a plant?", "animal"),
    ("Is it an animal, like a dog?", "animal"),
    ("A dog and a cat would both fit. Is it a mammal?", "mammal"),
    ("1. First question:\nIs it round?", "round"),
    ("Tell me whether it can fly.", "flies"),
    ("I wonder if it is a tool.", "tool"),
    # Polarity.
    ("Isn't it alive?", "living"),
    ("Isn’t it alive?", "living"),
    ("Is it not alive?", "living"),
    ("Can't you eat it?", "food"),
    ("It's an animal, isn't it?", "animal"),
    ("It's not alive, is it?", "living"),
    ("Is it inanimate?", "not living"),
    ("Is it something that isn't alive?", "not living"),
    ("Is it something you can't eat?", "not food"),
    ("Isn't it something you can't eat?", "not food"),
    ("Is it found in nature?", "not manmade"),
    ("Is it something not found in nature?", "manmade"),
    ("Is it smaller than a car?", "not huge"),
    ("Is it bigger than a breadbox?", "not handheld"),
    # Guesses.
    ("Is it a dog?", "=dog"),
    ("Is it a puppy?", "=dog"),
    ("I think it's a violin.", "=violin"),
    ("My guess: violin", "=violin"),
    ("My final answer is the moon.", "=moon"),
    ("**Violin**", "=violin"),
    ("Violin!", "=violin"),
    ("i'm going with the sofa", "=sofa"),
    ("Are you thinking of an electric guitar?", "=electric guitar"),
    ("Is it, by any chance, a T-shirt?", "=shirt"),
    ("Could it be a pair of scissors?", "=scissors"),
    ("Couldn't it be a piano?", "=piano"),
    ("Is it perhaps a washing machine?", "=washing machine"),
    ("Is it a dog that you are thinking of?", "=dog"),
    ("I know it's not a plant, so it's a dog.", "=dog"),
    ("Is it a dog? Is it alive?", "=dog"),
    ("Is it a dog or something else?", "=dog"),
    ("Is it a carpet?", "=carpet"),
    # Things that are named but not guessed.
    ("Is it bigger than a car?", "huge"),
    ("Is it bigger than a dog?", "unclear"),
    ("Is it a dog house?", "unclear"),
    ("Is it like a dog?", "unclear"),
    ("Is it a carport?", "unclear"),
    ("It can't be a dog.", "unclear"),
    ("It isn't a dog, is it?", "unclear"),
    ("I don't think it's a dog.", "unclear"),
    ("If it's a dog, say so.", "unclear"),
    ("A dog is an animal.", "unclear"),
    # More than one thing.
    ("Is it a dog or a cat?", "several"),
    ("Is it a dog? Is it a cat?", "several"),
    ("It's not a dog. Is it a cat?", "several"),
    ("dog, cat, horse, cow, elephant", "several"),
    ("Is it a puppy or a dog?", "=dog"),
    # Nothing to answer.
    ("", "unclear"),
    ("Hello there!", "unclear"),
    ("It is an animal.", "unclear"),
    ("You said it's alive. Does it bark?", "unclear"),
    ("?????", "unclear"),
    ("[[TERMINATE CHAT]]", "unclear"),
    ("Tell me if", "unclear"),
    ("Is", "unclear"),
]


@pytest.mark.parametrize(("text", "expected"), SENTENCES)
def test_sentence(text: str, expected: str):
    assert meaning(text) == expected


def test_every_question_and_guess_of_a_policy_is_understood():
    for index, attribute in enumerate(builtin_knowledge().attributes):
        assert LANGUAGE.parse(attribute.question) == Ask(index)
    for index, thing in enumerate(builtin_knowledge().things):
        assert LANGUAGE.parse(thing.guess) == Guess(index)


def test_every_phrase_and_antonym_of_the_knowledge_is_understood():
    for attribute in builtin_knowledge().attributes:
        for phrase in attribute.phrases:
            assert meaning(f"Hm. Is it so that {phrase}?") == attribute.id
        for phrase in attribute.antonyms:
            assert meaning(f"Hm. Is it so that {phrase}?") == f"not {attribute.id}"


HOSTILE = [
    ("is it a " * 130_000, "unclear"),
    ("not a dog " * 100_000, "unclear"),
    ("if it isn't a dog, " * 50_000, "unclear"),
    ("dog " * 250_000, "unclear"),
    ("a" * 1_000_000, "unclear"),
    ("a'" * 500_000, "unclear"),
    ("is it bigger than a " * 50_000 + "car?", "huge"),
    ("not " * 250_001 + "alive?", "not living"),
    ("is it " + "not " * 250_000 + "alive?", "not living"),
    ("Hm. " * 250_000 + "Is it a violin?", "=violin"),
    ("?!.\n" * 250_000 + "Is it round?", "round"),
    ("\u0130\u200b\ud800" * 300_000 + " is it round?", "round"),
]


@pytest.mark.parametrize(("text", "expected"), HOSTILE, ids=range(len(HOSTILE)))
def test_megabytes_of_hostile_text_are_read(text: str, expected: str):
    assert meaning(text) == expected


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from([*"?.,!\n:", *" ".join(s for s, _ in SENTENCES).split()])))
@example(["is", "it"])
def test_any_words_give_a_move_that_case_and_space_do_not_change(words: list[str]):
    assert meaning(" ".join(words)) == meaning("  ".join(words).upper())


@settings(max_examples=150, deadline=None)
@given(st.text())
def test_any_text_is_read(text: str):
    move = LANGUAGE.parse(text)
    assert isinstance(move, Ask | Guess | NoMove)
    assert LANGUAGE.answer(text) in (True, False, None)
    assert 1 <= LANGUAGE.turn_limit(text) <= 999


@settings(max_examples=100, deadline=None)
@given(st.randoms(use_true_random=False))
def test_two_things_in_one_message_are_never_a_guess(rng: random.Random):
    one, other = rng.sample(builtin_knowledge().things, 2)
    joint = rng.choice([" or ", ", ", "? ", "! No, ", " and "])
    assert not meaning(f"Is it a {one.name}{joint}a {other.name}?").startswith("=")


@pytest.mark.parametrize(
    ("text", "said_yes"),
    [
        ("Yes.", True),
        ("yep!", True),
        ("Yes, it is.", True),
        ("That's right", True),
        ("It is.", True),
        ("Well, yes", True),
        ("No.", False),
        ("Nope", False),
        ("No, that's not it.", False),
        ("It isn't.", False),
        ("It is not.", False),
        ("Definitely not", False),
        ("Not really", False),
        ("I'm not sure.", None),
        ("I don't know", None),
        ("It is hard to say.", None),
        ("Maybe", None),
        ("", None),
        ("I can only answer yes/no questions about the thing, or reply to a guess.", None),
    ],
)
def test_answer(text: str, said_yes: bool | None):
    assert LANGUAGE.answer(text) is said_yes


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("You have 6 turns.", 6),
        ("Guess it in 6 questions!", 6),
        ("You get 12 guesses", 12),
        ("Let's play 20 Questions! You have six turns.", 6),
        ("You have 1 turn. Let's play Twenty Questions.", 1),
        ("Let's play a 5-turn game.", 5),
        ("Each turn, ask one question or make one guess.", 20),
        ("Let's play 20 Questions.", 20),
        ("Let's play. I am 6 years old.", 20),
        ("You have 0 turns", 20),
        ("You have 100000 turns", 20),
        ("", 20),
    ],
)
def test_turn_limit(text: str, limit: int):
    assert LANGUAGE.turn_limit(text) == limit
