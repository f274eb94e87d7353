"""Who speaks next, and who said how much."""

from __future__ import annotations

import pytest

from foresight_services.core.conversation import Message, Role, messages_by, next_speaker


@pytest.mark.parametrize(
    ("roles", "speaker"),
    [
        ((), "user"),
        (("system",), "user"),
        (("user",), "assistant"),
        (("user", "assistant"), "user"),
        (("user", "system"), "user"),
    ],
)
def test_the_assistant_speaks_after_a_user_message_and_the_user_otherwise(
    roles: tuple[Role, ...], speaker: Role
) -> None:
    assert next_speaker(tuple(Message(role, "text") for role in roles)) == speaker


def test_messages_are_counted_by_role() -> None:
    said = tuple(Message(role, "x") for role in ("system", "user", "assistant", "user"))
    assert [messages_by(role, said) for role in ("system", "user", "assistant")] == [1, 2, 1]
