"""What a user model's reply says, however it is written."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foresight_services.simulator.prompting.parsing import UserReply, parse_user_reply

LINES = "first line\nsecond line"

READ = [
    # JSON as asked for.
    ('{"thought": "t", "message": "hello", "done": false}', "hello", False),
    ('{"thought": "t", "message": "bye", "done": true}', "bye", True),
    ('  \n{"message": "  spaces around  "}\n ', "spaces around", False),
    ('\ufeff{"message": "after a mark"}', "after a mark", False),
    ('{"done": true, "message": "any order", "thought": ""}', "any order", True),
    (
        '{"response": "the other name", "thought": "", "current_answer": ""}',
        "the other name",
        False,
    ),
    ('{"Message": "capital key", "Done": true}', "capital key", True),
    (
        '{"message": "more keys", "mood": 3, "list": [1, {"a": 2}], "done": false}',
        "more keys",
        False,
    ),
    # Strings stay strings.
    ('{"message": "42", "done": false}', "42", False),
    ('{"message": "true", "done": false}', "true", False),
    ('{"message": "null"}', "null", False),
    ('{"message": "1_000"}', "1_000", False),
    ('{"message": "1e999"}', "1e999", False),
    ('{"message": "007"}', "007", False),
    ('{"message": 42}', "42", False),
    ('{"message": 1e3}', "1e3", False),
    ('{"message": 1_000}', "1_000", False),
    ('{"message": 0.10}', "0.10", False),
    ('{"message": true}', "true", False),
    ('{"message": NaN}', "NaN", False),
    ('{"message": null, "done": true}', "", True),
    ('{"message": ""}', "", False),
    # How `done` is told.
    ('{"message": "m", "done": "true"}', "m", True),
    ('{"message": "m", "done": "false"}', "m", False),
    ('{"message": "m", "done": 1}', "m", True),
    ('{"message": "m", "done": 0}', "m", False),
    ('{"message": "m", "done": null}', "m", False),
    ("{'message': 'm', 'done': True}", "m", True),
    # Fences and prose.
    ('```json\n{"message": "fenced"}\n```', "fenced", False),
    ('```\n{"message": "plain fence"}\n```', "plain fence", False),
    ('```json\n{"message": "fence left open"}', "fence left open", False),
    (
        '```json\n{"message": "a ```py\\nx = 1\\n``` in it"}\n```',
        "a ```py\nx = 1\n``` in it",
        False,
    ),
    ('{"message": "then prose"}\nI hope this fits {the role}.', "then prose", False),
    ('Here is the JSON:\n{"message": "prose first"}', "prose first", False),
    ('With {braces} and { more }: {"message": "found"} bye {y}', "found", False),
    ('{"message": "the first"}\n{"message": "not the second"}', "the first", False),
    ('{"reply": {"message": "wrapped", "done": true}}', "wrapped", True),
    ('[{"message": "in a list"}]', "in a list", False),
    ('{{"message": "double braces"}}', "double braces", False),
    ('<think>{"message": "no"} hm</think>\n{"message": "thought first"}', "thought first", False),
    ('so they say</think>{"message": "opened by the template"}', "opened by the template", False),
    ('{"message": "what does </think> mean?"}', "what does </think> mean?", False),
    # Quotes of every kind.
    ("{'message': 'single'}", "single", False),
    ("{'message': 'I don't know', 'done': False}", "I don't know", False),
    ("{'message': 'it\\'s escaped'}", "it's escaped", False),
    ('{"message": \'mixed\', "done": true}', "mixed", True),
    ('{"message": """triple""", "done": false}', "triple", False),
    (f'{{"message": """{LINES}""", "done": true}}', LINES, True),
    ('{"message": """he said "hi"""", "done": false}', 'he said "hi"', False),
    ("{'message': '''it's \"both\"''', 'done': True}", 'it\'s "both"', True),
    ("{“message”: “typeset”, “done”: true}", "typeset", True),
    ('{"message": `ticks`}', "ticks", False),
    ('{"message": "I said "no", twice", "done": false}', 'I said "no", twice', False),
    ('{"message": "the set {"a"}", "done": true}', 'the set {"a"}', True),
    ('{"message": "ends in "quotes"", "done": true}', 'ends in "quotes"', True),
    ('{"message": "", "done": true}', "", True),
    # What is missing or too much.
    (f'{{"message": "{LINES}"}}', LINES, False),
    ('{"message": "tab\there"}', "tab\there", False),
    ('{"message": "trailing comma", "done": true,}', "trailing comma", True),
    ('{"thought": "no comma"\n "message": "here"\n "done": true}', "here", True),
    ('{"thought": "x",, "message": "two commas"}', "two commas", False),
    ('{"message": "brace too many"}}', "brace too many", False),
    ('{"message": "brace missing", "done": true', "brace missing", True),
    ('{"message": "cut off in the mid', "cut off in the mid", False),
    ('"thought": "x", "message": "no braces", "done": true', "no braces", True),
    ("{message: bare words, done: true}", "bare words", True),
    ("{message: I think, therefore I am, done: false}", "I think, therefore I am", False),
    ("{\n  message: hi there\n  done: true\n}", "hi there", True),
    # Escapes.
    (r'{"message": "a\nb\t\"c\" \\ \/"}', 'a\nb\t"c" \\ /', False),
    (r'{"message": "caf\u00e9 \ud83d\ude00"}', "café 😀", False),
    (r'{"message": "lone \ud800"}', "lone \ufffd", False),
    (r"{'message': 'caf\u00e9 \ud83d\ude00'}", "café 😀", False),
    (r'{"message": "in C:\dir \d"}', r"in C:\dir \d", False),
    (r'{"message": "\frac{1}{2} + \beta"}', r"\frac{1}{2} + \beta", False),
    (r'{"message": "\\frac{1}{2}"}', r"\frac{1}{2}", False),
    # No JSON at all.
    ("just what the person says", "just what the person says", False),
    ("42", "42", False),
    ("User: a label first", "a label first", False),
    ("**User**: a label in bold", "a label in bold", False),
    ("what does f(x) = {x | x > 0} mean?", "what does f(x) = {x | x > 0} mean?", False),
    ("lone \ud800 surrogate", "lone \ufffd surrogate", False),
    ("", "", False),
    ("<think>never ends", "", False),
]

UNREADABLE = [
    "{",
    "{}",
    '{"thought": "only this"}',
    '{"thought": "cut off in the thou',
    '{"message": ["a", "list"]}',
    '{"message": {"text": "nested"}}',
    '```json\n{"thought": "t"}\n```',
    '{"msg": "another key"}',
    '{"thought": "t" "message"}',
]


@pytest.mark.parametrize(("text", "message", "done"), READ)
def test_the_message_is_read(text: str, message: str, done: bool) -> None:
    assert parse_user_reply(text) == UserReply(message, done)


@pytest.mark.parametrize("text", UNREADABLE)
def test_a_broken_object_is_no_message(text: str) -> None:
    assert parse_user_reply(text) is None


def test_plain_text_is_no_message_where_json_is_demanded() -> None:
    assert parse_user_reply("just text", plain_text=False) is None
    assert parse_user_reply('{"message": "json"}', plain_text=False) == UserReply("json", False)


# A form feed or backspace before a letter is read as a formula's backslash.
TEXTS = st.text(st.characters(exclude_characters="\x08\x0c", codec="utf-8"))


@given(
    thought=TEXTS,
    message=TEXTS,
    done=st.booleans(),
    ascii_only=st.booleans(),
    indent=st.sampled_from([None, 2]),
    around=st.sampled_from(
        ["{}", "```json\n{}\n```", "Sure:\n{}", "{}\nDone.", "<think>hm</think>{}"]
    ),
)
def test_json_comes_back_as_it_was_written(
    thought: str, message: str, done: bool, ascii_only: bool, indent: int | None, around: str
) -> None:
    written = json.dumps(
        {"thought": thought, "message": message, "done": done},
        ensure_ascii=ascii_only,
        indent=indent,
    )

    read = parse_user_reply(around.replace("{}", written, 1))

    assert read == UserReply(message.strip(), done)


@given(st.text(alphabet="{}[]\"'`“”,:\\\n aemsgtdonu1", max_size=80))
def test_any_text_is_a_message_or_none(text: str) -> None:
    read = parse_user_reply(text)

    assert read is None or read.message == read.message.strip()


HOSTILE: dict[str, Any] = {
    "braces": "{",
    "keys": '{"a":',
    "bare keys": "{a:",
    "nested lists": "[",
    "quotes": '"',
    "both quotes": "\"'",
    "quotes and blanks": '"' + " " * 999,
    "commas and blanks": '",' + " " * 999,
    "escapes": "\\",
    "commas": ",",
    "fences": "```json\n",
    "key without a value": '"message" ',
    "objects without an end": '{"message":"x"y',
    "members without commas": '{"a": "b" ',
    "blanks": " ",
    "bare words": "a, ",
    "surrogates": "\\ud800",
}


@pytest.mark.parametrize(
    "start", ["", '{"message": ', '{"message": "', "{message: ", '{"a": {"b": [']
)
@pytest.mark.parametrize("unit", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_megabyte_takes_bounded_work(start: str, unit: str) -> None:
    # Of quadratic work this would never come to an end.
    size = 1 << 20 if start == "" else 1 << 17
    parse_user_reply(start + unit * (size // len(unit)))
