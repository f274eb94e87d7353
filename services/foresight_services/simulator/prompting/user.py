"""The simulated user, played by a language model.

Every request begins with the same instructions; then come task, goal and persona, the same for all
turns of a future; the conversation is last. So the prompt of each turn begins with that of the one
before, and a backend with a prefix cache reads only what is new.

The model answers with `thought`, `message` and `done`. `done` is turned into the configured
termination signal at the end of the message, because models keep to a boolean more reliably than
to a magic word; a message that carries the signal itself ends the conversation just as well. A
reply that is no user's message is asked for again with another seed and with the reason at the
end of the prompt, after all that is cached.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Final

from foresight_services.core.cachekey import Keyed, digest
from foresight_services.core.conversation import Conversation, Message
from foresight_services.core.errors import Reason, Upstream
from foresight_services.core.ports import ChatModel, ChatReply, ChatRequest
from foresight_services.core.prompt import PromptFiles, PromptSpec
from foresight_services.core.seeds import derive_seed
from foresight_services.core.transcript import BLOCKS, SPEAKERS, TranscriptStyle
from foresight_services.core.usage import ModelUsage
from foresight_services.metrics.words import count_words, first_words
from foresight_services.simulator.prompting.drift import (
    Drift,
    DriftKind,
    DriftRules,
    shipped_rules,
)
from foresight_services.simulator.prompting.parsing import USER_REPLY_SCHEMA, parse_user_reply
from foresight_services.simulator.prompting.personas import PersonaBook

_FIELDS: Final = frozenset({"description", "guidance", "goal", "persona", "signal", "conversation"})

_MOST_FIXED: Final = 1024
"""Futures whose fixed part of the prompt is kept from turn to turn; texts of a few KB each."""

USER_PROMPTS: Final = (
    PromptSpec("user_system", optional=_FIELDS - {"conversation"}),
    PromptSpec("user_task", required=frozenset({"goal", "conversation"}), optional=_FIELDS),
    PromptSpec("user_opening", required=frozenset({"goal"}), optional=_FIELDS - {"conversation"}),
    PromptSpec("user_retry", required=frozenset({"problem"})),
)
"""The prompts of the simulated user: the system message, the message after it, the one that takes
its place where the user begins the conversation, and what is added when a reply could not be
used."""


@dataclass(frozen=True, slots=True)
class PromptedUserSettings:
    """How the simulated user is prompted."""

    termination_signal: str
    """Text that ends a conversation; see the simulator's configuration."""
    attempts: int = 3
    """Times that a message is asked for before the future fails, at least 1."""
    extra_tokens: int = 256
    """Tokens that a reply may have beyond the limit on the message: its thought and its JSON."""
    schema: bool = True
    """Whether the backend is asked to enforce the reply's JSON schema."""
    plain_text: bool = True
    """Whether a reply without any JSON is the message itself."""
    system_role: bool = True
    """Whether the model's chat template knows system messages; else all is one user message."""
    transcript: TranscriptStyle = BLOCKS
    """How the conversation is shown."""


def load_user_prompts(replaced: Mapping[str, Path] | None = None) -> PromptFiles:
    """Return the prompts, those in `replaced` from their files; InvalidInput where one is wrong."""
    return PromptFiles(USER_PROMPTS, resources.files(__package__), replaced)


