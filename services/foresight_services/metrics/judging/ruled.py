"""The judge of a builtin world: its rules know whether the goal was reached, and nothing else."""

from __future__ import annotations

import json

from foresight_services.core.ports import ChatModel, ChatRequest
from foresight_services.core.subject import Subject
from foresight_services.metrics.judging.judge import Answer, Question

QUESTION = "success"
"""The one question that a world's rules answer."""

_MAX_VERDICT_TOKENS = 64


class RuledJudge:
    """Asks a `builtin` model; implements the port `Judge`."""

    def __init__(self, model: ChatModel) -> None:
        self._model = model

    def objection(self, question: Question) -> str | None:
        """Return None for `success` only."""
        if question.prompt == QUESTION:
            return None
        return "needs a judge that is a language model; the `builtin` one knows `success` only"

    async def ask(self, question: Question, subject: Subject, *, vote: int = 0) -> Answer:
        """Return the degree to which the world's goal was reached, by its rules."""
        reply = await self._model.complete(
            ChatRequest(
                role="judge",
                task=subject.task,
                conversation=subject.conversation,
                seed=vote,
                max_tokens=_MAX_VERDICT_TOKENS,
                ledger=subject.ledger,
                deadline=subject.deadline,
            )
        )
        return Answer(json.loads(reply.text), "", reply.text)
