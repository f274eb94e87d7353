"""The exact multiturn-aware reward of a candidate in the world "groceries".

It takes from the world its data, its reader of single messages and its sentences. How shoppers
and policies act and what a prefix reveals is stated here a second time, in another form, so that a
mistake in either place shows as a difference between estimate and truth.

Needs are independent given the prefix, and whether a shopper stays is a product over needs. So a
path of the conversation is described by three weights per need, and only the choices of the policy
have to be enumerated. No policy asks twice, so any horizon costs about the same: milliseconds.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Final

from foresight_services.core.conversation import Conversation, Message
from foresight_services.worlds.groceries import Groceries, sentences
from foresight_services.worlds.groceries.goals import parse_goal
from foresight_services.worlds.groceries.needs import Need
from foresight_services.worlds.groceries.policies import FOCUSED_BATCHES
from foresight_services.worlds.world import TERMINATION_SIGNAL

METRICS: Final = ("success", "messages", "token_amount")
"""Success from 0 to 1; messages of candidate and future; thousands of assistant tokens."""

_TOKEN: Final = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True, slots=True)
class _Need:
    """Weights of one need on one path: chance of its state and of the shopper having stayed."""

    idle: float  # it does not matter
    met: float  # it matters, and an order placed now would meet it
    missed: float  # it matters, and an order placed now would miss it

    @property
    def total(self) -> float:
        return self.idle + self.met + self.missed


_Path = Mapping[str, _Need]


@dataclass(frozen=True, slots=True)
class _Ending:
    """One way for the conversation to end."""

    chance: float  # from 0 to 1; the chances of all endings sum to 1
    success: float  # expected success times `chance`
    messages: int  # messages of the candidate and the future
    tokens: int  # tokens of all messages of the assistant


@dataclass(frozen=True, slots=True)
class _Start:
    """The conversation up to the candidate, as far as the future depends on it."""

    said: Mapping[str, str | None]  # latest statement per need, None for "don't mind"
    asked: frozenset[str]  # needs asked about so far, candidate included
    asks: frozenset[str]  # needs that the candidate asks about
    order: Mapping[str, str]  # value per need of the order placed, else of one placed now
    placed: bool  # whether an order has been placed while the shopper was there
    left: bool  # whether the shopper ended the chat before any order


@dataclass(frozen=True, slots=True)
class _Node:
    """A point of the conversation just after the assistant has spoken without ordering."""

    chance: float  # of the policy's choices that led here
    before: _Path  # weights before the shopper's reply
    answered: _Path  # weights if the shopper replies and stays
    unsettled: tuple[Need, ...]  # needs neither said nor asked about
    horizon: int  # messages that may still follow
    messages: int  # messages of the candidate and the future so far
    tokens: int  # tokens of the assistant so far


def exact_mr(
    world: Groceries,
    *,
    prefix: Conversation,
    candidate: str,
    weights: Mapping[str, float],
    horizon: int,
    skill: str,
    goal: str | None = None,
) -> float:
    """Return the expected objective of `candidate` over goals, shoppers and policy choices.

    Args:
        world: the world whose shopper and policies play the future.
        prefix: the conversation before the candidate.
        candidate: the assistant's message to be valued.
        weights: metric of `METRICS` -> its weight in the objective.
        horizon: number of messages, of either role, that may follow the candidate; at least 0.
        skill: the policy that plays the assistant after the candidate.
        goal: what the shopper wants; drawn from its distribution given `prefix` if None.

    Raises:
        ValueError: an unknown metric, skill or goal, a negative horizon, or no goal and a prefix in
            which the shopper states two things of one need.
    """
    if unknown := weights.keys() - set(METRICS):
        raise ValueError(f"unknown metric {min(unknown)!r}, expected one of {', '.join(METRICS)}")
    if skill not in world.skills:
        raise ValueError(f"unknown skill {skill!r}, expected one of {', '.join(world.skills)}")
    if horizon < 0:
        raise ValueError(f"horizon must be at least 0, not {horizon}")
    conversation = (*prefix, Message("assistant", candidate))
    start = _start(world, conversation)
    chances = _posterior(world, prefix) if goal is None else _point(world, goal)
    path = {need: _weigh(chances[need], start.order.get(need)) for need in chances}
    tokens = sum(_tokens(m.content) for m in conversation if m.role == "assistant")
    return sum(
        weights.get("success", 0) * ending.success
        + weights.get("messages", 0) * ending.chance * ending.messages
        + weights.get("token_amount", 0) * ending.chance * ending.tokens / 1000
        for ending in _endings(world, start, path, horizon, skill, tokens)
    )


def _start(world: Groceries, conversation: Conversation) -> _Start:
    said: dict[str, str | None] = {}
    asked: set[str] = set()
    asks: frozenset[str] = frozenset()
    for at, message in enumerate(conversation):
        if message.role == "user":
            said |= dict(world.reader.shopper(message.content))
            if TERMINATION_SIGNAL in message.content:
                return _Start(said, frozenset(asked), frozenset(), {}, placed=False, left=True)
        if message.role == "assistant":
            heard = world.reader.assistant(message.content)
            if heard.order is not None:
                order = _order(world, said, heard.order)
                return _Start(said, frozenset(asked), frozenset(), order, placed=True, left=False)
            asks = heard.asks if at == len(conversation) - 1 else frozenset()
            asked |= heard.asks
    order = _order(world, said, {})
    return _Start(said, frozenset(asked), asks, order, placed=False, left=False)


def _order(
    world: Groceries, said: Mapping[str, str | None], stated: Mapping[str, str]
) -> dict[str, str]:
    return {
        need.id: stated.get(need.id) or said.get(need.id) or need.assumed
        for need in world.knowledge.needs
    }


def _posterior(world: Groceries, prefix: Conversation) -> dict[str, dict[str | None, float]]:
    """Return per need the chance of every wanted value, and of None for "does not matter"."""
    chances: dict[str, dict[str | None, float]] = {}
    for need in world.knowledge.needs:
        chances[need.id] = {value.name: need.matters * value.probability for value in need.values}
        chances[need.id][None] = 1 - need.matters
    for message in prefix:
        if message.role == "user":
            for need_id, value_name in world.reader.shopper(message.content):
                if not chances[need_id].get(value_name):
                    raise ValueError(f"the prefix contradicts itself about {need_id}")
                chances[need_id] = {value_name: 1.0}
    return chances


def _point(world: Groceries, goal: str) -> dict[str, dict[str | None, float]]:
    wanted = parse_goal(goal, world.knowledge)
    return {need.id: {wanted.get(need.id): 1.0} for need in world.knowledge.needs}


def _weigh(chances: Mapping[str | None, float], ordered: str | None) -> _Need:
    idle = chances.get(None, 0.0)
    met = chances.get(ordered, 0.0) if ordered else 0.0
    return _Need(idle, met, sum(chances.values()) - idle - met)


def _endings(
    world: Groceries, start: _Start, path: _Path, horizon: int, skill: str, tokens: int
) -> Iterator[_Ending]:
    if start.placed or start.left:
        success = _expected_success(path) if start.placed else 0.0
        yield _Ending(1.0, success, 1 + min(horizon, 1), tokens)
        return
    settled = start.asked | start.said.keys()
    node = _Node(
        chance=1.0,
        before=path,
        answered=_answer(path, start.asks, world.knowledge.impatience, start.said),
        unsettled=tuple(need for need in world.knowledge.needs if need.id not in settled),
        horizon=horizon,
        messages=1,
        tokens=tokens,
    )
    yield from _unfold(world, skill, node)


def _unfold(world: Groceries, skill: str, node: _Node) -> Iterator[_Ending]:
    """Yield the endings of a conversation whose last message is the assistant's, no order yet."""
    silent = node.chance * _chance(node.before)
    if node.horizon == 0:
        yield _Ending(silent, 0.0, node.messages, node.tokens)
        return
    stays = node.chance * _chance(node.answered)
    yield _Ending(silent - stays, 0.0, node.messages + 1, node.tokens)
    if node.horizon == 1:
        yield _Ending(stays, 0.0, node.messages + 1, node.tokens)
        return
    for chance, asked in _moves(world, skill, node.unsettled):
        if asked:
            ids = frozenset(need.id for need in asked)
            follower = _Node(
                chance=node.chance * chance,
                before=node.answered,
                answered=_answer(node.answered, ids, world.knowledge.impatience, {}),
                unsettled=tuple(need for need in node.unsettled if need not in asked),
                horizon=node.horizon - 2,
                messages=node.messages + 2,
                tokens=node.tokens + _tokens(sentences.asks(asked)),
            )
            yield from _unfold(world, skill, follower)
        else:
            yield _Ending(
                stays * chance,
                _expected_success(node.answered) * node.chance * chance,
                node.messages + min(node.horizon, 3),
                node.tokens + _tokens(sentences.ORDERS),
            )


