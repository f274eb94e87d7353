"""Text between Markdown fences."""

from __future__ import annotations

import pytest

from foresight_services.metrics.fenced import fenced_blocks, longest_block

SHORT = "```python\nf(1)\n```\n"
LONG = "```py\ndef f(x):\n    return x\n```\n"
BARE = "```\nplain and long, longer than all of the others\n```\n"
SHELL = "```sh\npip install something-long-and-longer-than-all\n```\n"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (f"First.\n{LONG}Use it:\n{SHORT}", "def f(x):\n    return x\n"),
        (f"{BARE}{SHORT}{SHELL}", "f(1)\n"),
        (f"{SHELL}{BARE}", "plain and long, longer than all of the others\n"),
        (SHELL, SHELL),
        ("print(1)", "print(1)"),
        ("", ""),
        ("   ```Python3 title=x\n    a\n   ```", "    a\n"),
        ("```python\nnever closed", "never closed"),
        ("````python\nf('''\n```\n''')\n````", "f('''\n```\n''')\n"),
        ("~~~python\na\n```\n~~~", "a\n```\n"),
    ],
)
def test_the_longest_block_in_the_language_is_taken(text: str, code: str) -> None:
    assert longest_block(text, ("python", "py", "python3")) == code


def test_of_equally_long_blocks_the_first_is_taken() -> None:
    assert longest_block("```py\na\n```\n```py\nb\n```", ("py",)) == "a\n"


def test_blocks_come_in_their_order() -> None:
    text = SHORT + BARE
    assert [language for language, _ in fenced_blocks(text)] == ["python", ""]
