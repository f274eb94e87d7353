"""The demo, in processes of its own: what it claims holds."""

import json
import re

import pytest

from tests.e2e.cli_process import foresight

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def demo():
    ran = foresight("demo", "--json")
    assert (ran.returncode, ran.stderr) == (0, "")
    return json.loads(ran.stdout)


def by_name(demo, name):
    return next(scene for scene in demo["scenes"] if scene["name"] == name)


def order(look):
    """Return the positions of the candidates, best first."""
    return sorted(range(len(look["rewards"])), key=lambda i: look["rewards"][i]["rank"])


def test_early_in_the_game_looking_ahead_asks_and_the_single_turn_reward_guesses(demo):
    scene = by_name(demo, "early")
    assert order(scene["multi_turn"]) == [0, 1, 2]
    assert scene["multi_turn"]["horizon_messages"] == 9
    assert scene["single_turn"]["best"] == [2]
    assert scene["takeaway"] == (
        "MR puts “Is it a mammal?” first; the single-turn reward puts “Is it a dog?” first."
    )


def test_on_the_last_turn_both_guess(demo):
    scene = by_name(demo, "last_turn")
    assert scene["multi_turn"]["best"] == scene["single_turn"]["best"] == [2]
    assert scene["takeaway"].startswith("MR and the single-turn reward both put “Is it a sheep?”")


def test_groceries_asks_what_matters(demo):
    scene = by_name(demo, "groceries")
    assert order(scene["multi_turn"]) == [0, 1, 2]
    assert scene["single_turn"]["best"] == [2]


def test_estimates_agree_with_the_exact_values(demo):
    looks = [scene[key] for scene in demo["scenes"] for key in ("multi_turn", "single_turn")]
    for look in looks:
        exact = [one["exact"] for one in look["rewards"]]
        assert look["best"] == [exact.index(max(exact))]
        for one in look["rewards"]:
            assert abs(one["value"] - one["exact"]) < 4 * one["stderr"] + 1e-9


def test_text_tells_the_same(demo):
    ran = foresight("demo")
    assert (ran.returncode, ran.stderr) == (0, "")
    lines = ran.stdout.splitlines()
    for scene in demo["scenes"]:
        assert f"→ {scene['takeaway']}" in lines
    assert demo["summary"] in lines
    row = next(line for line in lines if line.startswith("Is it a mammal?"))
    first = by_name(demo, "early")["multi_turn"]["rewards"][0]
    assert re.split(r"\s{2,}", row)[1:3] == [
        f"{first['value']:.3f} ± {first['stderr']:.3f}",
        f"{first['exact']:.3f}",
    ]
    assert "\x1b" not in ran.stdout


def test_truth_is_checked_on_cases_that_the_seed_decides():
    ran = foresight("demo", "--truth", "--json", "--seed", "3")
    assert (ran.returncode, ran.stderr) == (0, "")
    document = json.loads(ran.stdout)
    assert {case["world"] for case in document["cases"]} == {"twenty_questions", "groceries"}
    assert len(document["cases"]) == 10
    inside = sum(case["inside"] for case in document["cases"])
    assert inside >= 8
    assert document["summary"].startswith(f"{inside} of 10 intervals hold the exact value")
