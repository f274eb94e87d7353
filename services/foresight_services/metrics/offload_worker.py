"""The other end of `offload`: a process that calls functions for metrics, one after another.

It reads a line of JSON from standard input and writes one to standard output: `load` imports a
function, `call` calls it. It ends with its standard input, and after an error, so that no state
that a failure left behind meets another conversation.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable
from typing import Final

MEMORY_BYTES: Final = 2 << 30
"""Address space of one worker, as far as the system can limit it."""

_OWN: Final = "foresight_services.metrics."


def main() -> None:
    """Serve until standard input ends or a call fails."""
    _limit_memory()
    # What a library prints must not pass for an answer.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="ascii")
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    functions: dict[str, Callable[..., object]] = {}
    for line in sys.stdin.buffer:
        answer = _answer(json.loads(line), functions)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
        if "error" in answer:
            return


def _answer(
    question: dict[str, object], functions: dict[str, Callable[..., object]]
) -> dict[str, object]:
    try:
        match question:
            case {"load": str(name)}:
                functions[name] = _imported(name)
                return {"value": None}
            case {"call": str(name), "args": list(args), "kwargs": dict(kwargs)}:
                return {"value": functions[name](*args, **kwargs)}
        return {"error": "LookupError"}
    # Told by its type alone, because its text can hold that of the conversation.
    except Exception as error:
        return {"error": type(error).__name__}


def _imported(name: str) -> Callable[..., object]:
    module, _, function = name.partition(":")
    if not module.startswith(_OWN):
        raise ValueError("a worker calls functions of metrics only")
    found = getattr(importlib.import_module(module), function)
    if not callable(found):
        raise TypeError("a worker calls functions")
    return found  # type: ignore[no-any-return]


def _limit_memory() -> None:
    if sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))


if __name__ == "__main__":
    main()
