"""Random texts, each a function of the generator that it is given.

They are hard on prompts and parsers: quotes of every kind, braces, backslashes, line breaks, other
scripts, names of prompt fields, lines that look like another speaker's. None spells a number, and
none reads like what an assistant would say in the user's place.
"""

from __future__ import annotations

import json
import random
from typing import Final

_WORDS: Final = (
    "amber anchor apricot arcade autumn bakery balcony bamboo barley basket beacon bicycle birch "
    "blanket border bottle branch bridge bronze bucket butter canal candle canvas carpet cedar "
    "cellar chalk cherry circle clay cliff clover coast cobalt coffee copper coral corner cotton "
    "cradle curtain dahlia desert dough dragon drawer ember engine fabric falcon feather fennel "
    "fiddle forest fossil garden ginger glacier granite gravel hammer harbor harvest hazel hollow "
    "honey island ivory jasmine kettle ladder lagoon lantern lemon linen lumber magnet maple "
    "marble meadow mirror mosaic needle nickel olive orchard oyster paddle parcel pebble pepper "
    "pillow pocket prairie quarry quartz ribbon river rocket saddle saffron sailor sandal shelf "
    "shadow silver sparrow spindle stable summit tangle temple thicket thistle timber tunnel "
    "turnip valley velvet violin walnut willow window winter yarrow zephyr "
    "café naïve Straße žluť Ærø smörgås 東京 猫 Москва δέλτα مرحبا नमस्ते 🚀 👩‍🚀 e\u0301tude"
).split()

_DECORATIONS: Final = (
    "{0}",
    "{0}",
    "{0}",
    "**{1}**: {0}",
    "- {0}\n- {1}",
    "# {1}\n\n{0}",
    "> {0}\n\n`{1}`",
    "```python\nprint('{1}', \"{1}\")\n```\n{0}",
    '{0} It says "{1}".',
    "{0} It's {1}'s, isn't it?",
    "{0} “{1}” and ‘{1}’…",
    "{0} $\\frac{{{1}}}{{2}} \\neq \\beta$",
    "{0} C:\\new\\table\\{1}",
    '{0} {{"{1}": [1, {{"a": null}}], "b": "c"}}',
    "{0} {{goal}} {{chat_history}} {{{{{1}}}}} {{}} %s $x",
    "{0}\n\n\n{1}\t\ttabs\tand  blanks",
    "| {1} | b |\n|---|---|\n| {0} | d |",
    "{0} <b>{1}</b> &amp; <{1}>",
    "**User**: {1}\n{0}",
    "{0}\u00a0{1}\u200b—\u2028{1}",
)

_EDGES: Final = ("", "", "", "", " ", "\n", "  \n\n", "\t")


def sentence(rng: random.Random, least: int = 4, most: int = 14) -> str:
    """Return some words and a mark after them."""
    words = rng.choices(_WORDS, k=rng.randint(least, most))
    return " ".join(words) + rng.choice((".", "?", "!", "", "..."))


def message(rng: random.Random, most_sentences: int = 4) -> str:
    """Return a message: some sentences, some of them decorated."""
    parts = [
        rng.choice(_DECORATIONS).format(sentence(rng), rng.choice(_WORDS))
        for _ in range(rng.randint(1, most_sentences))
    ]
    return rng.choice((" ", "\n", "\n\n")).join(parts)


def edges(rng: random.Random, text: str) -> str:
    """Return `text`, sometimes with white space around it."""
    return rng.choice(_EDGES) + text + rng.choice(_EDGES)


def document(rng: random.Random) -> str:
    """Return a short document of some paragraphs."""
    paragraphs = (
        " ".join(sentence(rng, 6, 16) for _ in range(rng.randint(1, 3)))
        for _ in range(rng.randint(1, 4))
    )
    return rng.choice(("", "# Title\n\n")) + "\n\n".join(paragraphs)


def edited(rng: random.Random, text: str, share: float) -> str:
    """Return `text` with about `share` of its words left out, doubled or replaced."""
    words: list[str] = []
    for word in text.split(" "):
        chance = rng.random()
        if chance >= share:
            words.append(word)
        elif chance >= share * 2 / 3:
            words.extend((word, word))
        elif chance >= share / 3:
            words.append(rng.choice(_WORDS))
    return " ".join(words)


def shaped(rng: random.Random, members: dict[str, str | int | float]) -> str:
    """Return `members` as an object in one of the shapes in which models write JSON.

    Only shapes that the reference's parser reads as they were meant: what is quoted three times
    has no backslash, and nothing around the object has a brace.
    """
    shapes = [_json, _indented, _raw_line_breaks, _trailing_comma, _single_quoted]
    texts = [text for text in members.values() if isinstance(text, str)]
    if all("\\" not in t and '"""' not in t and t.strip('"') == t for t in texts):
        shapes.append(_triple_quoted)
    text = rng.choice(shapes)(members)
    wrap = rng.choice(("{}", "{}", "```json\n{}\n```", "```\n{}\n```", "Reply:\n{}\nThat is all."))
    return wrap.format(text)


def _json(members: dict[str, str | int | float]) -> str:
    return json.dumps(members, ensure_ascii=False)


def _indented(members: dict[str, str | int | float]) -> str:
    return json.dumps(members, ensure_ascii=False, indent=2)


def _raw_line_breaks(members: dict[str, str | int | float]) -> str:
    lines = (
        f"{json.dumps(key)}: {_json_value(value).replace(chr(92) + 'n', chr(10))}"
        if isinstance(value, str) and "\\" not in value
        else f"{json.dumps(key)}: {_json_value(value)}"
        for key, value in members.items()
    )
    return "{" + ", ".join(lines) + "}"


def _trailing_comma(members: dict[str, str | int | float]) -> str:
    lines = (f"  {json.dumps(key)}: {_json_value(value)},\n" for key, value in members.items())
    return "{\n" + "".join(lines) + "}"


def _single_quoted(members: dict[str, str | int | float]) -> str:
    return "{" + ", ".join(f"'{key}': {_single(value)}" for key, value in members.items()) + "}"


def _triple_quoted(members: dict[str, str | int | float]) -> str:
    lines = (
        f'"{key}": """{value}"""' if isinstance(value, str) else f'"{key}": {value}'
        for key, value in members.items()
    )
    return "{\n" + ",\n".join(lines) + "\n}"


def _json_value(value: str | int | float) -> str:
    return json.dumps(value, ensure_ascii=False)


def _single(value: str | int | float) -> str:
    if not isinstance(value, str):
        return str(value)
    escaped = value.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
    return f"'{escaped}'"
