"""The exact multiturn-aware reward in the world of 20 Questions: enumerated, not simulated.

This is the truth that the estimator is checked against. It takes the knowledge, the parser and the
sentences from the world, and states anew, without the simulation loop, the belief, or the policies
of the world: how the user replies, what that reveals, and what each policy does next.

The expectation is over the secret, the user's errors and the policy's choices. What a policy does
depends on the answers, not on their order, so equal situations are computed once. The cost at
horizon h, that is after h // 2 policy messages:

- guesser: a closed form, linear in h. Cheap at any horizon.
- informed: without errors at most one branch per thing, cheap at any horizon; with errors
  2 ** (h / 2) branches at most, cheap up to about 30 messages.
- asker: every set of questions with every set of answers. With the things that ship with the
  package, under a second without errors and about two with them at 8 messages; a further turn
  multiplies that by 10 to 20.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import reduce
from operator import or_
from typing import Final, NamedTuple

from foresight_services.core.conversation import Conversation
from foresight_services.worlds.exact.contradictions import (
    Contradictions,
    Levels,
    members,
    union,
    without,
)
from foresight_services.worlds.twenty_questions import TwentyQuestions
from foresight_services.worlds.twenty_questions.moves import Ask, Guess, Move

METRICS: Final = ("success", "messages", "token_amount")
"""Metrics an objective may weigh; `token_amount` counts thousands of assistant tokens."""

_TOKEN: Final = re.compile(r"\w+|[^\w\s]")
_TIE: Final = 1e-9
"""Probabilities that differ by less count as equal; the policies' own rule."""


def exact_mr(
    world: TwentyQuestions,
    *,
    prefix: Conversation,
    candidate: str,
    weights: Mapping[str, float],
    horizon: int,
    skill: str,
    goal: str | None = None,
) -> float:
    """Return the expected weighted sum of metrics of `prefix`, `candidate` and their future.

    `weights` names some of `METRICS`. `horizon` is the most messages of a future, user's and
    assistant's, from 0. `skill` is the policy's. The secret is `goal`, or distributed as `prefix`
    leaves it when that is None.
    Raises ValueError for an unknown metric, skill or goal, a negative horizon, and a prefix whose
    answers fit no thing when no goal is given.
    """
    for metric in weights:
        if metric not in METRICS:
            raise ValueError(f"unknown metric {metric!r}; known: {', '.join(METRICS)}")
    if skill not in world.skills:
        raise ValueError(f"unknown skill {skill!r}; known: {', '.join(world.skills)}")
    if horizon < 0:
        raise ValueError(f"horizon must be at least 0, not {horizon}")
    return _Enumeration(world, prefix, candidate, weights, skill, goal).value(horizon)


class _Situation(NamedTuple):
    """What decides the rest of a game, given how many messages are left."""

    believed: Levels
    """What the policy holds possible."""
    truth: Levels
    """Where the secret may be."""
    denied: int
    """Bitmask of the things guessed and denied."""
    asked: int
    """Bitmask of the attributes asked about."""


