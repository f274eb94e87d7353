"""The enumeration against averages of simulated games, and what it says about good play."""

from __future__ import annotations

import random
import re
from statistics import fmean, stdev
from typing import Any

import pytest

from foresight_services.core.conversation import Conversation, Message, Role
from foresight_services.worlds.exact.twenty_questions import exact_mr
from foresight_services.worlds.twenty_questions import TwentyQuestions, opening_message
from foresight_services.worlds.world import TERMINATION_SIGNAL

WEIGHTS = {"success": 1.0, "messages": -0.03, "token_amount": -7.0}
EARLY = ("Is it alive?", "No.", "Is it a tool?", "No.")
FEW = ("Is it a plant?", "Yes.", "Does it taste sweet?", "No.", "Is it a carrot?", "No.")
"""Leaves the five living plants, lemon and potato."""


def talk(*said: str, turns: int = 20) -> Conversation:
    roles: tuple[Role, Role] = ("assistant", "user")
    rest = tuple(Message(roles[index % 2], text) for index, text in enumerate(said))
    return (Message("user", opening_message(turns)), *rest)


@pytest.mark.parametrize(
    ("said", "turns", "candidate", "error_rate", "skill", "horizon", "goal"),
    [
        (EARLY, 20, "Is it made mostly of metal?", 0.0, "informed", 4, None),
        (EARLY, 20, "Is it made mostly of metal?", 0.1, "informed", 8, None),
        (EARLY, 6, "Is it a piano?", 0.1, "informed", 8, None),
        (EARLY, 6, "Is it a place?", 0.0, "informed", 7, "school"),
        (EARLY, 5, "Is it a place?", 0.2, "asker", 5, None),
        (FEW, 20, "Is it round?", 0.0, "asker", 8, None),
        (FEW, 20, "Isn't it round?", 0.3, "asker", 6, "lemon"),
        (FEW, 20, "Is it small?", 0.0, "guesser", 8, None),
        (FEW, 20, "Tell me more.", 0.1, "guesser", 7, None),
        (FEW, 6, "Is it a lemon or a potato?", 0.0, "guesser", 6, "potato"),
        (FEW, 20, "Is it a lemon?", 0.0, "asker", 1, None),
        (FEW, 20, "Is it a lemon?", 0.0, "asker", 0, None),
        (FEW, 4, "Is it a lemon?", 0.1, "informed", 8, None),
        (FEW, 20, "Is it a lemon?", 0.0, "guesser", 8, "elephant"),
        ((), 3, "Is it inanimate?", 0.05, "asker", 6, "dog"),
        ((), 4, "Hello!", 0.0, "informed", 8, None),
    ],
)
def test_agrees_with_simulated_games(said, turns, candidate, error_rate, skill, horizon, goal):
    world = TwentyQuestions(error_rate)
    prefix = talk(*said, turns=turns)
    samples = [
        simulated(world, prefix, candidate, skill, horizon, goal, random.Random(seed))
        for seed in range(2500)
    ]
    exact = exact_mr(
        world,
        prefix=prefix,
        candidate=candidate,
        weights=WEIGHTS,
        horizon=horizon,
        skill=skill,
        goal=goal,
    )
    assert abs(exact - fmean(samples)) < 4 * stdev(samples) / len(samples) ** 0.5 + 1e-9


def simulated(
    world: TwentyQuestions,
    prefix: Conversation,
    candidate: str,
    skill: str,
    horizon: int,
    goal: str | None,
    rng: random.Random,
) -> float:
    """Return the objective of one simulated game."""
    goal = goal or world.draw_goal(prefix, rng)
    said = (*prefix, Message("assistant", candidate))
    for _ in range(horizon):
        if said[-1].role == "assistant":
            said += (Message("user", world.user_turn(goal, said, rng)),)
            if TERMINATION_SIGNAL in said[-1].content:
                break
        else:
            said += (Message("assistant", world.policy_turn(skill, said, rng)),)
    spoken = " ".join(message.content for message in said if message.role == "assistant")
    return (
        WEIGHTS["success"] * world.success(goal, said)
        + WEIGHTS["messages"] * (len(said) - len(prefix))
        + WEIGHTS["token_amount"] * len(re.findall(r"\w+|[^\w\s]", spoken)) / 1000
    )


def success_chance(
    said,
    turns: int,
    candidate: str,
    horizon: int,
    *,
    error_rate: float = 0.0,
    skill: str = "informed",
) -> float:
    return exact_mr(
        TwentyQuestions(error_rate),
        prefix=talk(*said, turns=turns),
        candidate=candidate,
        weights={"success": 1.0},
        horizon=horizon,
        skill=skill,
    )


@pytest.mark.parametrize("error_rate", [0.0, 0.05])
def test_early_on_a_question_is_worth_more_than_a_guess(error_rate: float):
    question = success_chance((), 6, "Can you hold it in one hand?", 12, error_rate=error_rate)
    guess = success_chance((), 6, "Is it an elephant?", 12, error_rate=error_rate)
    assert question > 1.3 * guess


def test_on_the_last_turn_only_a_guess_is_worth_anything():
    assert success_chance(FEW, 4, "Is it a lemon?", 8) == pytest.approx(1 / 7)
    assert success_chance(FEW, 4, "Is it round?", 8) == 0.0


@pytest.mark.parametrize(
    ("said", "guess", "chance"),
    [((), "Is it a lamp?", 1 / 123), (FEW, "Is it a lemon?", 1 / 7)],
)
def test_without_a_future_only_a_guess_is_worth_anything(said, guess: str, chance: float):
    assert success_chance(said, 20, guess, 0) == pytest.approx(chance)
    assert success_chance(said, 20, "Is it round?", 0) == 0.0


def test_at_the_end_of_the_game_a_better_policy_is_worth_more():
    guesser, asker, informed = (
        success_chance(FEW, 8, "Is it round?", 9, skill=skill) for skill in TwentyQuestions.skills
    )
    assert guesser < asker < informed == pytest.approx(1.0)


def test_only_the_named_metrics_count():
    def value(**weights: float) -> float:
        return exact_mr(
            TwentyQuestions(),
            prefix=talk(*FEW),
            candidate="Is it a rose?",
            weights=weights,
            horizon=0,
            skill="informed",
            goal="rose",
        )

    assert value() == 0.0
    assert value(success=2.0) == 2.0
    assert value(messages=3.0) == 3.0
    # Four assistant messages of five tokens.
    assert value(token_amount=1.0) == pytest.approx(0.020)
    assert value(success=2.0, messages=3.0, token_amount=-1.0) == pytest.approx(4.980)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"weights": {"accuracy": 1.0}}, "unknown metric 'accuracy'; known: success, messages"),
        ({"skill": "wizard"}, "unknown skill 'wizard'"),
        ({"horizon": -1}, "horizon must be at least 0"),
        ({"goal": "elefant"}, "nearest is 'elephant'"),
        ({"prefix": talk("Is it alive?", "No.", "Is it an animal?", "Yes.")}, "no known thing"),
    ],
)
def test_what_cannot_be_computed_is_an_error(change: dict[str, Any], complaint: str):
    asked: dict[str, Any] = {
        "prefix": talk(),
        "candidate": "Is it alive?",
        "weights": WEIGHTS,
        "horizon": 4,
        "skill": "informed",
    }
    with pytest.raises(ValueError, match=complaint):
        exact_mr(TwentyQuestions(), **(asked | change))
