"""Artifacts found in conversations by a language model.

An artifact is what the judge's model copies out of a conversation, so it is as hostile as what was
said there: whoever shows it in a prompt makes it harmless again.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from foresight_services.core.errors import Reason, Upstream
from foresight_services.core.future import Wanted
from foresight_services.core.loose_json import read_object
from foresight_services.core.objective import JsonValue
from foresight_services.core.ports import ChatModel, ChatReply
from foresight_services.core.prompt import PromptFiles
from foresight_services.core.subject import Subject
from foresight_services.core.thinking import without_thinking
from foresight_services.metrics.judging.prompted import Asker, PromptedJudgeSettings

_PROMPT: Final = "extract"

_KEYS: Final = ("artifact", "final_completion")
"""Keys of the artifact's text; the second for prompts written for CollabLLM's extraction."""

_SCHEMA: Final = MappingProxyType[str, JsonValue](
    {
        "type": "object",
        "properties": {"thought": {"type": "string"}, _KEYS[0]: {"type": "string"}},
        "required": ["thought", _KEYS[0]],
        "additionalProperties": False,
    }
)


class PromptedExtractor:
    """Asks a language model; implements the port `Extractor`."""

    def __init__(
        self, model: ChatModel, *, settings: PromptedJudgeSettings, prompts: PromptFiles
    ) -> None:
        self._asker = Asker(model, settings=settings, prompts=prompts)

    async def extract(self, wanted: Wanted, subject: Subject) -> str:
        """Return the artifact's text, empty where the model says that there is none.

        Raises:
            Upstream: EXTRACTION_FAILED where no attempt gave a text.
        """
        fields = {"artifact": wanted.artifact, "requirement": wanted.requirement}
        text = await self._asker.ask(
            subject,
            self._asker.prompt(_PROMPT, fields, subject),
            read_artifact,
            schema=_SCHEMA,
            max_tokens=self._asker.settings.max_artifact_tokens,
        )
        if text is None:
            raise Upstream(
                Reason.EXTRACTION_FAILED,
                f"no reply of the model had the artifact's text"
                f" in {self._asker.settings.attempts} attempts",
                metadata={"artifact": wanted.artifact, "kind": "malformed"},
            )
        return text


def read_artifact(reply: ChatReply) -> str | None:
    """Return the artifact's text as it was written, or None where the reply has none.

    A text that spells a number or nothing at all is a text. A reply that ended at the limit on its
    length counts if its object is complete.
    """
    found = read_object(without_thinking(reply.text), _KEYS)
    if found is None or (reply.finish == "length" and not found.complete):
        return None
    texts = (found.members.get(key) for key in _KEYS)
    return next((text for text in texts if isinstance(text, str)), None)


class NoExtractor:
    """What a judge of rules has: nothing. Implements the port `Extractor`."""

    async def extract(self, wanted: Wanted, subject: Subject) -> str:
        """Refuse: rules read no texts."""
        raise Upstream(
            Reason.EXTRACTION_FAILED,
            "the `builtin` judge extracts nothing; configure a language model as the judge",
            metadata={"artifact": wanted.artifact},
        )
