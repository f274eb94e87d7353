"""Ask the reference for the values in `tests/golden/values.json`.

    .venv-parity/bin/python -m bench.parity.golden

The inputs are ours; each value is what the reference's own code gave for them.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, Final

from bench.parity import texts
from bench.parity.code_check import code_checkers, passes
from bench.parity.problems import DISPUTED, ODDITIES, PROBLEMS, Problem
from bench.parity.reference_side import prepare_environment

VALUES: Final = Path(__file__).parents[2] / "tests" / "golden" / "values.json"

# Where each value is defined: package or repository, file, line.
_SOURCES: Final = {
    "bleu": (
        "microsoft/CollabLLM da42a98: examples/metrics/bleu.py:28 gives raw strings to nltk 3.10.4:"
        " nltk/translate/bleu_score.py:45, so that characters are its tokens"
    ),
    "token_amount": (
        "microsoft/CollabLLM da42a98: examples/metrics/efficiency.py:11 (encoding), :38 (joined by"
        " a space), :42 (thousands); tiktoken 0.14.0, cl100k_base"
    ),
    "pass_rate": (
        "microsoft/CollabLLM da42a98: examples/metrics/pass_rate.py:37 (limits), :49 (all or"
        " nothing); bigcodebench 0.2.5: bigcodebench/eval/__init__.py:171, :218"
    ),
    "bleu_disputed": "as bleu",
    "pass_rate_disputed": "as pass_rate",
    "objective": "collabllm 0.0.8: collabllm/reward.py:144 (weighted sum, no cap, no clamp)",
}

_BLEU: Final = (
    ("the cat sat on the mat", "the cat sat on a mat"),
    ("the cat sat on the mat", "the cat sat on the mat"),
    ("the cat sat on the mat", "the mat the cat sat on"),
    ("the cat sat on the mat", "the cat"),
    ("the cat", "the cat sat on the mat"),
    ("abc", "abc"),
    ("abcd", "abcd"),
    ("a", "a"),
    ("a", "b"),
    ("abcdefgh", "stuvwxyz"),
    ("abcdefgh", "abcxyzgh"),
    ("aaaaaaaa", "aaaa"),
    ("aaaa", "aaaaaaaa"),
    ("abc", ""),
    ("Straße und Ærø", "Strasse und Ærø"),
    ("猫が好きです。", "犬が好きです。"),
    ("👩‍🚀 to the moon", "🚀 to the moon"),
    ("cafe\u0301 au lait", "café au lait"),
    ("one\ntwo\n\nthree", "one two three"),
    ("  padded text ", "padded text"),
    ("Case Matters Here", "case matters here"),
)

_TOKENS: Final[tuple[list[str], ...]] = (
    [""],
    ["Hello."],
    ["Hello.", "Hello."],
    ["", ""],
    ["one", "", "three"],
    [" leading", "trailing ", " both "],
    ["tabs\tand\n\nlines\r\n   and    blanks"],
    ["'Twas the dog's, I'd say; we'll, they've, you're, can't"],
    ["1234567890 3.14159 1,000,000 0x1F 1e-9"],
    ["def f(x):\n        return {'a': [x, \"b\"]}  # comment\n"],
    ["Straße, Ærø, žluť, naïve, cafe\u0301"],
    ["東京の猫が好きです。", "Москва", "مرحبا", "नमस्ते"],
    ["👩‍🚀🚀👍🏽", "\u200b\u00a0\u2028\ufeff"],
    ["<|endoftext|>", "a <|fim_prefix|> b <|endofprompt|>"],
    ["<|im_start|>user\nhi<|im_end|>"],
    ["\x00\x01\x7f\x1b[0m"],
    ["a" * 1000],
    [" " * 300 + "x", "\n" * 40],
    ["ab " * 400],
)

_WEIGHED: Final = (
    ((1.0,), (1.0,)),
    ((0.0,), (1.0,)),
    ((0.1, 0.2, 0.3), (1.0, 1.0, 1.0)),
    ((0.7, 0.1, 0.4), (1.0, 0.5, -0.5)),
    ((1.0, 1.0, 3.217), (1.0, 1.0, -0.5)),
    ((0.77625351448, 0.5, 12.5), (1.0, 1.0, -0.1)),
    ((1.0, 1.0, 1.0), (5.0, 7.0, -100.0)),
    ((7.0, -2.0), (1.0, 0.0)),
    ((0.333, 0.667, 0.001), (-2.25, 0.3, 1e-9)),
)


def main() -> None:
    """Write the values."""
    prepare_environment()
    with code_checkers() as checkers:
        values = {
            name: {"source": _SOURCES[name], "cases": list(rows)}
            for name, rows in (
                ("bleu", _bleu()),
                ("bleu_disputed", _bleu_disputed()),
                ("token_amount", _token_amount()),
                ("pass_rate", _pass_rate(checkers)),
                ("pass_rate_disputed", _disputed(checkers)),
                ("objective", _objective()),
            )
        }
    VALUES.write_text(json.dumps(values, indent=1, ensure_ascii=True) + "\n", "utf-8")


def _bleu() -> Iterator[dict[str, Any]]:
    from bench.parity.reference_rewards import bleu

    rng = random.Random("bleu")
    drawn = [(text, texts.edited(rng, text, 0.2)) for text in map(texts.document, [rng] * 5)]
    for reference, text in (*_BLEU, *drawn):
        yield {"reference": reference, "text": text, "value": bleu(reference, text)}


def _bleu_disputed() -> Iterator[dict[str, Any]]:
    from bench.parity.reference_rewards import bleu

    why = "without a reference there is nothing to be like"
    for text in ("", "abc"):
        row = {"reference": "", "text": text, "value": bleu("", text)}
        yield {**row, "foresight": None, "why": why}


def _token_amount() -> Iterator[dict[str, Any]]:
    from bench.parity.reference_rewards import token_amount

    rng = random.Random("token_amount")
    drawn = [[texts.message(rng), texts.message(rng)] for _ in range(8)]
    for contents in (*_TOKENS, *drawn):
        yield {"assistant": contents, "value": token_amount(contents)}


def _pass_rate(checkers: Executor) -> Iterator[dict[str, Any]]:
    for problem in (*PROBLEMS, *ODDITIES):
        yield from _checked(problem, checkers)


def _disputed(checkers: Executor) -> Iterator[dict[str, Any]]:
    for why, foresight, problem in DISPUTED:
        for row in _checked(problem, checkers):
            yield {**row, "foresight": foresight, "why": why}


def _checked(problem: Problem, checkers: Executor) -> Iterator[dict[str, Any]]:
    for code in problem.solutions:
        asked = (code, problem.test, problem.entry_point)
        value = checkers.submit(passes, *asked).result()
        fields = {"code": code, "test": problem.test, "entry_point": problem.entry_point}
        yield {**fields, "value": value}


def _objective() -> Iterator[dict[str, Any]]:
    from bench.parity.reference_rewards import weighted_sum

    for scores, weights in _WEIGHED:
        yield {"scores": scores, "weights": weights, "value": weighted_sum(scores, weights)}


if __name__ == "__main__":
    main()
