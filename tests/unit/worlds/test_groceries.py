"""The shopper, the goals and the judge of the groceries world, and whole chats in it."""

import random
from collections import Counter
from math import sqrt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foresight_services.core.conversation import Conversation, Message
from foresight_services.worlds.groceries import Groceries, sentences
from foresight_services.worlds.world import TERMINATION_SIGNAL, World

WORLD = Groceries()
NEEDS = {need.id: need for need in WORLD.knowledge.needs}
GOAL = "address: 7 Mill Road; diet: vegan"


def chat(*texts: str) -> Conversation:
    """Alternate user and assistant, the user first."""
    return tuple(
        Message("assistant" if i % 2 else "user", text)
        for i, text in enumerate((sentences.OPENING, *texts))
    )


def reply(goal: str, *texts: str, seed: int = 0) -> str:
    return WORLD.user_turn(goal, chat(*texts), random.Random(seed))


goals = st.fixed_dictionaries(
    {}, optional={n.id: st.sampled_from([v.name for v in n.values]) for n in NEEDS.values()}
).map(lambda g: "; ".join(f"{n}: {g[n]}" for n in NEEDS if n in g) or "no preferences")


def test_it_is_a_world() -> None:
    world: World = WORLD
    assert world.name == "groceries"
    assert world.skills == ("assumer", "interrogator", "focused")


# Goals


@given(goals)
@settings(max_examples=50, deadline=None)
def test_goals_of_any_needs_are_goals(goal: str) -> None:
    assert WORLD.check_goal(goal) is None


@pytest.mark.parametrize(
    "goal",
    ["DIET:Vegan ;  address: 7  mill road", " No  Preferences ", "diet:" + " " * 10_000 + "halal"],
)
def test_goals_are_read_in_any_order_case_and_spacing(goal: str) -> None:
    assert WORLD.check_goal(goal) is None


@pytest.mark.parametrize(
    ("goal", "problem"),
    [
        ("", "'' names no need: a goal is 'no preferences' or lists needs as 'address: "),
        ("vegan", "'vegan' names no need"),
        ("colour: red", "'colour: red' names no need"),
        ("diet: vegan;", "'' names no need"),
        ("diet: pescetarian", "diet is one of omnivore, vegetarian, vegan, halal, not 'pesc"),
        ("diet: vegan; diet: halal", "a goal names a need once, but diet occurs twice"),
        ("x" * 100_000, "'" + "x" * 60 + "' names no need"),
    ],
)
def test_what_is_no_goal_is_explained(goal: str, problem: str) -> None:
    message = WORLD.check_goal(goal)
    assert message is not None
    assert message.startswith(problem)
    assert message.endswith(".")
    with pytest.raises(ValueError, match=r"names no need|is one of|occurs twice"):
        WORLD.success(goal, chat())


# The posterior


def test_unprompted_needs_are_drawn_from_the_prior() -> None:
    n = 4000
    rng = random.Random(1)
    drawn = Counter[str]()
    for _ in range(n):
        goal = WORLD.draw_goal(chat(), rng)
        assert WORLD.check_goal(goal) is None
        drawn.update(goal.split("; "))
    for need in NEEDS.values():
        for value in need.values:
            p = need.matters * value.probability
            assert abs(drawn[f"{need.id}: {value.name}"] / n - p) < 4.5 * sqrt(p * (1 - p) / n)


def test_what_the_prefix_reveals_is_kept_and_the_rest_stays_open() -> None:
    prefix = chat(
        "Which diet and which packaging?",
        "It must be halal. I don't mind about packaging.",
        "What is your budget?",
        "Can you deliver to 4 Church Close? I am not sure about the rest.",
    )
    rng = random.Random(2)
    drawn = [set(WORLD.draw_goal(prefix, rng).split("; ")) for _ in range(400)]
    assert all({"diet: halal", "address: 4 Church Close"} <= goal for goal in drawn)
    assert not any(part.startswith("packaging") for goal in drawn for part in goal)
    budgets = {part for goal in drawn for part in goal if part.startswith("budget")}
    assert budgets == {"budget: $40", "budget: $80", "budget: $150"}
    assert any(not any(part.startswith("budget") for part in goal) for goal in drawn)


def test_words_of_the_assistant_reveal_nothing() -> None:
    rng = random.Random(3)
    prefix = chat("I take it that it must be halal.", "Go on.")
    drawn = [WORLD.draw_goal(prefix, rng) for _ in range(100)]
    assert any("diet: vegan" in goal for goal in drawn)
    assert any("diet" not in goal for goal in drawn)


@pytest.mark.parametrize(
    ("first", "second", "need"),
    [
        ("I'm vegan.", "I'm vegetarian.", "diet: 'vegan' and 'vegetarian'"),
        ("I don't mind about the diet.", "I'm vegan.", "diet: 'does not matter' and 'vegan'"),
        ("I'm vegan.", "I don't mind about the diet.", "diet: 'vegan' and 'does not matter'"),
        ("$40. Sorry, $80.", "Hello?", r"budget: '\$40' and '\$80'"),
    ],
)
def test_contradictory_prefix_is_refused(first: str, second: str, need: str) -> None:
    prefix = chat("Tell me more.", first, "Tell me more.", second)
    with pytest.raises(ValueError, match=f"the prefix contradicts itself about {need}"):
        WORLD.draw_goal(prefix, random.Random(0))


