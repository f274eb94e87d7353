"""Verdicts: the JSON that a judge is asked for, and what of its reply counts as one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from foresight_services.core.loose_json import LooseObject, read_object
from foresight_services.core.objective import JsonValue, Range
from foresight_services.core.thinking import without_thinking
from foresight_services.metrics.judging.judge import Answer

REASONS: Final = ("rationale", "thought")
"""Keys of a verdict's reasons; the second for prompts written for CollabLLM's judges."""

_BEGINS_AS_OBJECT: Final = re.compile(r"\s*+(?:```\w*+\s*+)?\{")
_MOST_OBJECTS: Final = 64


def verdict_schema(scores: Mapping[str, Range]) -> Mapping[str, JsonValue]:
    """Return the verdict's JSON schema, for backends that can enforce one.

    The reasons come before the numbers. Ranges are checked here, because not every backend knows
    bounds in a schema.
    """
    return _schema(tuple(scores))


@lru_cache(maxsize=256)
def _schema(keys: tuple[str, ...]) -> Mapping[str, JsonValue]:
    return {
        "type": "object",
        "properties": {
            REASONS[0]: {"type": "string"},
            **{key: {"type": "number"} for key in keys},
        },
        "required": [REASONS[0], *keys],
        "additionalProperties": False,
    }


def read_verdict(text: str, scores: Mapping[str, Range], *, cut: bool = False) -> Answer | None:
    """Return the verdict, or None where it lacks a number of `scores` or has one out of range.

    Where the judge thinks aloud before its verdict, the last object counts: what it quotes of the
    conversation, which may spell a verdict, comes before.

    Args:
        text: the judge's reply.
        scores: the keys of the numbers and their ranges.
        cut: whether it ended at the limit on its length, maybe in the middle of a number.
    """
    found = _find(without_thinking(text), scores)
    if found is None or (cut and not found.complete):
        return None
    numbers = {}
    for key, values in scores.items():
        written = found.members.get(key.lower())
        if not isinstance(written, str):
            return None
        try:
            number = float(written)
        except ValueError:
            return None
        if not values.low <= number <= values.high:  # also refuses NaN
            return None
        numbers[key] = number
    reasons = (found.members.get(key) for key in REASONS)
    rationale = next((said for said in reasons if isinstance(said, str)), "")
    return Answer(numbers, rationale, text)


def _find(text: str, scores: Mapping[str, Range]) -> LooseObject | None:
    """Return the object that `text` means."""
    keys = tuple(key.lower() for key in scores)
    if not _BEGINS_AS_OBJECT.match(text):
        names = "|".join(map(re.escape, (*REASONS, *keys)))
        starts = re.finditer(rf"\{{\s*+[\"'“”]?(?:{names})[\"'“”]?\s*+[:=]", text, re.IGNORECASE)
        for start in reversed([found.start() for found in starts][-_MOST_OBJECTS:]):
            found = read_object(text[start:], keys)
            if found is not None:
                return found
    return read_object(text, keys)
