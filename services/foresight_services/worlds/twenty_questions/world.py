"""The world of 20 Questions: the user thinks of a thing, the assistant asks and guesses.

A turn is one assistant message, and counts whether or not it is understood. The user answers
questions about attributes with a chance of error, replies to guesses truthfully, and ends the chat
when the secret is guessed or the turns are used up.
"""

from __future__ import annotations

import random
from typing import Final

from foresight_services.core.conversation import Conversation, messages_by
from foresight_services.worlds.twenty_questions.belief import belief_reader, read_evidence
from foresight_services.worlds.twenty_questions.knowledge import Knowledge, builtin_knowledge
from foresight_services.worlds.twenty_questions.language import DEFAULT_TURN_LIMIT, Language
from foresight_services.worlds.twenty_questions.moves import Ask, Guess, NoMove
from foresight_services.worlds.twenty_questions.policies import SKILLS, policy_options
from foresight_services.worlds.world import TERMINATION_SIGNAL

MAX_ERROR_RATE: Final = 0.5
"""At this rate answers carry no information; error rates stay below it."""

YES: Final = "Yes."
NO: Final = "No."
RIGHT_GUESS: Final = f"Yes, that's it! You found it. {TERMINATION_SIGNAL}"
WRONG_GUESS: Final = "No, that's not it."
ONE_AT_A_TIME: Final = "One at a time, please: guess a single thing."
NOT_UNDERSTOOD: Final = "I can only answer yes/no questions about the thing, or reply to a guess."
OUT_OF_TURNS: Final = f"That was your last turn, so the game is over. {TERMINATION_SIGNAL}"


def opening_message(turns: int = DEFAULT_TURN_LIMIT) -> str:
    """Return the user message that opens a game of `turns` assistant messages (1 to 999)."""
    allowed = "1 turn" if turns == 1 else f"{turns} turns"
    return (
        f"Let's play 20 Questions! I'm thinking of a thing. You have {allowed}; "
        "each turn, ask one yes/no question or make one guess."
    )


class TwentyQuestions:
    """Implements `World`; goals are the names of things."""

    name: Final = "twenty_questions"
    skills: Final = SKILLS

    def __init__(self, error_rate: float = 0.0, *, knowledge: Knowledge | None = None) -> None:
        """Set the probability that the user answers a question about an attribute wrongly.

        `error_rate` is in [0, 0.5). `knowledge` replaces the things that ship with the package.
        """
        if not 0.0 <= error_rate < MAX_ERROR_RATE:
            raise ValueError(f"error_rate must be in [0, {MAX_ERROR_RATE}), not {error_rate}")
        self.error_rate: Final = error_rate
        self.knowledge: Final = builtin_knowledge() if knowledge is None else knowledge
        self.language: Final = Language(self.knowledge)
        self._believe = belief_reader(self.knowledge, error_rate)
        self._options = policy_options(self.knowledge, self._believe)

    def check_goal(self, goal: str) -> str | None:
        """Return None if `goal` names a known thing, else one sentence with the nearest name."""
        if self.knowledge.find(goal) is not None:
            return None
        return (
            f"{goal[:80]!r} is not a known thing; the nearest is {self.knowledge.nearest(goal)!r}."
        )

    def turn_limit(self, conversation: Conversation) -> int:
        """Return how many assistant messages the first user message of `conversation` allows."""
        for message in conversation:
            if message.role == "user":
                return self.language.turn_limit(message.content)
        return DEFAULT_TURN_LIMIT

    def draw_goal(self, prefix: Conversation, rng: random.Random) -> str:
        """Draw a thing from its distribution given the answers in `prefix`.

        Raises ValueError when no thing fits them.
        """
        belief = self._believe(read_evidence(prefix, self.language))
        if belief is None:
            raise ValueError("no known thing fits the answers in the prefix")
        return self.knowledge.things[belief.draw(rng)].name

    def user_turn(self, goal: str, conversation: Conversation, rng: random.Random) -> str:
        """Return the user's reply; the opening when the assistant has not spoken yet."""
        secret = self._secret(goal)
        turns = messages_by("assistant", conversation)
        if not turns:
            return opening_message()
        move = self.language.parse(conversation[-1].content)
        if move == Guess(secret):
            return RIGHT_GUESS
        if turns >= self.turn_limit(conversation):
            return OUT_OF_TURNS
        match move:
            case Guess():
                return WRONG_GUESS
            case Ask(attribute, negated):
                holds = bool(self.knowledge.attributes[attribute].things >> secret & 1)
                errs = rng.random() < self.error_rate
                return YES if holds ^ negated ^ errs else NO
            case NoMove.SEVERAL:
                return ONE_AT_A_TIME
            case NoMove.UNCLEAR:
                return NOT_UNDERSTOOD

    def policy_turn(self, skill: str, conversation: Conversation, rng: random.Random) -> str:
        """Return the question or guess of the policy `skill`."""
        if skill not in self.skills:
            raise ValueError(f"unknown skill {skill!r}; known: {', '.join(self.skills)}")
        last_turn = messages_by("assistant", conversation) + 1 >= self.turn_limit(conversation)
        evidence = read_evidence(conversation, self.language)
        options = self._options(skill, evidence, last_turn)
        move = options[rng.randrange(len(options))]
        if isinstance(move, Ask):
            return self.knowledge.attributes[move.attribute].question
        return self.knowledge.things[move.thing].guess

    def success(self, goal: str, conversation: Conversation) -> float:
        """Return 1.0 if any assistant message guesses `goal`, else 0.0."""
        guess = Guess(self._secret(goal))
        return float(
            any(
                message.role == "assistant" and self.language.parse(message.content) == guess
                for message in conversation
            )
        )

    def _secret(self, goal: str) -> int:
        secret = self.knowledge.find(goal)
        if secret is None:
            raise ValueError(self.check_goal(goal))
        return secret