def _answer(
    path: _Path, asks: frozenset[str], impatience: float, said: Mapping[str, str | None]
) -> dict[str, _Need]:
    """Return the weights once the shopper has stayed and answered questions about `asks`."""
    answered = dict(path)
    for need_id in asks:
        need = path[need_id]
        # To ask for what was said is needless whether it matters or not.
        stays = 1 - impatience if need_id in said else 1.0
        answered[need_id] = _Need(need.idle * (1 - impatience), (need.met + need.missed) * stays, 0)
    return answered


def _moves(
    world: Groceries, skill: str, unsettled: tuple[Need, ...]
) -> list[tuple[float, tuple[Need, ...]]]:
    """Return what the policy may ask about next, with the chance of each; nothing is an order."""
    if skill == "assumer":
        return [(1.0, ())]
    if skill == "interrogator":
        return [(1.0, unsettled)]
    # What is gained by knowing, less what is lost by annoying; both in units of success.
    needs = world.knowledge.needs
    usually = sum(need.matters for need in needs)
    gain = {
        need.id: need.matters * (1 - need.value(need.assumed).probability) / usually
        - (1 - need.matters) * world.knowledge.impatience
        for need in unsettled
    }
    worthy = sorted(
        (n for n in unsettled if gain[n.id] > 0), key=lambda n: gain[n.id], reverse=True
    )
    sizes = Counter(min(size, len(worthy)) for size in FOCUSED_BATCHES)
    return [(n / len(FOCUSED_BATCHES), tuple(worthy[:size])) for size, n in sizes.items()]


def _chance(path: _Path) -> float:
    return prod(need.total for need in path.values())


def _expected_success(path: _Path) -> float:
    """Return the expected share of the needs that matter which an order meets, 1 if none does.

    `shares[n, k]` is the weight of n needs that matter and k of them met, so the mean of the ratio
    is taken over their joint distribution.
    """
    shares: dict[tuple[int, int], float] = {(0, 0): 1.0}
    for need in path.values():
        grown: dict[tuple[int, int], float] = defaultdict(float)
        for (matter, met), weight in shares.items():
            grown[matter, met] += weight * need.idle
            grown[matter + 1, met] += weight * need.missed
            grown[matter + 1, met + 1] += weight * need.met
        shares = grown
    return sum(weight * (k / n if n else 1.0) for (n, k), weight in shares.items())


def _tokens(text: str) -> int:
    return len(_TOKEN.findall(text))
