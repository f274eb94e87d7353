"""Runs untrusted code, then its tests, in one namespace; runs inside the sandbox.

It is fed to the interpreter as text, and imports the standard library and two modules that are fed
with it. Two threads share the work. The main thread executes code and tests, as they would expect;
no frame below them knows a secret. The other thread talks with the service, so that what it knows
(the token that proves that the code has been executed, the nonce that proves that the tests have
ended, the descriptor of the channel) can be reached only in ways that an audit hook sees.

The tests arrive after the code was executed. Before they run, and after those of each class,
everything that runs them has to be as it was before the code. Assertions are private copies, with
private globals and builtins, bound to each test.
"""

from __future__ import annotations

import _json
import _thread
import ast
import builtins
import functools
import json
import json.scanner
import os
import sys
import types
import unittest
from collections.abc import Callable

from foresight_services.sandbox.assertions import (
    Checked,
    Recorder,
    lies_about_equality,
    private_assertions,
)
from foresight_services.sandbox.machinery import Hooks, difference, fingerprint, guard, shadowed

TYPE_CHECKING = False
if TYPE_CHECKING:  # importing `typing` would take milliseconds of each run
    from typing import NoReturn

    Scan = Callable[[str, int], tuple[dict[str, object], int]]

CODE_NAME, TEST_NAME = "<code>", "<test>"


def work(tasks, done):  # type: ignore[no-untyped-def]  # it runs without the names of types
    """Run tasks of the other thread in the main thread; this frame has no secrets."""
    while True:
        tasks[0].acquire()
        try:
            tasks[1]()
            tasks[2] = None
        except BaseException as error:
            tasks[2] = error
        done.release()


