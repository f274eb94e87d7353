"""The policy, played by a language model that its server's chat template prompts.

The conversation is sent as it is. Where the request says so for a sample index, a system prompt is
added, a call to be proactive, or both, always in one system message at the beginning: what a prefix
already starts with is kept below them, or replaced, as configured, and never said twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Final, Literal

from foresight_services.core.conversation import Conversation, Message
from foresight_services.core.ports import ChatModel, ChatReply, ChatRequest
from foresight_services.core.prompt import PromptFiles, PromptSpec
from foresight_services.core.thinking import without_thinking
from foresight_services.metrics.words import first_words

POLICY_PROMPTS: Final = (
    PromptSpec("policy_system", optional=frozenset({"description"})),
    PromptSpec("policy_proactive", optional=frozenset({"description"})),
)
"""The prompts of the policy."""


@dataclass(frozen=True, slots=True)
class PromptedPolicySettings:
    """How the policy is prompted."""

    stop: tuple[str, ...] = ()
    """Texts at which a message ends, beside those of the request."""
    existing_system: Literal["merge", "replace"] = "merge"
    """What becomes of a system message that the prefix starts with when the system prompt is added:
    kept below it, or left out. The call to be proactive is always added to it."""
    system_role: bool = True
    """Whether the chat template knows system messages; else what is added begins the first user
    message."""
    strip_thinking: bool = True
    """Whether what a reasoning model thinks aloud first is left out of its message."""


def load_policy_prompts(replaced: Mapping[str, Path] | None = None) -> PromptFiles:
    """Return the prompts, those in `replaced` from their files; InvalidInput where one is wrong."""
    return PromptFiles(POLICY_PROMPTS, resources.files(__package__), replaced)


class PromptedPolicy:
    """Decorates a `ChatModel` that then plays the assistant; implements the port `ChatModel`."""

    def __init__(
        self,
        model: ChatModel,
        *,
        settings: PromptedPolicySettings | None = None,
        prompts: PromptFiles | None = None,
    ) -> None:
        self._model = model
        self._settings = settings or PromptedPolicySettings()
        self._prompts = prompts or load_policy_prompts()

    @property
    def digest(self) -> str:
        """SHA-256 of all that shapes a prompt: texts and settings."""
        parts = (self._prompts.digest, repr(self._settings))
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    async def complete(self, request: ChatRequest) -> ChatReply:
        """Return the assistant's next message, white space around it removed.

        A message that was cut off at the limit is kept as it is, `finish` says so; so is an empty
        one, where a reasoning model never came to its message: that is what a user would see.
        """
        reply = await self._model.complete(
            replace(
                request,
                prompt=self.prompt(request),
                stop=tuple(dict.fromkeys((*request.stop, *self._settings.stop))),
                choices=1,
            )
        )
        text = without_thinking(reply.text) if self._settings.strip_thinking else reply.text
        said = text.strip()
        # The backend's tokens can hold several words or marks, and the limit is in those.
        kept = first_words(said, request.max_tokens)
        finish = reply.finish if kept == said else "length"
        return replace(reply, text=kept, finish=finish, others=())

    def prompt(self, request: ChatRequest) -> Conversation:
        """Return the messages that ask for the assistant's next message."""
        fields = {"description": request.task.description}
        system = self._prompts["policy_system"].render(**fields) if request.system_prompt else ""
        proactive = self._prompts["policy_proactive"].render(**fields) if request.proactive else ""
        conversation = request.conversation
        existing = ""
        if conversation and conversation[0].role == "system" and (system or proactive):
            existing, conversation = conversation[0].content, conversation[1:]
            if system and self._settings.existing_system == "replace":
                existing = ""
        added = [text for text in (system, proactive) if text and text not in existing]
        text = "\n\n".join([*added, existing] if existing else added)
        return self._with_system(text, conversation) if text else conversation

    def _with_system(self, text: str, conversation: Conversation) -> Conversation:
        if self._settings.system_role:
            return (Message("system", text), *conversation)
        for index, message in enumerate(conversation):
            if message.role == "user":
                first = Message("user", f"{text}\n\n{message.content}")
                return (*conversation[:index], first, *conversation[index + 1 :])
        return (Message("user", text), *conversation)
