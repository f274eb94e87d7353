"""20 Questions: a world whose user, policies and judge are rules over a table of things."""

from foresight_services.worlds.twenty_questions.knowledge import (
    Knowledge,
    KnowledgeError,
    load_knowledge,
    parse_knowledge,
)
from foresight_services.worlds.twenty_questions.world import TwentyQuestions, opening_message

__all__ = [
    "Knowledge",
    "KnowledgeError",
    "TwentyQuestions",
    "load_knowledge",
    "opening_message",
    "parse_knowledge",
]
