"""What every builtin `World` promises."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from foresight_services.core.conversation import Conversation, Message
from foresight_services.worlds.registry import make_worlds
from foresight_services.worlds.world import TERMINATION_SIGNAL, World

MAKERS: dict[str, Callable[[], World]] = {
    "twenty_questions": lambda: make_worlds()["twenty_questions"],
    "twenty_questions that errs": lambda: make_worlds(error_rate=0.2)["twenty_questions"],
    "groceries": lambda: make_worlds()["groceries"],
}
OPENINGS = {
    "twenty_questions": "Let's play 20 Questions! I'm thinking of a thing. You have 20 turns.",
    "groceries": "Can you help me buy groceries?",
}
MOST_MESSAGES = 60
"""More than any of these games can take."""

SEEDS = range(12)


@pytest.fixture(params=MAKERS)
def make(request: pytest.FixtureRequest) -> Callable[[], World]:
    """Make a fresh instance of one world."""
    return MAKERS[request.param]


def opening(world: World) -> Conversation:
    return (Message("user", OPENINGS[world.name]),)


def draw(world: World, seed: int) -> str:
    return world.draw_goal(opening(world), random.Random(seed))


def play(world: World, skill: str, goal: str, seed: int) -> Conversation:
    """Let a policy meet the user until the user ends the chat."""
    rng, said = random.Random(seed), opening(world)
    while len(said) < MOST_MESSAGES:
        said = (*said, Message("assistant", world.policy_turn(skill, said, rng)))
        said = (*said, Message("user", world.user_turn(goal, said, rng)))
        if TERMINATION_SIGNAL in said[-1].content:
            return said
    raise AssertionError("the user never ended the chat")


def test_a_world_is_registered_by_its_name(make: Callable[[], World]) -> None:
    world = make()
    assert make_worlds()[world.name].name == world.name
    assert len(set(world.skills)) == len(world.skills) >= 1


def test_every_game_ends_and_every_skill_can_play(make: Callable[[], World]) -> None:
    world = make()
    for skill in world.skills:
        for seed in SEEDS:
            said = play(world, skill, draw(world, seed), seed)
            assert all(message.content.strip() for message in said)


def test_the_user_opens_where_the_assistant_has_not_spoken(make: Callable[[], World]) -> None:
    world = make()
    for seed in SEEDS:
        rng = random.Random(seed)
        goal = world.draw_goal((), rng)
        said = world.user_turn(goal, (), rng)
        assert said.strip() and TERMINATION_SIGNAL not in said
        # A game goes on from there, and nothing of the goal is told yet.
        prefix = (Message("user", said),)
        assert world.policy_turn(world.skills[-1], prefix, rng).strip()
        assert len({world.draw_goal(prefix, random.Random(k)) for k in range(9)}) > 1


def test_the_signal_ends_the_message_that_carries_it(make: Callable[[], World]) -> None:
    world = make()
    for seed in SEEDS:
        *before, last = play(world, world.skills[-1], draw(world, seed), seed)
        assert last.content.endswith(TERMINATION_SIGNAL)
        assert not [m for m in before if TERMINATION_SIGNAL in m.content]


def test_equal_seeds_give_equal_games_in_any_instance(make: Callable[[], World]) -> None:
    world, again = make(), make()
    for seed in SEEDS:
        goal = draw(world, seed)
        assert draw(again, seed) == goal
        for skill in world.skills:
            assert play(again, skill, goal, seed) == play(world, skill, goal, seed)


def test_seeds_make_a_difference(make: Callable[[], World]) -> None:
    world = make()
    goals = {draw(world, seed) for seed in SEEDS}
    assert len(goals) > 1


def test_drawn_goals_are_goals_and_nonsense_is_none(make: Callable[[], World]) -> None:
    world = make()
    assert [world.check_goal(draw(world, seed)) for seed in SEEDS] == [None] * len(SEEDS)
    for nonsense in ("no such goal anywhere", "x" * 100_000):
        problem = world.check_goal(nonsense)
        assert problem
        assert len(problem) < 500


def test_success_is_a_degree_of_the_goal_of_the_game(make: Callable[[], World]) -> None:
    world = make()
    degrees = []
    for skill in world.skills:
        for seed in SEEDS:
            goal = draw(world, seed)
            said = play(world, skill, goal, seed)
            degrees.append(world.success(goal, said))
            assert world.success(goal, said[:1]) == 0.0
    assert all(0.0 <= degree <= 1.0 for degree in degrees)
    assert max(degrees) == 1.0


def test_small_talk_draws_nothing_of_the_goal_out_of_the_user(make: Callable[[], World]) -> None:
    world = make()
    said = (*opening(world), Message("assistant", "Hello there."))
    replies = {world.user_turn(draw(world, seed), said, random.Random(0)) for seed in range(100)}
    assert len(replies) == 1


def test_a_policy_cannot_know_more_than_was_said(make: Callable[[], World]) -> None:
    # Where two users have said the same, the policy says the same, whatever each of them wants.
    world = make()
    replies: dict[tuple[str, Conversation], set[str]] = {}
    goals: dict[tuple[str, Conversation], set[str]] = {}
    for skill in world.skills:
        for seed in range(40):
            goal = draw(world, seed)
            said = play(world, skill, goal, 0)
            for end in range(1, len(said) - 1, 2):
                place = (skill, said[:end])
                reply = world.policy_turn(skill, said[:end], random.Random(5))
                replies.setdefault(place, set()).add(reply)
                goals.setdefault(place, set()).add(goal)
    assert max(len(different) for different in goals.values()) > 1
    assert {len(different) for different in replies.values()} == {1}


def test_every_role_copes_with_what_people_write(make: Callable[[], World]) -> None:
    world = make()
    for text in ("?", "🙂", "Is it " * 500, TERMINATION_SIGNAL, "\n", "NULL; DROP TABLE"):
        goal = draw(world, 0)
        said = (*opening(world), Message("assistant", text))
        assert world.user_turn(goal, said, random.Random(0)).strip()
        assert 0.0 <= world.success(goal, said) <= 1.0
        heard = (*said, Message("user", text))
        assert world.policy_turn(world.skills[0], heard, random.Random(0)).strip()
        assert world.check_goal(world.draw_goal((Message("user", text),), random.Random(0))) is None
