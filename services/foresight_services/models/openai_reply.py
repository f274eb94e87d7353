"""The good answers of a server of the OpenAI chat API, read with care."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from foresight_services.core.ports import FinishReason
from foresight_services.models.faults import FaultKind, ModelFault
from foresight_services.models.openai_faults import Sent, fault_in
from foresight_services.models.openai_http import Answer

_LENGTH: Final = frozenset({"length", "max_tokens", "model_length"})
_FAILED: Final = frozenset({"error", "abort"})


@dataclass(frozen=True, slots=True)
class Draw:
    """What one call brought."""

    texts: tuple[str, ...]
    """The texts of its choices, at least one; none is blank."""
    finish: FinishReason
    """Why the first one ended."""
    prompt_tokens: int
    """Tokens read; 0 where the server does not tell."""
    completion_tokens: int
    """Tokens written for all choices; 0 where the server does not tell."""
    cached_tokens: int
    """Tokens read from the server's cache."""


def draw_from(name: str, answer: Answer, *, wanted: int, stop: Sequence[str], sent: Sent) -> Draw:
    """Return what an answer with status 200 brings.

    Args:
        name: the configuration's name of the model, for errors.
        answer: what the server answered.
        wanted: how many choices were asked for; further ones are left out.
        stop: texts at which a reply ends, for servers that do not heed them.
        sent: what an error may repeat.

    Raises:
        ModelFault: MALFORMED, EMPTY, REFUSED, or whatever kind of error the body holds.
    """
    data = _object(name, answer)
    choices = data.get("choices")
    if data.get("error") and not choices:
        raise fault_in(name, data["error"], sent)
    if not isinstance(choices, list) or not all(isinstance(c, dict) for c in choices):
        raise ModelFault(FaultKind.MALFORMED, name, "the answer has no list of choices")
    if not choices:
        raise ModelFault(FaultKind.EMPTY, name, "the answer's list of choices is empty")
    if wanted > 1 and all(isinstance(choice.get("index"), int) for choice in choices):
        choices.sort(key=lambda choice: choice["index"])
    texts = tuple(_text(name, choice, stop, sent) for choice in choices[:wanted])
    finish: FinishReason = "length" if choices[0].get("finish_reason") in _LENGTH else "stop"
    usage = data.get("usage")
    if not isinstance(usage, dict):
        return Draw(texts, finish, 0, 0, 0)
    read = _count(usage.get("prompt_tokens"))
    details = usage.get("prompt_tokens_details")
    cached = _count(details.get("cached_tokens")) if isinstance(details, dict) else 0
    written = _count(usage.get("completion_tokens"))
    return Draw(texts, finish, read, written, min(cached, read))


def _object(name: str, answer: Answer) -> dict[str, Any]:
    try:
        data = json.loads(answer.body)
    except UnicodeDecodeError as error:
        raise ModelFault(FaultKind.MALFORMED, name, "the answer is not UTF-8") from error
    except (ValueError, RecursionError) as error:
        kind = answer.headers.get("Content-Type", "unknown type").partition(";")[0][:40]
        problem = f"the answer, {len(answer.body)} bytes of {kind!r}, is not whole JSON"
        raise ModelFault(FaultKind.MALFORMED, name, problem) from error
    if not isinstance(data, dict):
        raise ModelFault(FaultKind.MALFORMED, name, "the answer is not a JSON object")
    return data


def _text(name: str, choice: dict[str, Any], stop: Sequence[str], sent: Sent) -> str:
    message, ended = choice.get("message"), choice.get("finish_reason")
    if choice.get("error"):
        raise fault_in(name, choice["error"], sent)
    if ended in _FAILED:
        raise ModelFault(FaultKind.SERVER_ERROR, name, f"the server ended the reply: {ended!r}")
    if not isinstance(message, dict):
        raise ModelFault(FaultKind.MALFORMED, name, "a choice has no message")
    if ended == "content_filter" or message.get("refusal"):
        raise ModelFault(FaultKind.REFUSED, name, "the server refused to reply")
    text = _joined(message.get("content"))
    if text is None:
        raise ModelFault(FaultKind.MALFORMED, name, "a choice's content is not a text")
    for end in stop:
        text = text.partition(end)[0]
    if not text or text.isspace():
        why = "the limit on tokens came before any text" if ended in _LENGTH else "no text"
        raise ModelFault(FaultKind.EMPTY, name, f"the reply is empty: {why}")
    if not text.isascii():
        # Half of a surrogate pair is valid JSON, but nothing that could be sent on.
        text = text.encode(errors="replace").decode()
    return text


def _joined(content: Any) -> str | None:
    """Return the text of `content`, which some servers give in parts; None if it has no text."""
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        return None
    parts = [part.get("text") if isinstance(part, dict) else None for part in content]
    return "".join(part for part in parts if isinstance(part, str))


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0
