"""Say what would have been right, and which known name is nearest to a wrong one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name most like `name`, or None where none is like it."""
    matches = difflib.get_close_matches(name[:64], list(known), n=1, cutoff=0.6)
    return matches[0] if matches else None


def one_of(name: str, known: Iterable[str]) -> str:
    """Return a sentence that refuses `name`, quotes its start alone, and lists what is known."""
    names = sorted(known)
    close = nearest(name, names)
    hint = f"; did you mean {close!r}?" if close else ""
    return f"unknown {name[:64]!r}{hint} (known: {', '.join(names)})"
