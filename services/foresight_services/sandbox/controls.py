"""Control tests: tests with a known outcome that are mixed among the real ones.

Code that makes every assertion hold, or counts what it likes, gives a control the wrong outcome.
They are drawn anew for each run, are written in the style of real tests, and come after the code
has been executed, so nothing in the code can know them by name or by value.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

_PER_OUTCOME: Final = 3
_BAD: Final = (
    "self.assertEqual({a}, {b})",
    "self.assertTrue({a} == {b})",
    "self.assertIn({a}, [{b}])",
    "self.assertAlmostEqual({a}, {b})",
    "self.assertIsNone({a})",
    "self.assertListEqual([{a}], [{b}])",
    "self.assertDictEqual({{'k': {a}}}, {{'k': {b}}})",
    "self.assertGreater(min({a}, {b}), max({a}, {b}))",
    "self.assertIsInstance({a}, str)",
    "assert {a} == {b}",
    "self.assertRaises(ValueError, int, '{a}')",
    "self.fail('{a}')",
)
_GOOD: Final = (
    "self.assertEqual({a}, {a})",
    "self.assertNotEqual({a}, {b})",
    "self.assertIn({a}, [{a}, {b}])",
    "self.assertTrue(len([{a}, {b}]) == 2)",
    "self.assertRaises(ValueError, int, 'x{a}')",
    "assert sorted([{a}, {b}]) == [min({a}, {b}), max({a}, {b})]",
)


@dataclass(frozen=True, slots=True)
class Controls:
    """Control tests of one run."""

    source: str
    """A test module."""
    outcomes: dict[str, str]
    """The outcome that each must have, by `class.method`."""


def draw_controls(rng: random.Random) -> Controls:
    """Draw control tests that must pass and ones that must fail."""
    case = f"Test{rng.choice('ABCDEFGHIJKLMNOPQRSTUVWXYZ')}{rng.getrandbits(32):x}"
    drawn = [("failed", text) for text in rng.sample(_BAD, _PER_OUTCOME)]
    drawn += [("passed", text) for text in rng.sample(_GOOD, _PER_OUTCOME)]
    rng.shuffle(drawn)
    lines = ["import unittest", f"class {case}(unittest.TestCase):"]
    outcomes = {}
    for outcome, text in drawn:
        a, b = rng.sample(range(1_000_000), 2)
        method = f"test_{rng.getrandbits(32):x}"
        lines += [f"    def {method}(self):", f"        {text.format(a=a, b=b)}"]
        outcomes[f"{case}.{method}"] = outcome
    return Controls("\n".join(lines), outcomes)