@given(goals, st.sets(st.sampled_from(sorted(NEEDS)), min_size=1), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_goals_drawn_after_answers_agree_with_them(goal: str, asked: set[str], seed: int) -> None:
    question = sentences.asks(NEEDS[need] for need in sorted(asked))
    answer = reply(goal, question, seed=seed)
    drawn = WORLD.draw_goal(chat(question, answer), random.Random(seed))
    if answer != sentences.GIVES_UP:
        parts = [
            {part for part in text.split("; ") if part.split(":")[0] in asked}
            for text in (goal, drawn)
        ]
        assert parts[0] == parts[1]


# The shopper


def test_needs_that_matter_are_answered_in_the_order_of_the_file() -> None:
    answer = reply(GOAL, "What is your diet? And your address?")
    assert answer == "Please deliver to 7 Mill Road. It must be vegan."


def test_needs_that_do_not_matter_are_dismissed() -> None:
    replies = Counter(reply(GOAL, "Which brands?", seed=seed) for seed in range(200))
    assert replies.keys() == {"I don't mind about brands.", sentences.GIVES_UP}
    assert replies[sentences.GIVES_UP] < 60


@pytest.mark.parametrize(
    ("texts", "needless"),
    [
        (("What is your address?",), 0),
        (("Your brand?",), 1),
        (("Your brand, your budget, your address and your allergies?",), 3),
        (("Your address?", "Please deliver to 7 Mill Road.", "Your address?"), 1),
        (("Your brand?", "I don't mind about brands.", "Your brand, your budget?"), 2),
    ],
)
def test_each_needless_question_costs_patience_by_itself(
    texts: tuple[str, ...], needless: int
) -> None:
    n = 2000
    left = sum(reply(GOAL, *texts, seed=s) == sentences.GIVES_UP for s in range(n))
    p = 1 - (1 - WORLD.knowledge.impatience) ** needless
    assert abs(left / n - p) <= 4.5 * sqrt(p * (1 - p) / n)


def test_what_is_neither_question_nor_order_is_nudged() -> None:
    assert reply(GOAL, "Hello! I love groceries.") == sentences.NUDGE


@pytest.mark.parametrize(
    ("order", "answer"),
    [
        ("I've ordered vegan food to 7 Mill Road.", sentences.ACCEPTS),
        ("I've ordered vegan food.", sentences.rejects(["Please deliver to 7 Mill Road."])),
        (
            "I'll place the order now.",
            sentences.rejects(["Please deliver to 7 Mill Road.", "It must be vegan."]),
        ),
    ],
)
def test_an_order_ends_the_chat_with_what_is_wrong(order: str, answer: str) -> None:
    assert reply(GOAL, order) == answer
    assert answer.endswith(TERMINATION_SIGNAL)


def test_the_first_order_has_the_last_word() -> None:
    texts = ("I've ordered.", "Wait.", "I've ordered vegan food to 7 Mill Road.")
    assert reply(GOAL, *texts).startswith("That is not what I need.")
    assert WORLD.success(GOAL, chat(*texts)) == 0


def test_a_shopper_who_left_stays_away() -> None:
    texts = ("Your brand?", sentences.GIVES_UP, "I've ordered vegan food to 7 Mill Road.")
    assert reply(GOAL, *texts) == sentences.GIVES_UP
    assert WORLD.success(GOAL, chat(*texts)) == 0


# The judge


@pytest.mark.parametrize(
    ("goal", "texts", "success"),
    [
        (GOAL, (), 0),
        (GOAL, ("What is your diet?", "It must be vegan."), 0),
        (GOAL, ("I'll place the order now.",), 0),
        ("no preferences", ("I'll place the order now.",), 1),
        ("no preferences", ("Hello.",), 0),
        ("address: 12 Oak Lane; budget: $80", ("I'll place the order now.",), 1),
        (GOAL, ("I've ordered vegan food.",), 1 / 2),
        (GOAL, ("Diet?", "It must be vegan.", "I've ordered."), 1 / 2),
        (GOAL, ("Diet?", "It must be vegan.", "I've ordered halal food."), 0),
        (GOAL, ("Go on.", "Vegan. No, vegetarian.", "I've ordered."), 0),
        (GOAL, ("Diet?", "I'm vegan, deliver to 7 Mill Road.", "I've ordered."), 1),
        (GOAL + "; time: Saturday", ("I've ordered vegan food for Saturday.",), 2 / 3),
        ("diet: omnivore", ("Diet?", "I don't mind about the diet.", "I've ordered."), 1),
        (GOAL, ("I've ordered vegan food.", f"Bye. {TERMINATION_SIGNAL}"), 1 / 2),
        (GOAL, (f"{TERMINATION_SIGNAL} Diet?", "I'm vegan.", "I've ordered."), 1 / 2),
    ],
)
def test_success_is_the_share_of_needs_met(
    goal: str, texts: tuple[str, ...], success: float
) -> None:
    assert WORLD.success(goal, chat(*texts)) == pytest.approx(success)


def test_system_messages_are_not_part_of_the_chat() -> None:
    system = Message("system", "I've ordered vegan food.")
    assert WORLD.success("diet: vegan", (system, *chat())) == 0


# Whole chats


@given(st.sampled_from(WORLD.skills), goals, st.integers(0, 2**32))
@settings(max_examples=100, deadline=None)
def test_every_skill_ends_every_chat_and_depends_on_the_seed_alone(
    skill: str, goal: str, seed: int
) -> None:
    def play() -> Conversation:
        rng = random.Random(seed)
        conversation = chat()
        while TERMINATION_SIGNAL not in conversation[-1].content:
            said = WORLD.policy_turn(skill, conversation, rng)
            conversation += (Message("assistant", said),)
            answer = WORLD.user_turn(goal, conversation, rng)
            conversation += (Message("user", answer),)
            assert len(conversation) < 12
        return conversation

    conversation = play()
    assert conversation == play()
    accepted = conversation[-1].content == sentences.ACCEPTS
    assert accepted == (WORLD.success(goal, conversation) == 1)
