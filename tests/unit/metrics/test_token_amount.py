"""Counting tokens by scope."""

from __future__ import annotations

import pytest

from foresight_services.core.conversation import Message
from foresight_services.core.future import EvaluationItem, FutureId
from foresight_services.core.objective import MetricSpec, Range
from foresight_services.core.usage import Ledger
from foresight_services.metrics.token_amount import TokenAmount
from tests.fakes.chat import ScriptedChat
from tests.fakes.evaluation import evaluation_setup

PREFIX = (
    Message("system", "be brief please"),  # 3 tokens
    Message("user", "one two three four"),  # 4
    Message("assistant", "one two"),  # 2
    Message("user", "one"),  # 1
)
CANDIDATES = ("a b c d e", "a")  # 5 and 1
FUTURE = (Message("user", "a b"), Message("assistant", "a b c"))  # 2 and 3


def metric(**parameters) -> TokenAmount:
    setup = evaluation_setup(
        "token_amount",
        prefix=PREFIX,
        candidates=CANDIDATES,
        horizon_messages=5,
        max_message_tokens=10,
    )
    return TokenAmount(MetricSpec("token_amount", parameters=parameters), setup, ScriptedChat(""))


@pytest.mark.parametrize(
    ("scope", "tokens"),
    [
        ("assistant", 2 + 5 + 3),
        ("future", 5 + 2 + 3),
        ("all", 3 + 4 + 2 + 1 + 5 + 2 + 3),
    ],
)
async def test_each_scope_counts_its_messages_in_thousands(scope: str, tokens: int) -> None:
    item = EvaluationItem(FutureId(0, 0), "goal", FUTURE)
    assert await metric(scope=scope).score(item, Ledger()) == tokens / 1000


async def test_the_default_scope_is_that_of_collabllm() -> None:
    item = EvaluationItem(FutureId(1, 3), "goal", FUTURE)
    assert await metric().score(item, Ledger()) == (2 + 1 + 3) / 1000


@pytest.mark.parametrize(
    ("scope", "low", "high"),
    [
        # Of five messages after a candidate the user says three, the assistant two.
        ("assistant", 2 + 1, 2 + 5 + 2 * 10),
        ("future", 1, 5 + 5 * 10),
        ("all", 10 + 1, 10 + 5 + 5 * 10),
    ],
)
def test_the_range_spans_every_candidate_and_the_longest_future(scope, low, high) -> None:
    assert metric(scope=scope).info.range == Range(low / 1000, high / 1000)


@pytest.mark.parametrize("scope", ["assistant", "future", "all"])
async def test_the_ends_of_the_range_are_reached(scope: str) -> None:
    counted = metric(scope=scope)
    longest = tuple(
        Message(role, "word " * 10) for role in ("user", "assistant", "user", "assistant", "user")
    )
    scores = [
        await counted.score(EvaluationItem(FutureId(candidate, 0), "goal", future), Ledger())
        for candidate, future in ((1, ()), (0, longest))
    ]
    assert counted.info.range == Range(*scores)
