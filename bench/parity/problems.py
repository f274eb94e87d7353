"""Small programming problems: what is asked, tests, and solutions good and bad; odd tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem whose tests are a class `TestCases` of `unittest`."""

    entry_point: str
    """Name of the function asked for."""
    goal: str
    """What the function does."""
    requirement: str
    """How the code has to begin."""
    test: str
    """The tests."""
    solutions: tuple[str, ...]
    """Codes that pass and codes that do not: wrong, raising, no function, no Python, an exit."""


def _tests(*assertions: str) -> str:
    lines = ["import unittest", "", "", "class TestCases(unittest.TestCase):"]
    for number, assertion in enumerate(assertions, 1):
        lines += [f"    def test_{number}(self):", f"        {assertion}", ""]
    return "\n".join(lines)


PROBLEMS: Final = (
    Problem(
        "double",
        'Write a function that doubles a number and keeps text like "{x}" as it is.',
        "The code starts with:\n```\ndef double(value):\n```",
        _tests(
            "self.assertEqual(double(2), 4)",
            "self.assertEqual(double('{x}'), '{x}')",
            "self.assertEqual(double(-1.5), -3.0)",
        ),
        (
            "def double(value):\n    return value if isinstance(value, str) else value * 2\n",
            "def double(value):\n    if isinstance(value, str):\n        return value\n"
            "    return value + value",
            "def double(value):\n    return value * 2\n",
            "def double(value):\n    raise ValueError(\"no '{}'\".format(value))\n",
            "def twice(value):\n    return value * 2\n",
            "def double(value)\n    return value\n",
            "import sys\nsys.exit(0)\n",
        ),
    ),
    Problem(
        "vowels",
        "Count the vowels of a text; upper case counts too.",
        "Use this stub:\n\nimport re\n\ndef vowels(text: str) -> int:\n",
        _tests(
            "self.assertEqual(vowels('Ahoy'), 2)",
            "self.assertEqual(vowels(''), 0)",
            "self.assertEqual(vowels('tree\\nIce'), 4)",
        ),
        (
            "import re\n\ndef vowels(text: str) -> int:\n"
            "    return len(re.findall(r'[aeiou]', text, re.I))\n",
            "def vowels(text):\n    return sum(c in 'aeiouAEIOU' for c in text)\n",
            "def vowels(text):\n    return sum(c in 'aeiou' for c in text)\n",
            "def vowels(text):\n    print('counting\\n')\n    return len([c for c in text.lower()"
            ' if c in set("aeiou")])\n',
            'print("vowels")\n',
            "def vowels(text):\n    return {'a': 1}[text]\n",
        ),
    ),
    Problem(
        "invert",
        "Turn a mapping around; where two keys share a value, keep a sorted list of the keys.",
        "def invert(mapping):\n    '''Return {value: [keys]}.'''\n",
        _tests(
            "self.assertEqual(invert({'a': 1, 'b': 1, 'c': 2}), {1: ['a', 'b'], 2: ['c']})",
            "self.assertEqual(invert({}), {})",
            "self.assertEqual(invert({'b': 0, 'a': 0}), {0: ['a', 'b']})",
        ),
        (
            "def invert(mapping):\n    found = {}\n    for key in sorted(mapping):\n"
            "        found.setdefault(mapping[key], []).append(key)\n    return found\n",
            "def invert(mapping):\n    return {v: [k] for k, v in mapping.items()}\n",
            "def invert(mapping):\n    found = {}\n    for key, value in mapping.items():\n"
            "        found.setdefault(value, []).append(key)\n    return found\n",
            "from collections import defaultdict\n\ndef invert(mapping):\n"
            "    found = defaultdict(list)\n    for key, value in mapping.items():\n"
            "        found[value].append(key)\n    return {v: sorted(found[v]) for v in found}\n",
            "def invert(mapping):\n    return dict(zip(mapping.values(), mapping))",
        ),
    ),
)

