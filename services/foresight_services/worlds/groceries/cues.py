"""The turns of phrase by which a sentence about groceries is told to ask, order, deny or not mind.

They belong to English, not to the needs, so they are kept apart from the needs file.
"""

from __future__ import annotations

from enum import Enum, auto
from itertools import product
from typing import Final

from foresight_services.worlds.groceries.phrases import PhraseBook


class Cue(Enum):
    """What a turn of phrase tells about its sentence."""

    REQUEST = auto()
    """Asks, wherever it stands."""
    OPENER = auto()
    """Asks if the sentence starts with it."""
    POLITE = auto()
    """As an opener; and a shopper's question with it is a request, which states what it names."""
    ORDER = auto()
    """Places an order."""
    DENIAL = auto()
    """No order follows it in the sentence."""
    CONDITION = auto()
    """The sentence places no order, wherever it stands."""
    INDIFFERENT = auto()
    """The shopper does not mind what the sentence names."""


PADDING: Final = frozenset("now just already also then gladly gone go ahead and".split())
"""Words left out before cues are sought, so that "I'll now go ahead and order" is "I'll order"."""

NEGATIONS: Final = frozenset("not never isn't aren't don't won't".split())
"""Words shortly before a value that keep it from being stated ("not vegan")."""

_REQUESTS: Final = (
    *("tell me", "let me know", "give me your", "give me the", "share your", "share the"),
    *("please share", "please provide", "please confirm", "please specify", "please state"),
    *("provide your", "provide the", "specify your", "confirm your", "i need to know"),
    *("i need your", "i'll need your", "i will need your", "we need your", "need the following"),
    *("need some details", "need a few details", "i'd like to know", "i would like to know"),
    *("what is your", "what's your", "what are your", "what about your"),
    *("may i ask", "few questions", "some questions", "following questions", "wondering"),
)
_OPENERS: Final = (
    *("what is", "what's", "what are", "what kind", "what kinds", "what time", "which", "where"),
    *("how many", "how much", "how big", "do you", "does anyone", "are you", "are there", "any"),
    *("is there", "is it", "should i", "shall i", "when should", "when would", "when do"),
    *("when shall", "when can", "when is", "who"),
)
_POLITE: Final = ("can you", "could you", "would you", "will you", "can i", "could i", "may i")
_ORDER_SUBJECTS: Final = (
    *("i'll", "i will", "we'll", "we will", "let me", "i'm going to", "i am going to"),
)
_ORDER_NOUNS: Final = (
    *("the order", "your order", "an order", "this order", "that order", "the grocery order"),
    *("your grocery order", "your groceries", "the groceries"),
)
_ORDER_VERBS: Final = ("place", "submit", "send", "complete", "finalize")
_ORDER_DOING: Final = ("placing", "submitting", "completing", "finalizing")
_ORDER_DONE: Final = ("i've", "i have", "we've", "we have", "i", "we")
_ORDER_DONE_VERBS: Final = ("placed", "submitted", "sent", "completed", "finalized", "confirmed")
_ORDERS: Final = (
    *(" ".join(parts) for parts in product(_ORDER_SUBJECTS, _ORDER_VERBS, _ORDER_NOUNS)),
    *(" ".join(parts) for parts in product(_ORDER_DONE, _ORDER_DONE_VERBS, _ORDER_NOUNS)),
    *(" ".join(parts) for parts in product(_ORDER_DOING, _ORDER_NOUNS)),
    *(f"{subject} order" for subject in _ORDER_SUBJECTS),
    *(f"{subject} ordered" for subject in _ORDER_DONE),
    *("i'm ordering", "i am ordering", "we're ordering", "we are ordering"),
    *("order placed", "order confirmed", "order is placed", "order is confirmed"),
    *("order is complete", "order was placed", "order has been placed", "order is in"),
    *("order has been confirmed", "order has been submitted", "order is on its way"),
    *("all ordered", "ordered everything", "ordered for you", "ordered your groceries"),
    *("groceries are ordered", "groceries have been ordered", "groceries are on their way"),
)
_DENIALS: Final = (
    *("not", "never", "cannot", "can't", "won't", "don't", "haven't", "hasn't", "didn't"),
    *("couldn't", "shouldn't", "wouldn't", "isn't", "before", "after", "without", "pretend"),
)
_CONDITIONS: Final = ("once", "if", "when", "unless", "until", "as soon as", "whenever")
_INDIFFERENT: Final = (
    *("don't mind", "do not mind", "don't care", "do not care", "no preference"),
    *("no preferences", "doesn't matter", "does not matter", "don't matter", "not important"),
    *("not fussy", "not picky", "anything is fine", "any is fine", "up to you"),
    *("no allergies", "no allergy", "no special", "no particular", "no specific", "no strict"),
)

CUES: Final = PhraseBook[Cue](
    dict.fromkeys(_OPENERS, Cue.OPENER)
    | dict.fromkeys(_POLITE, Cue.POLITE)
    | dict.fromkeys(_REQUESTS, Cue.REQUEST)
    | dict.fromkeys(_ORDERS, Cue.ORDER)
    | dict.fromkeys(_DENIALS, Cue.DENIAL)
    | dict.fromkeys(_CONDITIONS, Cue.CONDITION)
    | dict.fromkeys(_INDIFFERENT, Cue.INDIFFERENT)
)
"""All cues, longest first where one starts another."""
