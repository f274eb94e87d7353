"""The enumeration and the policies against plain recursion over histories, with four things."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foresight_services.core.conversation import Conversation, Message, Role
from foresight_services.worlds.exact.twenty_questions import exact_mr
from foresight_services.worlds.twenty_questions import (
    TwentyQuestions,
    opening_message,
    parse_knowledge,
)

WEIGHTS = {"success": 1.0, "messages": -0.03, "token_amount": -7.0}
TINY = """
attributes:
  - {id: big, question: "Is it big?", phrases: [], antonyms: [little]}
  - {id: red, question: "Is it really red?", phrases: [red]}
  - {id: old, question: "Can you say that it is old?", phrases: [old]}
things:
  - {name: barn, is: [big, red]}
  - {name: cherry, is: [red]}
  - {name: old english sheepdog, aliases: [sheepdog], is: [big, old]}
  - {name: ice, article: "", is: []}
"""
TRAITS = {
    "barn": {"big", "red"},
    "cherry": {"red"},
    "old english sheepdog": {"big", "old"},
    "ice": set(),
}
QUESTIONS = {
    "big": "Is it big?",
    "red": "Is it really red?",
    "old": "Can you say that it is old?",
}
GUESSES = {
    "barn": "Is it a barn?",
    "cherry": "Is it a cherry?",
    "old english sheepdog": "Is it an old english sheepdog?",
    "ice": "Is it ice?",
}
SAID: dict[str, tuple[str, str, bool]] = {
    **{text: ("ask", key, True) for key, text in QUESTIONS.items()},
    **{text: ("guess", key, True) for key, text in GUESSES.items()},
    "Is it little?": ("ask", "big", False),
    "Who knows?": ("unclear", "", True),
    "A barn? A cherry?": ("unclear", "", True),
}
"""Kind, subject and polarity of every assistant message of the tiny games."""


def talk(*said: str, turns: int = 20) -> Conversation:
    roles: tuple[Role, Role] = ("assistant", "user")
    rest = tuple(Message(roles[index % 2], text) for index, text in enumerate(said))
    return (Message("user", opening_message(turns)), *rest)


@dataclass(frozen=True)
class Tiny:
    """Plain recursion over what was said, with probabilities as fractions."""

    error: Fraction
    turns: int
    skill: str

    def likelihood(self, thing: str, said: tuple[str, ...]) -> Fraction:
        weight = Fraction(1)
        for text, reply in zip(said[::2], said[1::2], strict=False):
            kind, subject, positive = SAID[text]
            if kind == "guess":
                weight *= (subject == thing) == reply.startswith("Yes")
            elif kind == "ask" and reply in ("Yes.", "No."):
                truth = (subject in TRAITS[thing]) == positive
                weight *= 1 - self.error if truth == (reply == "Yes.") else self.error
        return weight

    def posterior(self, said: tuple[str, ...]) -> dict[str, Fraction]:
        weights = {thing: self.likelihood(thing, said) for thing in TRAITS}
        total = sum(weights.values())
        return {thing: weight / total for thing, weight in weights.items()} if total else {}

    def options(self, said: tuple[str, ...]) -> list[str]:
        belief = {thing: p for thing, p in self.posterior(said).items() if p}
        if not belief:
            replies = zip(said[::2], said[1::2], strict=False)
            denied = {SAID[text][1] for text, reply in replies if reply.startswith("No, ")}
            left = [thing for thing in TRAITS if thing not in denied] or list(TRAITS)
            belief = {thing: Fraction(1, len(left)) for thing in left}
        top = max(belief.values())
        guesses = [GUESSES[thing] for thing, p in belief.items() if p == top]
        if self.skill == "guesser":
            return [GUESSES[thing] for thing in belief]
        if len(said) // 2 + 1 >= self.turns or top > Fraction(1, 2):
            return guesses
        yes = {key: sum(p for t, p in belief.items() if key in TRAITS[t]) for key in QUESTIONS}
        if self.skill == "informed":
            telling = max(QUESTIONS, key=lambda key: min(yes[key], 1 - yes[key]))
            return [QUESTIONS[telling]] if 0 < yes[telling] < 1 else guesses
        asked = {SAID[text][1] for text in said[::2]}
        return [QUESTIONS[key] for key in QUESTIONS if key not in asked and 0 < yes[key] < 1] or (
            guesses
        )

    def replies(self, secret: str, said: tuple[str, ...]) -> list[tuple[str, Fraction, bool]]:
        """Return the user's replies with their probability and whether they end the chat."""
        kind, subject, positive = SAID[said[-1]]
        if kind == "guess" and subject == secret:
            return [("Yes, that's it!", Fraction(1), True)]
        if (len(said) + 1) // 2 >= self.turns:
            return [("over", Fraction(1), True)]
        if kind == "guess":
            return [("No, that's not it.", Fraction(1), False)]
        if kind == "unclear":
            return [("One at a time.", Fraction(1), False)]
        truth = (subject in TRAITS[secret]) == positive
        wrong, right = ("No.", "Yes.") if truth else ("Yes.", "No.")
        return [(right, 1 - self.error, False), (wrong, self.error, False)]

    def future(
        self, secret: str, said: tuple[str, ...], left: int, score: Callable[..., Fraction]
    ) -> Fraction:
        """Return the expected score of the conversation that continues `said`."""
        if left == 0:
            return score(secret, said)
        if len(said) % 2 == 0:
            texts = self.options(said)
            return sum(
                (self.future(secret, (*said, text), left - 1, score) for text in texts),
                Fraction(0),
            ) / len(texts)
        expected = Fraction(0)
        for reply, chance, ends in self.replies(secret, said):
            if chance:
                rest = 0 if ends else left - 1
                expected += chance * self.future(secret, (*said, reply), rest, score)
        return expected


