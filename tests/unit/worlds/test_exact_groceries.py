"""The exact reward against a plain simulation, and the orderings that make the world useful."""

import random
import re
from math import sqrt
from statistics import fmean, stdev

import pytest

from foresight_services.core.conversation import Conversation, Message
from foresight_services.worlds.exact.groceries import exact_mr
from foresight_services.worlds.groceries import Groceries, sentences
from foresight_services.worlds.groceries.policies import worth_asking
from foresight_services.worlds.world import TERMINATION_SIGNAL

WORLD = Groceries()
ALL = sentences.asks(WORLD.knowledge.needs)
USEFUL = sentences.asks(worth_asking(WORLD.knowledge))
ADDRESS = "Where should I deliver the groceries?"
ASSUMES = sentences.ORDERS
WEIGHTS = {"success": 1.0, "token_amount": -0.5}
MIXED = {"success": 1.0, "messages": -0.07, "token_amount": -3.0}

OPENED: Conversation = (Message("user", sentences.OPENING),)
UNDERWAY: Conversation = (
    Message("system", "You sell groceries."),
    *OPENED,
    Message("assistant", "Do you follow a diet? Which brands do you prefer?"),
    Message("user", "It must be vegan. I don't mind about brands."),
)
GOAL = "address: 31 Station Street; diet: vegan; time: Saturday"


def sample(
    prefix: Conversation, candidate: str, horizon: int, skill: str, goal: str | None, seed: int
) -> float:
    """Play one future and return its objective under `MIXED`."""
    rng = random.Random(seed)
    goal = goal or WORLD.draw_goal(prefix, rng)
    conversation = (*prefix, Message("assistant", candidate))
    for step in range(horizon):
        if step % 2:
            said = WORLD.policy_turn(skill, conversation, rng)
            conversation += (Message("assistant", said),)
        else:
            said = WORLD.user_turn(goal, conversation, rng)
            conversation += (Message("user", said),)
            if TERMINATION_SIGNAL in said:
                break
    text = " ".join(m.content for m in conversation if m.role == "assistant")
    return (
        MIXED["success"] * WORLD.success(goal, conversation)
        + MIXED["messages"] * (len(conversation) - len(prefix))
        + MIXED["token_amount"] * len(re.findall(r"\w+|[^\w\s]", text)) / 1000
    )


