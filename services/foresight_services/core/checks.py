"""Checks that every service makes of what it is sent; each yields what is wrong, field by field."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from foresight_services.core.budget import Budget
from foresight_services.core.conversation import ROLES, Conversation
from foresight_services.core.errors import InvalidInput, Violation
from foresight_services.core.suggest import one_of

MAX_PREFIX_MESSAGES: Final = 1024
MAX_CONTENT_BYTES: Final = 1 << 20
MAX_CANDIDATES: Final = 256
MAX_METRICS: Final = 32
MAX_HORIZON: Final = 64
MAX_SAMPLES: Final = 1024
MAX_MESSAGE_TOKENS: Final = 131_072


def budget(budget: Budget) -> Iterator[Violation]:
    """Yield what is wrong with what model calls may cost."""
    if budget.max_tokens < 0:
        yield Violation("budget.max_tokens", f"is {budget.max_tokens}; must not be negative")
    if not 0.0 <= budget.max_dollars < math.inf:  # also refuses NaN
        yield Violation(
            "budget.max_dollars",
            f"is {budget.max_dollars}; must be a finite number that is not negative",
        )


def require(violations: Iterator[Violation]) -> None:
    """Raise InvalidInput with all `violations`, if there are any."""
    found = tuple(violations)
    if found:
        raise InvalidInput(found)


def prefix(prefix: Conversation) -> Iterator[Violation]:
    """Yield what is wrong with the conversation before the candidates."""
    if not prefix:
        yield Violation("prefix", "is empty; it must end with the user message to answer")
        return
    yield from messages("prefix", prefix)
    if prefix[-1].role in ROLES and prefix[-1].role != "user":
        yield Violation(
            f"prefix[{len(prefix) - 1}].role",
            f"is {prefix[-1].role!r}; the prefix must end with a 'user' message, which the"
            " candidates answer",
        )


def messages(path: str, conversation: Conversation) -> Iterator[Violation]:
    """Yield what is wrong with the messages of a conversation, whoever has the last word."""
    if len(conversation) > MAX_PREFIX_MESSAGES:
        yield Violation(path, f"has {len(conversation)} messages; at most {MAX_PREFIX_MESSAGES}")
    yield from roles(path, conversation)
    for index, message in enumerate(conversation):
        if not message.content.strip():
            yield Violation(f"{path}[{index}].content", "is empty; a message needs text")
        yield from size(f"{path}[{index}].content", message.content)


def roles(path: str, conversation: Conversation) -> Iterator[Violation]:
    """Yield a violation for every message whose role is none."""
    for index, message in enumerate(conversation):
        if message.role not in ROLES:
            yield Violation(f"{path}[{index}].role", one_of(message.role, ROLES))


def candidates(candidates: tuple[str, ...]) -> Iterator[Violation]:
    """Yield what is wrong with the responses to score."""
    if not candidates:
        yield Violation("candidates", "is empty; give at least one assistant response to score")
    if len(candidates) > MAX_CANDIDATES:
        yield Violation("candidates", f"has {len(candidates)} entries; at most {MAX_CANDIDATES}")
    for index, candidate in enumerate(candidates):
        if not candidate.strip():
            yield Violation(f"candidates[{index}]", "is empty; a response needs text")
        yield from size(f"candidates[{index}]", candidate)


def integer(path: str, value: int | None, low: int, high: int) -> Iterator[Violation]:
    """Yield a violation where `value` is given and is not `low` to `high`."""
    if value is not None and not low <= value <= high:
        yield Violation(path, f"is {value}; must be {low} to {high}")


def size(path: str, text: str) -> Iterator[Violation]:
    """Yield a violation where `text` is longer than a text may be."""
    # A character takes at most four bytes, so most texts need no encoding to be measured.
    if len(text) * 4 > MAX_CONTENT_BYTES:
        size = len(text.encode())
        if size > MAX_CONTENT_BYTES:
            yield Violation(path, f"is {size} bytes long; at most {MAX_CONTENT_BYTES}")
