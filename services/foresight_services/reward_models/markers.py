"""Texts by which a chat template marks who speaks, and that no message may therefore hold.

A tokenizer reads such a text as the mark itself wherever it stands. A reply that spells it could
end its own turn and go on in the user's name, so a conversation with one is not scored.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from foresight_services.core.conversation import Conversation
from foresight_services.core.errors import Reason, Upstream

METRIC: Final = "rm_score"
"""The metric that asks reward models."""

WIDESPREAD: Final = (
    "<|im_start|>",
    "<|im_end|>",
    "<|endoftext|>",
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<start_of_turn>",
    "<end_of_turn>",
    "[INST]",
    "[/INST]",
)
"""The marks of ChatML, Llama, Gemma and Mistral, for models whose tokenizer is not at hand."""


def refuse_markers(conversation: Conversation, markers: Iterable[str]) -> None:
    """Raise Upstream with METRIC_FAILED where a message holds one of `markers`."""
    for marker in markers:
        if any(marker in message.content for message in conversation):
            raise failed(f"a message holds {marker!r}, which the model would read as a turn's mark")


def failed(problem: str) -> Upstream:
    """Return the error that says why there is no score."""
    return Upstream(Reason.METRIC_FAILED, f"{METRIC}: {problem}", metadata={"metric": METRIC})
