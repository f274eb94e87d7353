"""The port of a judge: it is asked a question about a conversation and gives checked scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol

from foresight_services.core.conversation import Conversation
from foresight_services.core.objective import Range
from foresight_services.core.subject import Subject

Shown = str | Conversation
"""What a field of a prompt shows: a text, or messages in the prompt's transcript style."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a judge is asked about one conversation."""

    prompt: str
    """Which prompts ask it: `accuracy` has the files `accuracy_system` and `accuracy_task`."""
    scores: Mapping[str, Range]
    """The numbers that the verdict must have, by their keys, each in its range."""
    fields: Mapping[str, Shown] = field(default_factory=lambda: MappingProxyType({}))
    """What the prompts may show beside the task's fields and the conversation; as it is: whoever
    renders it makes it harmless."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A verdict that was checked."""

    scores: Mapping[str, float]
    """Every number that was asked for, in its range."""
    rationale: str
    """The judge's reasons; empty where it gave none."""
    raw: str
    """Its reply as it came."""


class Judge(Protocol):
    """Judges conversations."""

    def objection(self, question: Question) -> str | None:
        """Return why it cannot be asked questions like this one, or None where it can."""
        ...

    async def ask(self, question: Question, subject: Subject, *, vote: int = 0) -> Answer:
        """Return the verdict; `vote` counts askings of the same question, from 0.

        Raises:
            Upstream: METRIC_FAILED where no attempt gave every number in its range.
        """
        ...