_GOOD: Final = "def f(x):\n    return x\n"
_PASSES: Final = _tests("self.assertEqual(f(1), 1)")


def _odd(test: str, *solutions: str) -> Problem:
    return Problem("f", "", "", test, solutions)


ODDITIES: Final = (
    _odd(_tests("raise SystemExit(0)"), _GOOD),
    _odd(
        "import unittest\n\nclass TestCases(unittest.TestCase):\n"
        "    @unittest.expectedFailure\n    def test_a(self):\n        self.assertEqual(f(1), 2)\n",
        _GOOD,
    ),
    _odd(
        "import unittest\n\nclass TestCases(unittest.TestCase):\n"
        "    def setUp(self):\n        self.y = f(1)\n\n"
        "    def tearDown(self):\n        assert self.y == 1\n\n"
        "    def test_a(self):\n        self.assertEqual(self.y, f(1))\n",
        _GOOD,
        "def f(x):\n    return 2\n",
        "def f(x):\n    raise KeyError(x)\n",
    ),
    _odd(
        _PASSES,
        "",
        "import os\n\ndef f(x):\n    return int(os.path.basename('a/1'))\n",
        "def f(x):\n    print('text', x)\n    return x\n",
        "import sys\n\ndef f(x):\n    sys.exit(0)\n",
        "def f(x):\n    exit(0)\n",
        "y = input()\n\ndef f(x):\n    return x\n",
        "def f(x):\n    return f(x + 1) if x < 10 ** 6 else 1\n",
        "if __name__ == '__main__':\n    raise ValueError\n\n" + _GOOD,
        "def f(x):\n    with open('a.txt', 'w') as file:\n        file.write(str(x))\n"
        "    with open('a.txt') as file:\n        return int(file.read())\n",
        "def f(x):\n    return {'größe': x, '猫': 2}['größe']\n",
        "\u00a0def f(x):\n    return x\n",
        "\ufeff" + _GOOD,
        _GOOD + "\x00",
        'def f(x):\n    """Return x.\n\n    ```\n    f(1)\n    ```\n    """\n    return x\n',
        _GOOD.replace("\n", "\r\n"),
        "from __future__ import annotations\n\ndef f(x: Missing) -> Missing:\n    return x\n",
        "class f(int):\n    pass\n",
        "f = lambda x: x",
    ),
)
"""Codes and tests at the edges of what a check of code accepts, for golden values alone."""

DISPUTED: Final = (
    ("a test text without tests says nothing of the code", None, _odd("", _GOOD)),
    (
        "a test text without tests says nothing of the code",
        None,
        _odd("import unittest\n\nclass TestCases(unittest.TestCase):\n    pass\n", _GOOD),
    ),
    (
        "code between Markdown fences is code",
        1.0,
        _odd(_PASSES, "```python\n" + _GOOD + "```\n"),
    ),
    (
        "a test text that raises by itself says nothing of the code",
        None,
        _odd("raise ValueError('at import')\n" + _PASSES, _GOOD),
    ),
    (
        "tests are a text of their own, not the end of the code's",
        1.0,
        _odd("from __future__ import annotations\n" + _PASSES, _GOOD),
    ),
    (
        "code must not get past a test by skipping it",
        0.0,
        _odd(_PASSES, "import unittest\n\ndef f(x):\n    raise unittest.SkipTest('later')\n"),
    ),
    (
        "a test that was expected to fail and did not is no success, as unittest itself says",
        0.0,
        _odd(
            "import unittest\n\nclass TestCases(unittest.TestCase):\n"
            "    @unittest.expectedFailure\n"
            "    def test_a(self):\n        self.assertEqual(f(1), 2)\n",
            "def f(x):\n    return 2\n",
        ),
    ),
    (
        "code imports what it uses; the reference has `os`, `sys` and `environ` there for it",
        0.0,
        _odd(_PASSES, "def f(x):\n    return int(os.path.basename('a/1'))\n"),
    ),
)
"""Where Foresight differs on purpose: why, its score (None: a refusal), the problem."""