class _Enumeration:
    """The game tree below one candidate."""

    def __init__(
        self,
        world: TwentyQuestions,
        prefix: Conversation,
        candidate: str,
        weights: Mapping[str, float],
        skill: str,
        goal: str | None,
    ) -> None:
        self._skill = skill
        self._limit = world.turn_limit(prefix)
        self._weigh = Contradictions(world.error_rate)
        self._everything = world.knowledge.everything
        self._holders = [attribute.things for attribute in world.knowledge.attributes]
        self._success = weights.get("success", 0.0)
        self._message = weights.get("messages", 0.0)
        per_token = weights.get("token_amount", 0.0) / 1000
        self._question_cost = [
            per_token * _tokens(attribute.question) for attribute in world.knowledge.attributes
        ]
        self._guess_cost = [per_token * _tokens(thing.guess) for thing in world.knowledge.things]
        self._known: dict[tuple[_Situation, int], float] = {}

        self._candidate = world.language.parse(candidate)
        said = [message.content for message in prefix if message.role == "assistant"]
        said.append(candidate)
        self._turns = len(said)
        moves = (world.language.parse(text) for text in said)
        # Things that count as found whatever happens next.
        self._named = reduce(or_, (1 << m.thing for m in moves if isinstance(m, Guess)), 0)
        self._start = self._read(world, prefix, goal)
        self._spent = self._message + per_token * sum(map(_tokens, said))

    def _read(self, world: TwentyQuestions, prefix: Conversation, goal: str | None) -> _Situation:
        """Return the situation at the end of `prefix`."""
        allowed, denied, asked = self._everything, 0, 0
        answers: list[int] = []
        move: Move | None = None
        for message in prefix:
            if message.role == "assistant":
                move = world.language.parse(message.content)
                asked |= 1 << move.attribute if isinstance(move, Ask) else 0
            elif message.role == "user":
                said_yes = world.language.answer(message.content)
                if isinstance(move, Ask) and said_yes is not None:
                    holders = self._holders[move.attribute]
                    answers.append(holders if said_yes != move.negated else ~holders)
                elif isinstance(move, Guess) and said_yes is not None:
                    allowed &= 1 << move.thing if said_yes else ~(1 << move.thing)
                    denied |= 0 if said_yes else 1 << move.thing
                move = None
        believed: Levels = (allowed,)
        for agreeing in answers:
            believed = self._weigh.observe(believed, agreeing)
        if goal is None:
            if not any(believed):
                raise ValueError("no known thing fits the answers in the prefix")
            return _Situation(believed, believed, denied, asked)
        secret = world.knowledge.find(goal)
        if secret is None:
            raise ValueError(world.check_goal(goal))
        return _Situation(believed, (1 << secret,), denied, asked)

    def value(self, horizon: int) -> float:
        """Return the expected objective when a future has at most `horizon` messages."""
        start = self._start
        found = self._weigh.share(start.truth, self._named)
        if isinstance(self._candidate, Ask):
            start = start._replace(asked=start.asked | 1 << self._candidate.attribute)
        ahead = self._reply(start, self._candidate, self._turns, horizon)
        return self._spent + self._success * found + ahead

    def _reply(self, now: _Situation, move: Move, turns: int, left: int) -> float:
        """Return the value of the user's reply to `move`, the `turns`-th, and all that follows.

        `left` messages may still be said.
        """
        if left <= 1:
            return self._message * left
        value = self._message
        if isinstance(move, Guess):
            value += self._deny(now, move.thing, turns, left - 1)
        elif turns < self._limit and isinstance(move, Ask):
            holders = self._holders[move.attribute]
            for agreeing in (holders, ~holders):
                value += self._answer(now, agreeing, turns, left - 1)
        elif turns < self._limit:
            value += self._policy(now, turns, left - 1)
        return value

    def _deny(self, now: _Situation, thing: int, turns: int, left: int) -> float:
        """Return the value of what follows a guess, weighted by the chance that it is wrong."""
        truth = without(now.truth, thing)
        if turns >= self._limit or not any(truth):
            return 0.0
        chance = self._weigh.mass(truth) / self._weigh.mass(now.truth)
        believed = without(now.believed, thing)
        after = _Situation(believed, truth, now.denied | 1 << thing, now.asked)
        return chance * self._policy(after, turns, left)

    def _answer(self, now: _Situation, agreeing: int, turns: int, left: int) -> float:
        """Return the value of what follows an answer, weighted by the chance of that answer."""
        truth = self._weigh.observe(now.truth, agreeing)
        if not any(truth):
            return 0.0
        chance = self._weigh.chance(now.truth, truth)
        same = now.believed == now.truth
        believed = truth if same else self._weigh.observe(now.believed, agreeing)
        after = _Situation(believed, truth, now.denied, now.asked)
        return chance * self._policy(after, turns, left)

    def _policy(self, now: _Situation, turns: int, left: int) -> float:
        """Return the value of the policy's next message and all that follows.

        `turns` assistant messages were said, `left` messages may still be.
        """
        key = (now, left)
        value = self._known.get(key)
        if value is None:
            if self._skill == "guesser":
                value = self._guess_on(now, turns, left)
            else:
                questions, likeliest = self._choices(now, last=turns + 1 >= self._limit)
                each = [self._ask(now, question, turns, left) for question in questions] or [
                    self._guess(now, thing, turns, left) for thing in members(likeliest)
                ]
                value = sum(each) / len(each)
            self._known[key] = value
        return value

    def _ask(self, now: _Situation, question: int, turns: int, left: int) -> float:
        spent = self._message + self._question_cost[question]
        if left <= 2:
            return spent + self._message * (left - 1)
        after = now._replace(asked=now.asked | 1 << question)
        return spent + self._reply(after, Ask(question), turns + 1, left - 1)

    def _guess(self, now: _Situation, thing: int, turns: int, left: int) -> float:
        gain = self._success * self._weigh.share(now.truth, 1 << thing & ~self._named)
        spent = self._message + self._guess_cost[thing]
        return spent + gain + self._reply(now, Guess(thing), turns + 1, left - 1)

    def _choices(self, now: _Situation, *, last: bool) -> tuple[list[int], int]:
        """Return the questions the asker or the informed policy chooses among, and the guesses.

        The guesses are a bitmask and count when there is no question.
        """
        believed = now.believed
        if not any(believed):
            believed = (self._everything & ~now.denied or self._everything,)
        likeliest = next(things for things in believed if things)
        if last:
            return [], likeliest
        if likeliest.bit_count() == 1 and self._weigh.share(believed, likeliest) > 0.5 + _TIE:
            return [], likeliest
        if self._skill == "asker":
            possible = union(believed)
            return [
                question
                for question, holders in enumerate(self._holders)
                if not now.asked >> question & 1 and 0 < possible & holders < possible
            ], likeliest
        doubts = [abs(self._weigh.share(believed, holders) - 0.5) for holders in self._holders]
        least = min(doubts)
        if least >= 0.5 - _TIE:
            return [], likeliest
        return [next(q for q, doubt in enumerate(doubts) if doubt < least + _TIE)], likeliest

    def _guess_on(self, now: _Situation, turns: int, left: int) -> float:
        """Return the value of the guesser's messages and the replies to them.

        The guesser names what it holds possible in random order, then what else was not denied,
        then anything. So a secret among n things in order is found at each place with chance 1/n.
        """
        possible = union(now.believed)
        rest = self._everything & ~now.denied & ~possible
        pools = [pool for pool in (possible, rest) if pool]
        guesses = min((left + 1) // 2, self._limit - turns)
        return sum(
            chance * self._find(secret, pools, guesses, left)
            for secret, chance in self._weigh.probabilities(now.truth)
        )

    def _find(self, secret: int, pools: list[int], guesses: int, left: int) -> float:
        """Return the value of up to `guesses` guesses when `secret` is the secret."""
        gain = 0.0 if self._named >> secret & 1 else self._success
        value, running = 0.0, 1.0
        for pool, before in self._schedule(pools, guesses):
            others = pool & ~(1 << secret)
            hit = 1.0 / (pool.bit_count() - before) if others != pool else 0.0
            missed = sum(self._guess_cost[thing] for thing in members(others))
            missed /= max(1, others.bit_count())
            cost = hit * self._guess_cost[secret] + (1.0 - hit) * missed
            value += running * (self._message * min(2, left) + cost + gain * hit)
            running *= 1.0 - hit
            left -= 2
        return value

    def _schedule(self, pools: list[int], guesses: int) -> Iterator[tuple[int, int]]:
        """Yield for each guess the things it is drawn from and how many of them were guessed."""
        for pool in pools:
            for before in range(min(guesses, pool.bit_count())):
                yield pool, before
            guesses -= min(guesses, pool.bit_count())
        for _ in range(guesses):
            yield self._everything, 0


def _tokens(text: str) -> int:
    return len(_TOKEN.findall(text))