def tiny_truth(game: Tiny, said: list[str], candidate: str, horizon: int, goal: str | None):
    weights = {metric: Fraction(weight) for metric, weight in WEIGHTS.items()}

    def score(secret: str, whole: tuple[str, ...]) -> Fraction:
        tokens = sum(len(re.findall(r"\w+|[^\w\s]", text)) for text in whole[::2])
        return (
            weights["success"] * any(SAID[text][:2] == ("guess", secret) for text in whole[::2])
            + weights["messages"] * (len(whole) - len(said))
            + weights["token_amount"] * Fraction(tokens, 1000)
        )

    secrets = {goal: Fraction(1)} if goal else game.posterior(tuple(said))
    return float(
        sum(
            chance * game.future(secret, (*said, candidate), horizon, score)
            for secret, chance in secrets.items()
        )
    )


exchanges = st.sampled_from(
    [
        *((QUESTIONS[key], reply) for key in QUESTIONS for reply in ("Yes.", "No.", "Hm.")),
        *((GUESSES[key], "No, that's not it.") for key in GUESSES),
        (GUESSES["ice"], "Yes."),
        ("Is it little?", "Yes."),
        ("Who knows?", "One at a time."),
    ]
)


@settings(max_examples=300, deadline=None)
@given(
    exchanged=st.lists(exchanges, max_size=3),
    candidate=st.sampled_from(list(SAID)),
    error=st.sampled_from([Fraction(0), Fraction(1, 8), Fraction(3, 8)]),
    more_turns=st.integers(1, 5),
    skill=st.sampled_from(TwentyQuestions.skills),
    horizon=st.integers(0, 7),
    goal=st.sampled_from([None, *TRAITS]),
)
def test_equals_plain_recursion_on_a_tiny_knowledge(
    exchanged, candidate, error, more_turns, skill, horizon, goal
):
    said = [text for exchange in exchanged for text in exchange]
    game = Tiny(error, len(exchanged) + more_turns, skill)
    world = TwentyQuestions(float(error), knowledge=parse_knowledge(TINY, source="tiny"))

    def exact() -> float:
        return exact_mr(
            world,
            prefix=talk(*said, turns=game.turns),
            candidate=candidate,
            weights=WEIGHTS,
            horizon=horizon,
            skill=skill,
            goal=goal,
        )

    if goal is None and not game.posterior(tuple(said)):
        with pytest.raises(ValueError, match="no known thing fits"):
            exact()
    else:
        assert exact() == pytest.approx(
            tiny_truth(game, said, candidate, horizon, goal), rel=0, abs=1e-12
        )


@settings(max_examples=300, deadline=None)
@given(
    exchanged=st.lists(exchanges, max_size=4),
    error=st.sampled_from([Fraction(0), Fraction(1, 8), Fraction(3, 8)]),
    more_turns=st.integers(1, 3),
    skill=st.sampled_from(TwentyQuestions.skills),
)
def test_policies_of_the_world_choose_among_the_same_messages(exchanged, error, more_turns, skill):
    said = tuple(text for exchange in exchanged for text in exchange)
    game = Tiny(error, len(exchanged) + more_turns, skill)
    world = TwentyQuestions(float(error), knowledge=parse_knowledge(TINY, source="tiny"))
    # Of at most four messages, one is missed by 60 draws with probability below 1e-6.
    conversation = talk(*said, turns=game.turns)
    chosen = {world.policy_turn(skill, conversation, random.Random(seed)) for seed in range(60)}
    assert chosen == set(game.options(said))
