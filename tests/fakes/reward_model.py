"""Models that say what a test wants: a reward model, and an encoder of BERTScore."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from foresight_services.core.conversation import Conversation
from foresight_services.core.subject import Subject


class StubRewardModel:
    """Scores by a function or with a constant; implements the port `RewardModel`."""

    def __init__(self, logit: float | Callable[[Conversation], float] = 0.0) -> None:
        self._logit = logit
        self.prepared = 0
        """How often it was prepared."""
        self.seen: list[Conversation] = []
        """What it scored, in order."""

    async def prepare(self) -> None:
        """Count."""
        self.prepared += 1

    async def score(self, conversation: Conversation, subject: Subject) -> float:
        """Return the logit."""
        self.seen.append(conversation)
        return self._logit(conversation) if callable(self._logit) else self._logit


class StubMatcher:
    """Knows precision and recall of some pairs; implements the port `TextMatcher`."""

    def __init__(self, matches: Mapping[tuple[str, str], tuple[float, float]]) -> None:
        self._matches = matches
        self.prepared = 0
        """How often it was prepared."""

    async def prepare(self) -> None:
        """Count."""
        self.prepared += 1

    async def match(self, text: str, reference: str) -> tuple[float, float]:
        """Return precision and recall of the pair."""
        return self._matches[text, reference]
