"""The builtin worlds, by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from foresight_services.worlds.groceries import Groceries
from foresight_services.worlds.twenty_questions import TwentyQuestions, load_knowledge
from foresight_services.worlds.world import World


def make_worlds(*, error_rate: float = 0.0, knowledge_path: str = "") -> Mapping[str, World]:
    """Return the worlds; the arguments are those of 20 Questions."""
    if knowledge_path:
        knowledge = load_knowledge(Path(knowledge_path))
        twenty_questions = TwentyQuestions(error_rate, knowledge=knowledge)
    else:
        twenty_questions = TwentyQuestions(error_rate)
    worlds: tuple[World, ...] = (twenty_questions, Groceries())
    return MappingProxyType({world.name: world for world in worlds})
