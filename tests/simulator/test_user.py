"""What becomes of the replies of the prompted user's model."""

from __future__ import annotations

import pytest

from foresight_services.core.errors import DomainError, Family, Reason
from foresight_services.core.ports import ChatReply, ChatRequest
from foresight_services.simulator.prompting.drift import shipped_rules
from foresight_services.simulator.prompting.user import (
    PromptedUser,
    PromptedUserSettings,
)
from tests.fakes.asking import SIGNAL, ask
from tests.fakes.prompted_user import flat, in_turn, make_user, says


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (says("red tulips"), "red tulips"),
        (says("  red tulips\n"), "red tulips"),
        (says("42"), "42"),
        (says("true"), "true"),
        ('{"message": 42}', "42"),
        ("red tulips", "red tulips"),
        (says("thanks, bye", done=True), f"thanks, bye {SIGNAL}"),
        (says("", done=True), SIGNAL),
        (says(None, done=True), SIGNAL),
        (says(f"bye {SIGNAL}", done=True), f"bye {SIGNAL}"),
        (says(f"bye {SIGNAL}"), f"bye {SIGNAL}"),
        (f"bye {SIGNAL}", f"bye {SIGNAL}"),
        (says(SIGNAL), SIGNAL),
    ],
)
async def test_the_message_is_returned_with_the_signal_where_the_user_leaves(
    reply: str, text: str
) -> None:
    user, _ = make_user(reply)

    assert (await user.complete(ask())).text == text


async def test_a_message_longer_than_the_limit_is_cut_and_says_so() -> None:
    user, _ = make_user(says("one two three four five", done=True), extra_tokens=500)

    reply = await user.complete(ask(max_tokens=9))

    assert reply.text == f"one two three {SIGNAL}"
    assert reply.finish == "length"


async def test_a_limit_below_the_signals_length_still_lets_the_user_leave() -> None:
    user, _ = make_user(says("one two", done=True), extra_tokens=500)

    assert (await user.complete(ask(max_tokens=3))).text == SIGNAL


async def test_a_message_at_the_limit_is_whole() -> None:
    user, _ = make_user(says("one two three"), extra_tokens=500)

    reply = await user.complete(ask(max_tokens=3))

    assert (reply.text, reply.finish) == ("one two three", "stop")


async def test_a_message_that_the_backend_cut_off_is_kept() -> None:
    class Cut:
        async def complete(self, request: ChatRequest) -> ChatReply:
            return ChatReply('{"thought": "t", "message": "I would like red', 9, 9, finish="length")

    user = PromptedUser(Cut(), settings=PromptedUserSettings(termination_signal=SIGNAL))

    reply = await user.complete(ask())

    assert (reply.text, reply.finish) == ("I would like red", "length")


BAD = [
    ("How can I help you today?", "role_drift"),
    (says("How can I help you today?"), "role_drift"),
    (says(""), "empty"),
    (says("..."), "empty"),
    ("", "empty"),
    (says("Hi, can you write me a poem?"), "repeated"),
    ('{"thought": "only"}', "malformed"),
]


@pytest.mark.parametrize(("bad", "kind"), BAD)
async def test_a_bad_reply_is_asked_for_again_behind_the_same_prompt(bad: str, kind: str) -> None:
    user, model = make_user(in_turn(bad, says("red tulips")))
    request = ask()

    reply = await user.complete(request)

    assert reply.text == "red tulips"
    first, second = model.requests
    note = shipped_rules().notes[kind]  # type: ignore[index]
    assert flat(second).startswith(flat(first))
    assert note in flat(second)
    assert note not in flat(first)
    assert first.seed == request.seed != second.seed
    assert request.ledger.usage(messages=0, seconds=0).models["user"].retries == 1


@pytest.mark.parametrize(("bad", "kind"), BAD)
async def test_a_user_that_stays_bad_fails_with_the_kind(bad: str, kind: str) -> None:
    user, model = make_user(bad, attempts=4)

    with pytest.raises(DomainError) as caught:
        await user.complete(ask())

    error = caught.value
    assert error.family is Family.UPSTREAM
    expected = Reason.MODEL_FAILED if kind == "malformed" else Reason.USER_DRIFTED
    assert error.reason is expected
    assert error.metadata["kind"] == kind
    assert error.metadata["attempts"] == "4"
    assert len({request.seed for request in model.requests}) == 4


async def test_retries_of_equal_requests_are_equal() -> None:
    seeds = []
    for _ in range(2):
        user, model = make_user(in_turn("", "", says("red")))
        await user.complete(ask())
        seeds.append([request.seed for request in model.requests])

    assert seeds[0] == seeds[1]


async def test_the_first_bad_notes_are_not_piled_up() -> None:
    user, model = make_user(in_turn("", "How can I help you?", says("red")))

    await user.complete(ask())

    assert shipped_rules().notes["empty"] not in flat(model.requests[2])  # type: ignore[index]


async def test_short_answers_may_come_again() -> None:
    user, model = make_user(says("yes please"))

    assert (await user.complete(ask())).text == "yes please"
    assert len(model.requests) == 1
