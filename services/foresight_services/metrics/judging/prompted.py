"""A judge that is a language model.

Every request begins with the same instructions, then what the conversations of one goal share, then
the conversation: a backend with a prefix cache reads the rest once. Texts are shown so that none
can pass for anything else (`core/transcript.py`), since training pushes the candidates towards
whatever this judge rewards.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypeVar

from foresight_services.core.conversation import Conversation, Message
from foresight_services.core.errors import Reason, Upstream
from foresight_services.core.objective import JsonValue
from foresight_services.core.ports import ChatModel, ChatReply, ChatRequest
from foresight_services.core.prompt import PromptFiles, PromptSpec
from foresight_services.core.seeds import derive_seed
from foresight_services.core.subject import Subject
from foresight_services.core.transcript import BLOCKS, TranscriptStyle
from foresight_services.core.usage import ModelUsage
from foresight_services.metrics.judging.judge import Answer, Question, Shown
from foresight_services.metrics.judging.verdict import read_verdict, verdict_schema

Found = TypeVar("Found")

_TASK: Final = frozenset({"description", "goal", "reference"})
_WANTED: Final = frozenset({"requirement", "description", "goal"})


def _asking(
    question: str, *required: str, optional: frozenset[str] = _TASK
) -> tuple[PromptSpec, ...]:
    needed = frozenset(required)
    return (
        PromptSpec(f"{question}_system", optional=_TASK),
        PromptSpec(f"{question}_task", required=needed, optional=(_TASK | optional) - needed),
    )


JUDGE_PROMPTS: Final = (
    *_asking("accuracy", "reference", "completion", optional=frozenset({"conversation"})),
    *_asking("helpfulness", "conversation"),
    *_asking("interactivity", "conversation"),
    *_asking("preference", "first", "second", optional=frozenset({"conversation"})),
    *_asking("rubric", "criteria", "conversation", optional=frozenset({"completion"})),
    *_asking("success", "conversation"),
    PromptSpec("extract_system", optional=_WANTED | {"artifact"}),
    PromptSpec("extract_task", required=frozenset({"artifact", "conversation"}), optional=_WANTED),
)
"""The prompts of the judge: for every question, and for extractions, the system message and the
message after it."""

QUESTIONS: Final = tuple(dict.fromkeys(spec.name.rpartition("_")[0] for spec in JUDGE_PROMPTS))
"""What the judge can be asked, extractions included."""

NOTHING: Final = "(none)"
"""What a prompt shows in place of a text that there is not."""

_MAX_VERDICT_TOKENS: Final = 1024


@dataclass(frozen=True, slots=True)
class PromptedJudgeSettings:
    """How the judge is prompted."""

    attempts: int = 3
    """Times that a verdict or an artifact is asked for before it fails, at least 1."""
    schema: bool = True
    """Whether the backend is asked to enforce the reply's JSON schema."""
    system_role: bool = True
    """Whether the model's chat template knows system messages; else all is one user message."""
    transcripts: Mapping[str, TranscriptStyle] = field(default_factory=lambda: MappingProxyType({}))
    """How texts are shown, by the question, `extract` for extractions; `blocks` for those that are
    not here."""
    max_artifact_tokens: int = 8192
    """Limit on the reply with an extracted artifact, in tokens; an artifact can be a document."""


def load_judge_prompts(replaced: Mapping[str, Path] | None = None) -> PromptFiles:
    """Return the prompts, those in `replaced` from their files; InvalidInput where one is wrong."""
    shipped = resources.files("foresight_services.metrics").joinpath("prompts")
    return PromptFiles(JUDGE_PROMPTS, shipped, replaced)


