"""What a caller may say about how a data set becomes tasks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

DEFAULT_SEED: Final = 42


@dataclass(frozen=True, slots=True)
class Options:
    """How a data set becomes tasks."""

    seed: int = DEFAULT_SEED
    """Seed of every split that is drawn."""
    preset: str | None = None
    """Preset of every task; None for the data set's own, empty for none."""
    count_tokens: Callable[[str], int] | None = None
    """Counts the cl100k tokens of a text; `medium` needs it."""

    def preset_or(self, own: str) -> str:
        """Return the preset of every task, which is `own` unless the caller says otherwise."""
        return own if self.preset is None else self.preset
