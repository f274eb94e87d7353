"""The judge of the metric `success`, played by a language model.

Every request begins with the same instructions, then what the conversations of one goal share, then
the conversation: a backend with a prefix cache reads the rest once. The conversation's messages are
shown so that none can pass for anything else (`core/transcript.py`), since training pushes the
candidates towards whatever this judge rewards.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Final

from foresight_services.core.conversation import Conversation, Message
from foresight_services.core.errors import Reason, Upstream
from foresight_services.core.loose_json import read_object
from foresight_services.core.objective import JsonValue
from foresight_services.core.ports import ChatModel, ChatReply, ChatRequest
from foresight_services.core.prompt import PromptFiles, PromptSpec
from foresight_services.core.seeds import derive_seed
from foresight_services.core.thinking import without_thinking
from foresight_services.core.transcript import harmless, render_turns
from foresight_services.core.usage import ModelUsage
from foresight_services.metrics.success import Success

_FIELDS: Final = frozenset({"description", "goal", "reference", "conversation"})

JUDGE_PROMPTS: Final = (
    PromptSpec("judge_system", optional=_FIELDS - {"conversation"}),
    PromptSpec("judge_task", required=frozenset({"goal", "conversation"}), optional=_FIELDS),
)
"""The prompts of the judge: the system message and the message after it."""

VERDICT_SCHEMA: Final[Mapping[str, JsonValue]] = {
    "type": "object",
    "properties": {
        "rationale": {"type": "string"},
        Success.name: {"type": "number"},
    },
    "required": ["rationale", Success.name],
    "additionalProperties": False,
}
"""The verdict, for backends that can enforce a schema; the reasons come before the number. Its
range is checked here, because not every backend knows bounds in a schema."""


@dataclass(frozen=True, slots=True)
class PromptedJudgeSettings:
    """How the judge is prompted."""

    attempts: int = 3
    """Times that a verdict is asked for before the score fails, at least 1."""
    schema: bool = True
    """Whether the backend is asked to enforce the verdict's JSON schema."""
    system_role: bool = True
    """Whether the model's chat template knows system messages; else all is one user message."""


def load_judge_prompts(replaced: Mapping[str, Path] | None = None) -> PromptFiles:
    """Return the prompts, those in `replaced` from their files; InvalidInput where one is wrong."""
    shipped = resources.files("foresight_services.metrics").joinpath("prompts")
    return PromptFiles(JUDGE_PROMPTS, shipped, replaced)


class PromptedJudge:
    """Decorates a `ChatModel` that then judges; implements the port `ChatModel`."""

    def __init__(
        self,
        model: ChatModel,
        *,
        settings: PromptedJudgeSettings | None = None,
        prompts: PromptFiles | None = None,
    ) -> None:
        self._model = model
        self._settings = settings or PromptedJudgeSettings()
        self._prompts = prompts or load_judge_prompts()

    @property
    def digest(self) -> str:
        """SHA-256 of all that shapes a prompt: texts and settings."""
        parts = (self._prompts.digest, repr(self._settings))
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    async def complete(self, request: ChatRequest) -> ChatReply:
        """Return the verdict as the JSON object that the metric reads, its number 0 to 1.

        Raises:
            Upstream: METRIC_FAILED where no attempt gave a number from 0 to 1.
        """
        prompt = self.prompt(request)
        for attempt in range(self._settings.attempts):
            if attempt:
                request.ledger.record(request.role, ModelUsage(retries=1))
            seed = derive_seed(request.seed, attempt, "judge_retry") if attempt else request.seed
            schema = VERDICT_SCHEMA if self._settings.schema else None
            reply = await self._model.complete(
                replace(request, prompt=prompt, seed=seed, choices=1, schema=schema)
            )
            score = read_verdict(reply.text, cut=reply.finish == "length")
            if score is not None:
                return replace(reply, text=json.dumps({Success.name: score}), others=())
        raise Upstream(
            Reason.METRIC_FAILED,
            f"{Success.name}: no verdict of the judge had a number from 0 to 1 called"
            f" {Success.name!r} in {self._settings.attempts} attempts",
            metadata={"metric": Success.name, "kind": "malformed"},
        )

    def prompt(self, request: ChatRequest) -> Conversation:
        """Return the messages that ask for the verdict."""
        task = request.task
        fields = {
            "description": harmless(task.description) or "An open conversation.",
            "goal": harmless(task.goal),
            "reference": harmless(task.reference) or "(none)",
        }
        static = self._prompts["judge_system"].render(**fields)
        turns = render_turns(request.conversation)
        varying = self._prompts["judge_task"].render(**fields, conversation=turns)
        if not static:
            return (Message("user", varying),)
        if not self._settings.system_role:
            return (Message("user", f"{static}\n\n{varying}"),)
        return (Message("system", static), Message("user", varying))


def read_verdict(text: str, *, cut: bool = False) -> float | None:
    """Return the number that the verdict gives, or None where there is none from 0 to 1.

    Args:
        text: the judge's reply.
        cut: whether it ended at the limit on its length, maybe in the middle of the number.
    """
    found = read_object(without_thinking(text), (Success.name,))
    if found is None or (cut and not found.complete):
        return None
    value = found.members.get(Success.name)
    if not isinstance(value, str):
        return None
    try:
        score = float(value)
    except ValueError:
        return None
    return score if 0.0 <= score <= 1.0 else None  # also refuses NaN