class Harness:
    """Talks with the service; lives in a thread of its own."""

    def __init__(self, channel: int) -> None:
        self.started, self.done = _thread.allocate_lock(), _thread.allocate_lock()
        self.started.acquire()
        self.done.acquire()
        # A lock that is released when there is a task; the task; what it raised.
        self.tasks: list[object] = [self.started, None, None]
        # With globals of its own, and called where this text has no frame: no way back to here.
        self.work = types.FunctionType(work.__code__, {"__builtins__": dict(vars(builtins))})
        self.channel = channel
        self.main_thread = _thread.get_ident()
        self.hurried = False
        self.broken = ""
        # In C, and therefore not to be patched.
        self.read, self.write, self.leave = os.read, os.write, os._exit
        self.frames = sys._current_frames
        self.quote: Callable[[str], str] = _json.encode_basestring_ascii
        self.scan: Scan = json.scanner.make_scanner(json.JSONDecoder())  # type: ignore[arg-type]

    def receive(self) -> dict[str, object]:
        """Return the next message; leave when there is none."""

        def exactly(count: int) -> bytes:
            parts = b""
            while len(parts) < count:
                part = self.read(self.channel, count - len(parts))
                if not part:
                    self.leave(0)
                parts += part
            return parts

        message, _ = self.scan(exactly(int.from_bytes(exactly(4), "big")).decode(), 0)
        return message

    def send(self, message: dict[str, str], outcomes: dict[str, str] | None = None) -> None:
        """Send `message`, and `outcomes` in it."""

        def members(pairs: dict[str, str]) -> list[str]:
            return [f"{self.quote(key)}: {self.quote(value)}" for key, value in pairs.items()]

        parts = members(message)
        if outcomes is not None:
            parts.append(f'"outcomes": {{{", ".join(members(outcomes))}}}')
        text = f"{{{', '.join(parts)}}}".encode()
        text = len(text).to_bytes(4, "big") + text
        while text:
            text = text[self.write(self.channel, text) :]

    def on_main(self, task: Callable[[], object]) -> BaseException | None:
        """Run `task` in the main thread; return what it raised, or None."""
        self.tasks[1] = task
        self.started.release()
        self.done.acquire()
        # The code can reach the locks, and say that it has ended while it has not.
        top = self.frames()[self.main_thread]
        self.hurried = self.hurried or top.f_code is not self.work.__code__
        self.tasks[1] = None
        error = self.tasks[2]
        return error if isinstance(error, BaseException) else None

    def say(self, error: BaseException) -> None:
        """Tell about `error` on standard error, for people."""
        try:
            text = f"{type(error).__name__}: {str(error)[:500]}\n".encode("utf-8", "replace")
        except BaseException:
            text = b"an exception that cannot be told\n"
        self.write(2, text)

    def stop(self, token: str, stage: str, changed: str = "") -> NoReturn:
        """Say why there will be no tests, and leave."""
        self.send({"token": token, "stage": stage, "changed": changed})
        self.leave(0)

    def main(self) -> None:
        """Execute the code, then the tests, and report."""
        first = self.receive()
        token = str(first["token"])
        module = types.ModuleType("__test__")
        module.__dict__["__builtins__"] = builtins
        sys.modules["__test__"] = module
        before, modules, hooks, seen = fingerprint(), set(sys.modules), Hooks(), guard()
        self.execute(str(first.pop("code")), token, module)
        order = "the order of events" if self.hurried else None
        seen += filter(None, (order, difference(before, fingerprint()), hooks.changed()))
        seen += filter(None, (shadowed(vars(module)),))
        if seen:
            self.stop(token, "changed", seen[0])
        for name in set(sys.modules) - modules:
            # The tests get their own: this one was in the hands of the code.
            if name.startswith("unittest."):
                del sys.modules[name]
                vars(unittest).pop(name.partition(".")[2], None)
        self.send({"token": token, "stage": "loaded"})
        second = self.receive()
        outcomes = self.test(module, second, hooks, seen)
        seen += ["the order of events"] * self.hurried
        changed = seen[0] if seen else ""
        report = {"nonce": str(second["nonce"]), "changed": changed, "broken": self.broken}
        self.send(report, outcomes)
        self.leave(0)

    def execute(self, text: str, token: str, module: types.ModuleType) -> None:
        """Execute the code."""
        try:
            code = compile(text, CODE_NAME, "exec", dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError) as error:
            self.say(error)
            self.stop(token, "syntax")
        except MemoryError:
            self.stop(token, "memory")
        raised = self.on_main(functools.partial(exec, code, vars(module)))
        if isinstance(raised, MemoryError):
            self.stop(token, "memory")
        if raised is not None:
            self.say(raised)
            self.stop(token, "exited" if isinstance(raised, SystemExit) else "raised")

    def test(
        self, module: types.ModuleType, order: dict[str, object], hooks: Hooks, seen: list[str]
    ) -> dict[str, str]:
        """Execute the tests and the controls, run them, return the outcomes."""
        seed = str(order["seed"])
        name = f"_{seed}"

        def checked(value: object) -> object:
            if not seen and lies_about_equality(value):
                seen.append("equality")
            return value

        outcomes: dict[str, str] = {}
        cases: list[tuple[str, type[unittest.TestCase], Callable[[BaseException], object]]] = []
        controls = types.ModuleType("__control__")
        texts: tuple[tuple[types.ModuleType, object, Callable[[BaseException], object]], ...]
        texts = ((module, order["test"], self.say), (controls, order["controls"], str))
        for space, text, say in texts:
            tree = ast.fix_missing_locations(Checked(name).visit(ast.parse(str(text))))
            code = compile(tree, TEST_NAME, "exec", dont_inherit=True)
            vars(space).update({name: checked, "unittest": unittest})
            error = self.on_main(functools.partial(exec, code, vars(space)))
            if error is not None:
                self.say(error)
                self.broken = type(error).__name__
            labels = dict.fromkeys(n.name for n in tree.body if isinstance(n, ast.ClassDef))
            for label in labels:
                case = vars(space).get(label)
                if isinstance(case, type) and issubclass(case, unittest.TestCase):
                    cases.append((label, case, say))
        # From here: what the texts themselves changed is theirs to change.
        before, bind = fingerprint(), private_assertions(checked)
        first = int(seed, 16) % max(len(cases), 1)
        cases = cases[first:] + cases[:first]
        for label, case, tell in cases:
            self.on_main(functools.partial(run_case, label, case, bind, tell, outcomes))
            seen += filter(None, (difference(before, fingerprint()),))
            # Tests may well start threads.
            seen += filter(None, (hooks.changed(threads_too=False),))
        return outcomes


def run_case(
    label: str,
    case: type[unittest.TestCase],
    bind: Callable[[unittest.TestCase], None],
    say: Callable[[BaseException], object],
    outcomes: dict[str, str],
) -> None:
    """Run the tests of one class, in the main thread."""
    names = unittest.TestLoader().getTestCaseNames(case)
    try:
        case.setUpClass()
        for name in names:
            recorder = Recorder(say)
            try:
                test = case(name)
                bind(test)
                test.run(recorder)
            except BaseException as error:
                recorder.note("error", error)
            outcomes[f"{label}.{name}"] = recorder.outcome or "error"
        case.tearDownClass()
    except BaseException as error:
        say(error)
        outcome = "skipped" if isinstance(error, unittest.SkipTest) else "error"
        outcomes.update({f"{label}.{name}": outcome for name in names})
    finally:
        case.doClassCleanups()


def begin(channel: int) -> Callable[[], object]:
    """Start the thread that talks; return what the main thread has to do."""
    harness = Harness(channel)

    def talk() -> None:
        try:
            harness.main()
        except BaseException as error:
            harness.say(error)
        harness.leave(70)

    _thread.start_new_thread(talk, ())
    return functools.partial(harness.work, harness.tasks, harness.done)


CHANNEL: int
LAST = begin(CHANNEL)  # noqa: F821 - the supervisor sets it
