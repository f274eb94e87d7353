"""What a command writes: results to stdout, everything else to stderr.

Texts of conversations are hostile: a candidate may hold escape sequences that move the cursor, or
what looks like markup. Every text that did not come from this package goes through `printable` or
`one_line`, and no console here interprets markup.
"""

from __future__ import annotations

import sys
from typing import Any, Final, TextIO

from rich.console import Console

_JOINERS: Final = "\u200c\u200d"
"""Not printable by themselves, but part of words and of emoji."""

_PIPED_WIDTH: Final = 120
"""Columns of a table that no terminal shows."""


def output() -> Console:
    """Return the console for results."""
    return _console(sys.stdout)


def error_output() -> Console:
    """Return the console for progress."""
    return _console(sys.stderr)


def say(line: str) -> None:
    """Write one line to stdout, at once."""
    sys.stdout.write(f"{one_line(line)}\n")
    sys.stdout.flush()


def complain(line: str) -> None:
    """Write one line to stderr."""
    sys.stderr.write(f"{one_line(line)}\n")


def printable(text: str) -> str:
    """Return `text` with its lines, and everything else that a terminal would obey escaped."""
    return "\n".join(_escaped(line) for line in text.replace("\r\n", "\n").split("\n"))


def one_line(text: str, limit: int | None = None) -> str:
    """Return `text` as one line without control characters, of at most `limit` characters."""
    if limit is not None:
        # Escapes are longer than what they stand for; no more than the limit is ever needed.
        text = " ".join(text[: 20 * limit].split())
        shown = _escaped(text[: limit + 1])
        return shown if len(shown) <= limit else f"{shown[: limit - 1]}…"
    return _escaped(" ".join(text.split()))


def _escaped(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(_shown(character) for character in text)


def _shown(character: str) -> str:
    if character.isprintable() or character in _JOINERS:
        return character
    if character.isspace() and character not in "\x1c\x1d\x1e\x1f\x85\u2028\u2029":
        return " "
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _console(stream: TextIO) -> Console:
    options: dict[str, Any] = {} if stream.isatty() else {"width": _PIPED_WIDTH}
    return Console(file=stream, markup=False, emoji=False, highlight=False, **options)
