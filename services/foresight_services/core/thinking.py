"""What a reasoning model writes before its reply."""

from __future__ import annotations

from typing import Final

_OPEN: Final = "<think>"
_CLOSE: Final = "</think>"


def without_thinking(text: str) -> str:
    """Return what was said after thinking aloud; empty where the thinking never ended.

    The opening tag may be missing, because some chat templates put it into the prompt.
    """
    _, closed, said = text.partition(_CLOSE)
    if closed:
        return said.lstrip()
    return "" if text.lstrip().startswith(_OPEN) else text