@pytest.mark.parametrize(
    ("prefix", "candidate", "horizon", "skill", "goal"),
    [
        (OPENED, ASSUMES, 0, "focused", None),
        (OPENED, ASSUMES, 4, "assumer", GOAL),
        (OPENED, "I've ordered halal food for Saturday.", 1, "focused", None),
        (OPENED, ADDRESS, 1, "assumer", None),
        (OPENED, ADDRESS, 2, "assumer", None),
        (OPENED, ADDRESS, 5, "focused", None),
        (OPENED, ADDRESS, 6, "focused", None),
        (OPENED, USEFUL, 4, "interrogator", None),
        (OPENED, ALL, 3, "interrogator", None),
        (OPENED, "Hello!", 7, "interrogator", GOAL),
        (OPENED, "Hello!", 8, "focused", None),
        (OPENED, "Which brands and which packaging?", 8, "focused", GOAL),
        (OPENED, ALL, 2, "assumer", "no preferences"),
        (UNDERWAY, USEFUL, 4, "focused", None),
        (UNDERWAY, "Which brands, which diet, which bags?", 3, "assumer", None),
        (UNDERWAY, ADDRESS, 4, "focused", "diet: halal; brands: premium; packaging: crates"),
        (UNDERWAY, "I've ordered vegetarian food to 12 Oak Lane.", 2, "focused", None),
        ((*OPENED, Message("assistant", ASSUMES), *OPENED), ADDRESS, 6, "focused", None),
        (
            (*OPENED, Message("assistant", ADDRESS), Message("user", sentences.GIVES_UP)),
            ASSUMES,
            4,
            "interrogator",
            None,
        ),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else None,
)
def test_simulation_agrees(
    prefix: Conversation, candidate: str, horizon: int, skill: str, goal: str | None
) -> None:
    n = 5000
    scores = [sample(prefix, candidate, horizon, skill, goal, seed) for seed in range(n)]
    exact = exact_mr(
        WORLD,
        prefix=prefix,
        candidate=candidate,
        weights=MIXED,
        horizon=horizon,
        skill=skill,
        goal=goal,
    )
    assert abs(fmean(scores) - exact) <= 4 * stdev(scores) / sqrt(n) + 1e-12


def value(candidate: str, horizon: int, skill: str, weights: dict[str, float] = WEIGHTS) -> float:
    return exact_mr(
        WORLD, prefix=OPENED, candidate=candidate, weights=weights, horizon=horizon, skill=skill
    )


@pytest.mark.parametrize("horizon", [4, 5, 6, 8])
@pytest.mark.parametrize("skill", ["assumer", "focused"])
def test_asking_what_matters_beats_asking_everything_beats_assuming(
    skill: str, horizon: int
) -> None:
    useful, everything, assumes = (value(c, horizon, skill) for c in (USEFUL, ALL, ASSUMES))
    assert useful > everything + 0.1
    assert everything > assumes + 0.1


@pytest.mark.parametrize("skill", WORLD.skills)
def test_without_a_future_only_assuming_pays(skill: str) -> None:
    assumes = value(ASSUMES, 0, skill)
    assert assumes > 0.3
    assert all(value(c, 0, skill) < 0 for c in (USEFUL, ALL, ADDRESS))


@pytest.mark.parametrize("horizon", [4, 6, 8])
@pytest.mark.parametrize("skill", WORLD.skills)
def test_asking_for_the_address_beats_assuming_in_the_long_run(skill: str, horizon: int) -> None:
    gain = value(ADDRESS, horizon, skill) - value(ASSUMES, horizon, skill)
    if (skill, horizon) == ("focused", 4):
        # It goes on to ask, mostly twice more, and has no time left to order.
        assert gain < 0
    else:
        assert gain > 0.1


def test_skills_are_named_weakest_first() -> None:
    successes = [value("Hello!", 8, skill) for skill in WORLD.skills]
    assert successes == sorted(successes)
    assert len(set(successes)) == len(successes)


def test_candidate_without_a_future_by_hand() -> None:
    tokens = len(re.findall(r"\w+|[^\w\s]", ADDRESS))
    assert value(ADDRESS, 0, "focused", {"messages": 2}) == 2
    assert value(ADDRESS, 0, "focused", {"token_amount": 1}) == pytest.approx(tokens / 1000)
    assert value(ADDRESS, 0, "focused", {}) == 0


def test_patience_by_hand() -> None:
    # Brands matter with chance 0.15; otherwise the question ends one chat in ten.
    leaves = 0.85 * 0.1
    assert value("Which brands?", 8, "assumer", {"messages": 1}) == pytest.approx(
        leaves * 2 + (1 - leaves) * 4
    )
    assert value("Which brands?", 3, "assumer", {"messages": 1}) == pytest.approx(
        leaves * 2 + (1 - leaves) * 4
    )
    assert value("Which brands?", 2, "assumer", {"messages": 1}) == pytest.approx(
        leaves * 2 + (1 - leaves) * 3
    )


def test_success_given_a_goal_by_hand() -> None:
    # One need of two is met by assuming; the needless question loses one chat in ten.
    mr = exact_mr(
        WORLD,
        prefix=OPENED,
        candidate="Which brands?",
        weights={"success": 1},
        horizon=2,
        skill="assumer",
        goal="address: 7 Mill Road; diet: omnivore",
    )
    assert mr == pytest.approx(0.9 / 2)


def test_tokens_of_the_prefix_count() -> None:
    mr = exact_mr(
        WORLD,
        prefix=UNDERWAY,
        candidate="Hi!",
        weights={"token_amount": 1000},
        horizon=0,
        skill="focused",
    )
    assert mr == pytest.approx(12 + 2)


def test_the_objective_is_linear_in_its_weights() -> None:
    parts = sum(value(ADDRESS, 6, "focused", {name: MIXED[name]}) for name in MIXED)
    assert value(ADDRESS, 6, "focused", MIXED) == pytest.approx(parts)


def test_mixing_goals_gives_the_drawn_goal() -> None:
    # After this prefix only the address is open, so four goals and one without it remain.
    said = "Vegan. $40. One person. Dairy. Saturday. Organic."
    prefix = (*OPENED, Message("assistant", "Hello."), Message("user", f"{said} Paper bags."))
    rest = (
        "diet: vegan; budget: $40; household: 1 person; allergies: dairy; time: Saturday; "
        "brands: organic; packaging: paper bags"
    )

    def mr(goal: str | None) -> float:
        return exact_mr(
            WORLD,
            prefix=prefix,
            candidate="Shall I order?",
            weights=MIXED,
            horizon=6,
            skill="focused",
            goal=goal,
        )

    address = WORLD.knowledge.needs[0]
    mixed = (1 - address.matters) * mr(rest) + address.matters * sum(
        v.probability * mr(f"address: {v.name}; {rest}") for v in address.values
    )
    assert mr(None) == pytest.approx(mixed)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": {"bleu": 1.0}}, "unknown metric 'bleu', expected one of success, mess"),
        ({"skill": "expert"}, "unknown skill 'expert'"),
        ({"horizon": -1}, "horizon must be at least 0, not -1"),
        ({"goal": "colour: red"}, "names no need"),
        (
            {"prefix": (Message("user", "I'm vegan."), Message("user", "Halal."))},
            "the prefix contradicts itself about diet",
        ),
    ],
)
def test_wrong_arguments_are_refused(change: dict, message: str) -> None:
    arguments = {
        "prefix": OPENED,
        "candidate": ADDRESS,
        "weights": MIXED,
        "horizon": 4,
        "skill": "focused",
    }
    with pytest.raises(ValueError, match=message):
        exact_mr(WORLD, **(arguments | change))
