"""The closed word classes of English by which a sentence shows what it asks.

Words are lower case. A verb contracted with "not" keeps its apostrophe, as in "isn't".
"""

from __future__ import annotations

from typing import Final

_VERBS: Final = frozenset(
    "is are was were am does do did can could would will shall should might may must"
    " has have had".split()
)
AUXILIARIES: Final = _VERBS | {f"{verb}n't" for verb in _VERBS} | {"can't", "won't"}
"""Verbs that open a yes/no question."""

SUBJECTS: Final = frozenset(
    "it this that they these those he she you we i people one someone somebody anyone humans most"
    " there the your my".split()
)
"""Words that follow the opening verb of a question."""

NEGATIONS: Final = frozenset(
    "not no never without cannot neither nor hardly can't won't".split()
) | {f"{verb}n't" for verb in _VERBS}
"""Words that turn a statement into its opposite."""

HYPOTHETICALS: Final = frozenset({"if", "unless", "like", "than", "suppose", "imagine"})
"""Words after which naming a thing is no guess."""

REPORTERS: Final = frozenset({"wonder", "wondering", "know", "ask", "asking", "me"})
"""Words after which "if" or "whether" opens an indirect question ("tell me whether it flies")."""

FILLERS: Final = frozenset(
    "a an the my your some maybe perhaps probably possibly just definitely simply actually really"
    " likely".split()
)
"""Words that may stand between the opening of a guess and the thing."""

TAILS: Final = frozenset(
    "by then perhaps maybe right correct or you you're that because since as given please i my now"
    " after".split()
)
"""Words that may follow the guessed thing; any other makes it part of something else."""

LEADS: Final = frozenset(
    "it's its be guess guessing say that's this suspect bet choose pick they're think".split()
)
"""Words that open a guess by themselves ("I think violin")."""

PAIRED_LEADS: Final = frozenset(
    {
        *((verb, "it") for verb in ("is", "isn't", "was", "wasn't", "are", "aren't")),
        *((verb, "they") for verb in ("are", "aren't", "were")),
        *((verb, "that") for verb in ("is", "isn't")),
        *((noun, "is") for noun in ("it", "answer", "guess", "thing", "object", "secret", "this")),
        *((noun, "is") for noun in ("that", "word")),
        *((verb, "with") for verb in ("go", "going")),
        ("thinking", "of"),
    }
)
"""Pairs of words that open a guess ("my answer is a violin")."""

NUMBERS: Final = {
    word: number
    for number, word in enumerate(
        "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen"
        " sixteen seventeen eighteen nineteen twenty".split(),
        start=1,
    )
}
"""Number words in which a turn limit may be stated."""

AGREEMENTS: Final = frozenset(
    "yes yeah yep yup yea correct right indeed absolutely definitely exactly true sure affirmative"
    " certainly".split()
)
"""Words that make a user's reply a yes."""

REFUSALS: Final = frozenset("no nope nah incorrect wrong false negative".split()) | NEGATIONS
"""Words that make a user's reply a no."""

DOUBTS: Final = frozenset(
    {("not", "sure"), ("no", "idea"), ("don't", "know"), ("not", "certain"), ("can't", "say")}
)
"""Pairs of words that make a user's reply neither."""
