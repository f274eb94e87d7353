"""Prompted users whose first turns one call draws: each reads its own choice and mends it alone."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from foresight_services.core.errors import DomainError, Reason
from foresight_services.core.future import FutureId
from foresight_services.core.opening_turns import OpeningTurns
from foresight_services.core.ports import ChatReply, ChatRequest
from foresight_services.core.usage import Ledger
from foresight_services.models.sharing import SharingModel
from foresight_services.simulator.prompting.user import PromptedUser, PromptedUserSettings
from tests.fakes.asking import SIGNAL, TALK, ask
from tests.fakes.chat import ScriptedChat
from tests.fakes.prompted_user import flat, says

FIRST = 7
"""Seed of the first sample's turn."""


async def complete(
    model: ScriptedChat, samples: int
) -> tuple[list[ChatRequest], list[ChatReply | BaseException]]:
    """Return the first turns of so many samples, and what asked for them."""
    futures = [FutureId(0, sample) for sample in range(samples)]
    turns = OpeningTurns(futures, lambda one, other: True)
    settings = PromptedUserSettings(termination_signal=SIGNAL)
    user = PromptedUser(SharingModel(model), settings=settings)
    requests = [
        replace(
            ask(conversation=TALK[:2]),
            seed=FIRST + which.sample,
            ledger=Ledger(),
            shared=turns.of(which),
        )
        for which in futures
    ]
    replies = await asyncio.gather(*map(user.complete, requests), return_exceptions=True)
    return requests, replies


def texts(replies: list[ChatReply | BaseException]) -> list[str]:
    return [reply.text if isinstance(reply, ChatReply) else repr(reply) for reply in replies]


async def test_one_call_draws_all_and_every_choice_is_read() -> None:
    model = ScriptedChat(lambda asked: says(f"wish {asked.seed}", done=asked.seed == FIRST + 1))

    _, replies = await complete(model, 3)

    assert texts(replies) == ["wish 7", f"wish 8 {SIGNAL}", "wish 9"]
    (asked,) = model.requests
    assert (asked.choices, asked.seed, asked.shared) == (3, FIRST, None)


async def test_a_choice_that_is_no_users_message_is_drawn_again_alone() -> None:
    def answer(asked: ChatRequest) -> str:
        if asked.seed == FIRST:
            return '{"thought": "only"}'
        return "How can I help you today?" if asked.seed == FIRST + 2 else says(f"{asked.seed}")

    model = ScriptedChat(answer)
    requests, replies = await complete(model, 4)

    shared, *again = model.requests
    assert (shared.choices, [asked.choices for asked in again]) == (4, [1, 1])
    assert all(flat(asked).startswith(flat(shared)) for asked in again)
    assert texts(replies) == [str(again[0].seed), "8", str(again[1].seed), "10"]
    bills = [request.ledger.of("user") for request in requests]
    assert [bill.retries for bill in bills] == [1, 0, 1, 0]
    assert [bill.calls for bill in bills] == [2, 0, 1, 0]


async def test_the_retries_are_those_of_a_turn_that_was_drawn_alone() -> None:
    def answer(asked: ChatRequest) -> str:
        return "" if asked.seed == FIRST else says(f"{asked.seed}")

    shared, alone = ScriptedChat(answer), ScriptedChat(answer)
    _, replies = await complete(shared, 2)
    _, singly = await complete(alone, 1)

    assert texts(replies)[0] == texts(singly)[0]
    assert shared.requests[1].seed == alone.requests[1].seed


async def test_a_user_that_stays_bad_fails_alone() -> None:
    def answer(asked: ChatRequest) -> str:
        good = asked.seed == FIRST + 1
        return says("tulips") if good else "How can I help you today?"

    _, (bad, good) = await complete(ScriptedChat(answer), 2)

    assert isinstance(bad, DomainError)
    assert bad.reason is Reason.USER_DRIFTED
    assert isinstance(good, ChatReply)
    assert good.text == "tulips"
