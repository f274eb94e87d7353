"""How much of the prompts began an earlier prompt: what a prefix cache can reuse."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Prompt:
    """The prompt of one call."""

    model: str
    """The model that reads it; prefix caches know one model's prompts only."""
    text: bytes
    """All messages in order, their roles before them."""


@dataclass(frozen=True, slots=True)
class Reuse:
    """What the prompts have in common."""

    repeated: int
    """Bytes at the beginning of prompts that began an earlier prompt too."""
    total: int
    """Bytes of all prompts."""

    @property
    def share(self) -> float:
        """The share of the bytes that is repeated."""
        return self.repeated / self.total if self.total else 0.0


def rendered(messages: Iterable[dict[str, str]]) -> bytes:
    """Return messages as a chat template writes them: each role, then what is said."""
    return "".join(f"<{m['role']}>\n{m['content']}\n" for m in messages).encode()


def common_prefix(one: bytes, other: bytes) -> int:
    """Return how many bytes `one` and `other` begin with in common."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def reuse(prompts: Sequence[Prompt]) -> Reuse:
    """Return how much of each prompt began an earlier one, `prompts` being in order of arrival.

    Of all earlier prompts, those next to a prompt in alphabetical order have most in common.
    """
    seen: dict[str, list[bytes]] = {}
    repeated = 0
    for prompt in prompts:
        earlier = seen.setdefault(prompt.model, [])
        place = bisect_left(earlier, prompt.text)
        near = earlier[max(0, place - 1) : place + 1]
        repeated += max((common_prefix(prompt.text, text) for text in near), default=0)
        insort(earlier, prompt.text)
    return Reuse(repeated, sum(len(prompt.text) for prompt in prompts))
