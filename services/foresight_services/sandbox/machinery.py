"""Everything that runs tests, and how to see that code has changed it; used inside the sandbox.

It runs with a copy of the builtins, which code cannot reach.
"""

from __future__ import annotations

import _thread
import ast
import builtins
import gc
import json.decoder
import signal
import sys
import types
import unittest
import unittest.case
import unittest.util
from collections.abc import Mapping

Identity = tuple[object, ...]
Fingerprint = dict[str, dict[str, Identity]]

WATCHED = (
    ("unittest", unittest),
    ("unittest.case", unittest.case),
    ("unittest.result", unittest.result),
    ("unittest.suite", unittest.suite),
    ("unittest.loader", unittest.loader),
    ("unittest.util", unittest.util),
    ("ast", ast),
    ("json.decoder", json.decoder),
    ("types", types),
)
# What the tests call by these names decides what they see; honest code has other names to choose.
NOT_TO_SHADOW = frozenset(
    "AssertionError BaseException Exception __build_class__ __import__ abs all any bool callable "
    "getattr hasattr isinstance issubclass len repr round setattr sorted super type".split()
)
setitimer = signal.setitimer  # in C
VOLATILE = frozenset(("__warningregistry__", "_", "__abstractmethods__", "_abc_impl"))
EVENTS = frozenset(
    "gc.get_objects gc.get_referrers gc.get_referents sys._current_frames sys._current_exceptions "
    "sys.addaudithook sys.setprofile sys.settrace".split()
)


def is_memory(name: str | bytes) -> bool:
    """Whether `name` is the memory of a process."""
    text = name if isinstance(name, str) else name.decode(errors="replace")
    return text.startswith("/proc/") and text.endswith("/mem")


def guard() -> list[str]:
    """Watch what threads other than this one do; return the list of what they must not."""
    seen: list[str] = []
    kinds, own, ident = (str, bytes), _thread.get_ident(), _thread.get_ident

    def hook(event: str, args: tuple[object, ...]) -> None:
        if ident() == own:
            return
        if event in EVENTS:
            seen.append(event)
        elif event == "open" and isinstance(args[0], kinds) and is_memory(args[0]):
            seen.append("open of memory")

    sys.addaudithook(hook)
    return seen


def identity(value: object) -> Identity:
    """Return what identifies `value`: a function can change without becoming another one."""
    if isinstance(value, staticmethod | classmethod):
        value = value.__func__
    if isinstance(value, types.FunctionType):
        return (value, value.__code__, value.__defaults__, value.__kwdefaults__)
    return (value,)


def identities(members: Mapping[str, object]) -> dict[str, Identity]:
    """Return what identifies each of `members`."""
    return {name: identity(value) for name, value in members.items()}


def fingerprint() -> Fingerprint:
    """Return everything that runs tests, as {where: {name: identity}}."""
    prints = {"builtins": identities(vars(builtins))}
    for name, module in WATCHED:
        # Submodules that are imported later become attributes.
        members = {k: v for k, v in vars(module).items() if type(v) is not types.ModuleType}
        prints[name] = identities(members)
        for member in members.values():
            if isinstance(member, type) and member.__module__ == name:
                prints[f"{name}.{member.__qualname__}"] = identities(vars(member))
    return prints


def difference(before: Fingerprint, after: Fingerprint) -> str | None:
    """Return the first name that differs, or None."""
    for where, members in before.items():
        now = after.get(where, {})
        for name, known in members.items():
            found = now.get(name, ())
            same = len(known) == len(found) and all(map(_is, known, found))
            if not same and name not in VOLATILE:
                return f"{where}.{name}"
        added = now.keys() - members.keys() - VOLATILE
        if where == "unittest":
            added -= {"IsolatedAsyncioTestCase"}  # loaded when it is first asked for
        if added and where != "builtins":  # a new builtin shadows nothing
            return f"{where}.{min(added)}"
    return None


def _is(one: object, other: object) -> bool:
    return one is other


class Hooks:
    """The hooks of the interpreter, as they were at first."""

    def __init__(self) -> None:
        self.finders = list(sys.meta_path)
        self.threads = _thread._count()

    def changed(self, *, threads_too: bool = True) -> str | None:
        """Return the name of one that is set now, or None."""
        for name, found in (
            ("sys.modules", any(sys.modules.get(name) is not module for name, module in WATCHED)),
            ("sys.modules[builtins]", sys.modules.get("builtins") is not builtins),
            ("sys.settrace", sys.gettrace() is not None),
            ("sys.setprofile", sys.getprofile() is not None),
            ("gc.callbacks", bool(gc.callbacks)),
            ("sys.meta_path", sys.meta_path[: len(self.finders)] != self.finders),
            ("timer", any(setitimer(kind, 0)[0] for kind in (0, 1, 2))),
            ("threads", threads_too and _thread._count() > self.threads),
        ):
            if found:
                return name
        return None


def shadowed(namespace: Mapping[str, object]) -> str | None:
    """Return what in the code's namespace would mislead tests in it, or None."""
    if namespace.get("__builtins__") is not builtins:
        return "builtins of the namespace"
    names = NOT_TO_SHADOW & namespace.keys()
    return f"{min(names)} in the namespace" if names else None