class Asker:
    """Puts questions to a language model until a reply can be used."""

    def __init__(
        self, model: ChatModel, *, settings: PromptedJudgeSettings, prompts: PromptFiles
    ) -> None:
        self._model = model
        self._prompts = prompts
        self.settings = settings
        """How it asks."""

    @property
    def digest(self) -> str:
        """SHA-256 of all that shapes a prompt: texts and settings."""
        settings = self.settings
        styles = sorted((name, style.name) for name, style in settings.transcripts.items())
        parts = (self._prompts.digest, repr((settings.schema, settings.system_role, styles)))
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def prompt(self, name: str, fields: Mapping[str, Shown], subject: Subject) -> Conversation:
        """Return the messages by which the prompts called `name` ask about `subject`."""
        style = self.settings.transcripts.get(name, BLOCKS)
        task = subject.task
        shown = {
            "description": style.text(task.description) or "An open conversation.",
            "goal": style.text(task.goal),
            "reference": style.text(task.reference) or NOTHING,
            "conversation": style.turns(subject.conversation),
            **{
                key: style.text(value) if isinstance(value, str) else style.turns(value)
                for key, value in fields.items()
            },
        }
        static = self._prompts[f"{name}_system"].render(**shown)
        varying = self._prompts[f"{name}_task"].render(**shown)
        if not static:
            return (Message("user", varying),)
        if not self.settings.system_role:
            return (Message("user", f"{static}\n\n{varying}"),)
        return (Message("system", static), Message("user", varying))

    async def ask(
        self,
        subject: Subject,
        prompt: Conversation,
        read: Callable[[ChatReply], Found | None],
        *,
        schema: Mapping[str, JsonValue],
        max_tokens: int,
        seed: int = 0,
    ) -> Found | None:
        """Return the first reply that `read` can use, every attempt with another seed, or None."""
        for attempt in range(self.settings.attempts):
            if attempt:
                subject.ledger.record("judge", ModelUsage(retries=1))
            reply = await self._model.complete(
                ChatRequest(
                    role="judge",
                    task=subject.task,
                    conversation=subject.conversation,
                    seed=derive_seed(seed, attempt, "judge_retry") if attempt else seed,
                    max_tokens=max_tokens,
                    ledger=subject.ledger,
                    prompt=prompt,
                    schema=schema if self.settings.schema else None,
                    deadline=subject.deadline,
                )
            )
            found = read(reply)
            if found is not None:
                return found
        return None


class PromptedJudge:
    """Asks a language model; implements the port `Judge`."""

    def __init__(
        self,
        model: ChatModel,
        *,
        settings: PromptedJudgeSettings | None = None,
        prompts: PromptFiles | None = None,
    ) -> None:
        self._asker = Asker(
            model,
            settings=settings or PromptedJudgeSettings(),
            prompts=prompts or load_judge_prompts(),
        )

    @property
    def digest(self) -> str:
        """SHA-256 of all that shapes a prompt: texts and settings."""
        return self._asker.digest

    def objection(self, question: Question) -> str | None:
        """Return None: a language model can be asked anything."""
        del question
        return None

    def prompt(self, question: Question, subject: Subject) -> Conversation:
        """Return the messages that ask for the verdict."""
        return self._asker.prompt(question.prompt, question.fields, subject)

    async def ask(self, question: Question, subject: Subject, *, vote: int = 0) -> Answer:
        """Return the verdict, every number of it in its range.

        Raises:
            Upstream: METRIC_FAILED where no attempt gave every number in its range.
        """

        def read(reply: ChatReply) -> Answer | None:
            return read_verdict(reply.text, question.scores, cut=reply.finish == "length")

        answer = await self._asker.ask(
            subject,
            self.prompt(question, subject),
            read,
            schema=verdict_schema(question.scores),
            max_tokens=_MAX_VERDICT_TOKENS,
            seed=derive_seed(0, vote, "judge_vote") if vote else 0,
        )
        if answer is None:
            raise self._malformed(question)
        return answer

    def _malformed(self, question: Question) -> Upstream:
        wanted = ", ".join(
            f"{key!r} from {values.low:g} to {values.high:g}"
            for key, values in question.scores.items()
        )
        return Upstream(
            Reason.METRIC_FAILED,
            f"{question.prompt}: no verdict of the judge had {wanted}"
            f" in {self._asker.settings.attempts} attempts",
            metadata={"metric": question.prompt, "kind": "malformed"},
        )
