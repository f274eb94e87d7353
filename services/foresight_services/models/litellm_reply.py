"""LiteLLM's responses, read with care: it passes on what providers answer, whatever that is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from foresight_services.models.faults import FaultKind, ModelFault
from foresight_services.models.openai_reply import Draw

_LENGTH: Final = frozenset({"length", "max_tokens"})


def draw_from(name: str, response: Any, *, wanted: int, stop: Sequence[str]) -> Draw:
    """Return what `response`, a `litellm.ModelResponse`, brings.

    Args:
        name: the configuration's name of the model, for errors.
        response: what LiteLLM returned.
        wanted: how many choices were asked for; further ones are left out.
        stop: texts at which a reply ends, for providers that do not heed them.

    Raises:
        ModelFault: EMPTY or REFUSED.
    """
    choices = response.choices
    if not choices:
        raise ModelFault(FaultKind.EMPTY, name, "the answer's list of choices is empty")
    texts = tuple(_text(name, choice, stop) for choice in choices[:wanted])
    usage = getattr(response, "usage", None)
    details = getattr(usage, "prompt_tokens_details", None)
    read = _count(usage, "prompt_tokens")
    return Draw(
        texts,
        "length" if choices[0].finish_reason in _LENGTH else "stop",
        read,
        _count(usage, "completion_tokens"),
        min(read, _count(details, "cached_tokens")),
    )


def _text(name: str, choice: Any, stop: Sequence[str]) -> str:
    message = choice.message
    own = getattr(message, "provider_specific_fields", None) or {}
    if choice.finish_reason == "content_filter" or own.get("refusal"):
        raise ModelFault(FaultKind.REFUSED, name, "the provider refused to reply")
    text = message.content or ""
    for end in stop:
        text = text.partition(end)[0]
    if not text or text.isspace():
        cut = choice.finish_reason in _LENGTH
        why = "the limit on tokens came before any text" if cut else "no text"
        raise ModelFault(FaultKind.EMPTY, name, f"the reply is empty: {why}")
    # Half of a surrogate pair is valid JSON, but nothing that could be sent on.
    return text if text.isascii() else text.encode(errors="replace").decode()


def _count(usage: Any, name: str) -> int:
    value = getattr(usage, name, None)
    return value if isinstance(value, int) and value > 0 else 0