class PromptedUser:
    """Decorates a `ChatModel` that then plays the user; implements the port `ChatModel`."""

    def __init__(
        self,
        model: ChatModel,
        *,
        settings: PromptedUserSettings,
        prompts: PromptFiles | None = None,
        personas: PersonaBook | None = None,
        rules: DriftRules | None = None,
    ) -> None:
        self._model = model
        self._settings = settings
        self._prompts = prompts or load_user_prompts()
        self._personas = personas or PersonaBook()
        self._rules = rules or shipped_rules()
        self._fixed = lru_cache(_MOST_FIXED)(self._render_fixed)

    @property
    def digest(self) -> str:
        """SHA-256 of all that shapes what is said: texts, personas, settings, rules of drift."""
        settings = self._settings
        fields: Mapping[str, Keyed] = {
            "prompts": self._prompts.digest,
            "personas": self._personas.digest,
            "drift": self._rules.digest,
            "termination_signal": settings.termination_signal,
            "attempts": settings.attempts,
            "extra_tokens": settings.extra_tokens,
            "schema": settings.schema,
            "plain_text": settings.plain_text,
            "system_role": settings.system_role,
            # By name, because a style is functions, which are elsewhere in every process.
            "transcript": settings.transcript.name,
        }
        return digest("user", fields).hex()

    async def complete(self, request: ChatRequest) -> ChatReply:
        """Return the person's next message, the termination signal included where they leave.

        Raises:
            Upstream: USER_DRIFTED where no attempt gave a user's message, with the `kind` of
                drift; MODEL_FAILED where the last one could not be read.
        """
        prompt = self.prompt(request)
        drift: Drift | None = None
        for attempt in range(self._settings.attempts):
            asked = replace(
                request,
                prompt=prompt if drift is None else self._again(prompt, drift),
                seed=derive_seed(request.seed, attempt, "user_retry") if attempt else request.seed,
                max_tokens=request.max_tokens + self._settings.extra_tokens,
                choices=1,
                # Another try is this future's alone.
                shared=None if attempt else request.shared,
                schema=USER_REPLY_SCHEMA if self._settings.schema else None,
            )
            if drift is not None:
                request.ledger.record(request.role, ModelUsage(retries=1))
            answer = self._read(await self._model.complete(asked), request)
            if isinstance(answer, ChatReply):
                return answer
            drift = answer
        raise self._failure(drift)

    def prompt(self, request: ChatRequest) -> Conversation:
        """Return the messages that ask for the user's next message."""
        task, style = request.task, self._settings.transcript
        fields, static = self._fixed(task.description, task.guidance, task.goal, request.persona)
        if any(message.role in SPEAKERS for message in request.conversation):
            turns = style.turns(request.conversation)
            varying = self._prompts["user_task"].render(**fields, conversation=turns)
        else:
            varying = self._prompts["user_opening"].render(**fields)
        if static is None:
            return (Message("user", varying),)
        if not self._settings.system_role:
            return (Message("user", f"{static.content}\n\n{varying}"),)
        return (static, Message("user", varying))

    def _render_fixed(
        self, description: str, guidance: str, goal: str, persona: str
    ) -> tuple[Mapping[str, str], Message | None]:
        """Return what every turn of a future shows, and the system message if there is one."""
        text = self._settings.transcript.text
        fields = {
            "description": text(description) or "An open conversation.",
            "guidance": text(guidance),
            "goal": text(goal),
            "persona": self._personas.describe(persona),
            "signal": self._settings.termination_signal,
        }
        static = self._prompts["user_system"].render(**fields)
        return fields, Message("system", static) if static else None

    def _again(self, prompt: Conversation, drift: Drift) -> Conversation:
        """Return `prompt` with the reason at its end, where nothing cached comes after it."""
        note = self._prompts["user_retry"].render(problem=self._rules.notes[drift.kind])
        return (*prompt[:-1], Message("user", f"{prompt[-1].content}\n{note}"))

    def _read(self, reply: ChatReply, request: ChatRequest) -> ChatReply | Drift:
        """Return the reply as the person's message, or what is wrong with it."""
        read = parse_user_reply(reply.text, plain_text=self._settings.plain_text)
        if read is None:
            return Drift(DriftKind.MALFORMED, DriftKind.MALFORMED)
        signal = self._settings.termination_signal
        done = read.done or signal in read.message
        bare = read.message.replace(signal, " ").strip()
        drift = self._rules.find(bare, request.conversation, done=done)
        if drift is not None:
            return drift
        # The limit holds for the message, signal included; the reply had room beside it.
        text, most = read.message, request.max_tokens
        finish = reply.finish
        if done and signal not in text:
            text = f"{text} {signal}".lstrip()
        if count_words(text) > most:
            room = most - count_words(signal) if done else most
            text = first_words(bare, room) if room > 0 else ""
            text = f"{text} {signal}".lstrip() if done else text
            finish = "length"
        return replace(reply, text=text, finish=finish, others=())

    def _failure(self, drift: Drift | None) -> Upstream:
        attempts = self._settings.attempts
        kind, rule = (drift.kind, drift.rule) if drift else (DriftKind.EMPTY, DriftKind.EMPTY)
        if kind is DriftKind.MALFORMED:
            return Upstream(
                Reason.MODEL_FAILED,
                f"the user model's reply could not be read in {attempts} attempts",
                metadata={"role": "user", "kind": kind, "attempts": str(attempts)},
            )
        return Upstream(
            Reason.USER_DRIFTED,
            f"the user model gave no user's message in {attempts} attempts: {rule}",
            metadata={"kind": kind, "rule": rule, "attempts": str(attempts)},
        )
