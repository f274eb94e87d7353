"""Calls within a budget: what is reserved before them and booked after them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from foresight_services.core.budget import Account, Budget, Cost, Purse
from foresight_services.core.conversation import Message
from foresight_services.core.errors import LimitReached
from foresight_services.core.ports import ChatReply, ChatRequest
from foresight_services.core.task import Task
from foresight_services.core.usage import Ledger
from foresight_services.models.budgeted import (
    TOKENS_PER_MESSAGE,
    TOKENS_PER_PROMPT,
    BudgetedModel,
    most_prompt_tokens,
)
from foresight_services.models.faults import FaultKind, ModelFault
from foresight_services.models.pricing import Price
from tests.fakes.virtual_time import LoopClock, settle

PRICE = Price(input=1_000_000.0, output=2_000_000.0, cached=500_000.0)
"""A dollar for a token read, two for one written, a half for one from the cache."""


class Model:
    """Answers with `reply`, or raises it."""

    def __init__(self, reply: ChatReply | Exception) -> None:
        self._reply = reply
        self.before: Callable[[], Awaitable[None]] | None = None
        self.calls = 0

    async def complete(self, request: ChatRequest) -> ChatReply:
        self.calls += 1
        if self.before is not None:
            await self.before()
        if isinstance(self._reply, Exception):
            raise self._reply
        return self._reply


def ask(account: Account | None = None, text: str = "hi", **fields) -> ChatRequest:
    purse = None if account is None else Purse(account, (0, 0))
    request = ChatRequest("user", Task(), (Message("user", text),), 0, 100, Ledger(purse))
    return replace(request, **fields)


async def test_without_a_budget_nothing_is_counted() -> None:
    reply = ChatReply("hello", 5, 3)
    assert await BudgetedModel(Model(reply)).complete(ask()) is reply


async def test_what_a_call_really_cost_is_booked() -> None:
    account = Account(Budget(max_tokens=10_000, max_dollars=10_000.0))
    model = BudgetedModel(Model(ChatReply("hello", 5, 3, cached_tokens=2)), price=PRICE)
    await model.complete(ask(account))
    assert account.spent == Cost(8, 3 + 2 * 0.5 + 3 * 2)


async def test_without_a_price_tokens_cost_nothing() -> None:
    account = Account(Budget(max_dollars=1e-9))
    await BudgetedModel(Model(ChatReply("hello", 5, 3))).complete(ask(account))
    assert account.spent == Cost(8, 0.0)


@pytest.mark.parametrize("choices", [1, 3])
async def test_the_worst_case_is_all_bytes_as_tokens_and_the_longest_reply(choices: int) -> None:
    worst = choices * (len("é".encode()) + TOKENS_PER_MESSAGE + TOKENS_PER_PROMPT + 100)
    backend = Model(ChatReply("hello", 5, 3))
    with pytest.raises(LimitReached):
        account = Account(Budget(max_tokens=worst - 1))
        await BudgetedModel(backend).complete(ask(account, "é", choices=choices))
    assert backend.calls == 0
    account = Account(Budget(max_tokens=worst))
    await BudgetedModel(backend).complete(ask(account, "é", choices=choices))
    assert backend.calls == 1


def test_a_prompt_and_a_schema_count() -> None:
    plain = most_prompt_tokens(ask())
    prompt = (Message("system", "x" * 50), Message("user", "hi"))
    assert most_prompt_tokens(ask(prompt=prompt)) == plain + 50 + TOKENS_PER_MESSAGE
    assert most_prompt_tokens(ask(schema={"a": 1})) == plain + len('{"a": 1}')


@pytest.mark.parametrize(
    ("kind", "charged"),
    [
        (FaultKind.RATE_LIMITED, False),
        (FaultKind.OVERLOADED, False),
        (FaultKind.BREAKER_OPEN, False),
        (FaultKind.UNAUTHORIZED, False),
        (FaultKind.TIMEOUT, True),
        (FaultKind.CONNECTION, True),
        (FaultKind.MALFORMED, True),
        (FaultKind.EMPTY, True),
    ],
)
async def test_a_failed_call_is_charged_where_it_may_have_cost_something(
    kind: FaultKind, charged: bool
) -> None:
    account = Account(Budget(max_tokens=1000))
    fault = ModelFault(kind, "m", "failed")
    with pytest.raises(ModelFault):
        await BudgetedModel(Model(fault)).complete(ask(account))
    request = ask(account)
    assert account.spent.tokens == (most_prompt_tokens(request) + 100 if charged else 0)


async def test_a_cancelled_call_is_charged_for_nobody_knows_what_it_cost(clock: LoopClock) -> None:
    account = Account(Budget(max_tokens=890))
    slow, quick = Model(ChatReply("hello", 5, 3)), Model(ChatReply("hello", 5, 3))
    slow.before = asyncio.Event().wait  # type: ignore[assignment]
    first = asyncio.create_task(BudgetedModel(slow).complete(ask(account, "a" * 100)))
    await settle()
    second = asyncio.create_task(BudgetedModel(quick).complete(ask(account, "b" * 50)))
    await settle()
    assert (slow.calls, quick.calls) == (1, 0)
    first.cancel()
    with pytest.raises(LimitReached, match="472 of 890 spent"):
        await second
