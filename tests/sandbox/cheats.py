"""How code without the right answers tries to pass its tests, and what stops it."""

from __future__ import annotations

from typing import Final

from foresight_services.sandbox.port import TestStatus
from tests.sandbox.attempts import NOTHING, cheat

_FAILED, _TAMPERED = TestStatus.FAILED, TestStatus.TAMPERED
_EARLY = TestStatus.EXITED_EARLY
_PRINTS = "fingerprint of the test machinery"
_PRIVATE = "private copies of the assertions"

CHEATS: Final = (
    cheat("exit 0", "import sys\nsys.exit(0)", _EARLY, "SystemExit", "tests without a result"),
    cheat("_exit 0", "import os\nos._exit(0)", _EARLY, "exit with status 0 before", "no report"),
    cheat(
        "_exit 0 during a test",
        "import os\ndef task_func(x): os._exit(0)",
        _EARLY,
        "exit with status 0 during the tests",
        "no report",
    ),
    cheat(
        "exit 0 during a test",
        "import sys\ndef task_func(x): sys.exit(0)",
        _FAILED,
        "tests",
        "an exit in a test is an error",
    ),
    cheat(
        "killing itself",
        "import os\nos.kill(os.getpid(), 9)",
        TestStatus.CRASHED,
        "signal 9 before the tests",
        "no report",
    ),
    cheat(
        "crashing",
        "import ctypes\ndef task_func(x): ctypes.string_at(0)",
        TestStatus.CRASHED,
        "signal 11 during the tests",
        "no report",
    ),
    cheat(
        "printing a pass",
        "print('Ran 3 tests in 0.1s\\n\\nOK', flush=True)\n" + NOTHING,
        _FAILED,
        "tests",
        "results have a channel of their own",
    ),
    cheat(
        "writing a pass to every descriptor",
        """
        import os
        text = b'{"stage": "loaded", "token": "x"}'
        for fd in range(3, 64):
            try: os.write(fd, len(text).to_bytes(4, 'big') + text)
            except OSError: pass
        """
        + "\n",
        _TAMPERED,
        "report without the token",
        "token of the run",
    ),
    cheat(
        "closing every descriptor",
        "import os\nos.closerange(3, 256)\n" + NOTHING,
        _EARLY,
        "exit with status",
        "no report",
    ),
    cheat(
        "assertEqual that does nothing",
        "import unittest\nunittest.TestCase.assertEqual = lambda *a: None\n" + NOTHING,
        _TAMPERED,
        r"changed: unittest.case.TestCase.assertEqual",
        _PRINTS,
    ),
    cheat(
        "run that always passes",
        "import unittest\nunittest.TestCase.run = lambda s, r: r.addSuccess(s)\n" + NOTHING,
        _TAMPERED,
        "changed: unittest.case.TestCase.run",
        _PRINTS,
    ),
    cheat(
        "attribute access of tests",
        "import unittest\n"
        "unittest.TestCase.__getattribute__ = lambda s, n: lambda *a: None\n" + NOTHING,
        _TAMPERED,
        "changed: unittest.case.TestCase.__getattribute__",
        _PRINTS,
    ),
    cheat(
        "results that are always good",
        "import unittest\nunittest.TestResult.addFailure = lambda *a: None\n" + NOTHING,
        _TAMPERED,
        "changed: unittest.result.TestResult.addFailure",
        _PRINTS,
    ),
    cheat(
        "loader without tests",
        "import unittest\nunittest.TestLoader.getTestCaseNames = lambda *a: []\n" + NOTHING,
        _TAMPERED,
        "changed: unittest.loader.TestLoader.getTestCaseNames",
        _PRINTS,
    ),
    cheat(
        "code of an assertion",
        "import unittest\n"
        "unittest.TestCase.assertEqual.__code__ = (lambda s, a, b, msg=None: None).__code__\n"
        + NOTHING,
        _TAMPERED,
        "changed: unittest.case.TestCase.assertEqual",
        _PRINTS,
    ),
    cheat(
        "global name of unittest",
        "import unittest.case\nunittest.case.isinstance = lambda *a: True\n" + NOTHING,
        _TAMPERED,
        "changed: unittest.case.isinstance",
        _PRINTS,
    ),
    cheat(
        "another unittest",
        "import sys, types\nsys.modules['unittest'] = types.ModuleType('unittest')\n" + NOTHING,
        _TAMPERED,
        "changed: sys.modules",
        "hooks of the interpreter are looked at",
    ),
    cheat(
        "another import",
        "import builtins\nold = builtins.__import__\n"
        "builtins.__import__ = lambda *a, **k: old(*a, **k)\n" + NOTHING,
        _TAMPERED,
        "changed: builtins.__import__",
        _PRINTS,
    ),
    cheat(
        "another isinstance, for all",
        "import builtins\nbuiltins.isinstance = lambda *a: True\n" + NOTHING,
        _TAMPERED,
        "changed: builtins.isinstance",
        _PRINTS,
    ),
    cheat(
        "another isinstance, for the tests",
        "isinstance = lambda *a: True\n" + NOTHING,
        _TAMPERED,
        "changed: isinstance in the namespace",
        "names that tests rely on",
    ),
    cheat(
        "other builtins for the tests",
        "import builtins\n"
        "__builtins__ = dict(vars(builtins), AssertionError=SystemExit)\n" + NOTHING,
        _TAMPERED,
        "changed: builtins of the namespace",
        "names that tests rely on",
    ),
    cheat(
        "another parser for the tests",
        "import ast\nast.parse = lambda *a, **k: ast.Module([], [])\n" + NOTHING,
        _TAMPERED,
        "changed: ast.parse",
        _PRINTS,
    ),
    cheat(
        "other tools of the harness",
        "import json, os\njson.dumps = json.loads = os.write = os.read = None\n" + NOTHING,
        _FAILED,
        "tests",
        "the harness took its tools before",
    ),
    cheat(
        "tracing",
        "import sys\nsys.settrace(lambda *a: None)\n" + NOTHING,
        _TAMPERED,
        "changed: sys.settrace",
        "audit hook",
    ),
    cheat(
        "audit hook of its own",
        "import sys\nsys.addaudithook(lambda *a: None)\n" + NOTHING,
        _TAMPERED,
        "changed: sys.addaudithook",
        "audit hook",
    ),
    cheat(
        "looking for the token in memory",
        "import gc\nfound = [o for o in gc.get_objects() if isinstance(o, dict)]\n" + NOTHING,
        _TAMPERED,
        "changed: gc.get_objects",
        "audit hook",
    ),
    cheat(
        "frames of the harness",
        "import sys\nframes = sys._current_frames()\n" + NOTHING,
        _TAMPERED,
        "changed: sys._current_frames",
        "audit hook",
    ),
    cheat(
        "callers of the code",
        """
        import sys
        frame = sys._getframe()
        while frame is not None:
            text = str(frame.f_locals) + str(frame.f_globals)
            if "token" in text.replace('"token"', "") or "channel_fd" in frame.f_locals:
                sys.stderr.write("ESCAPED")
            frame = frame.f_back
        def task_func(x): return None
        """,
        _FAILED,
        "tests",
        "the harness has no frame below the code",
    ),
    cheat(
        "reading the tests before they run",
        """
        import os, select, sys
        for fd in range(3, 64):
            if select.select([fd], [], [], 0)[0] if os.path.exists(f"/proc/self/fd/{fd}") else 0:
                sys.stderr.write("ESCAPED")
        def task_func(x): return None
        """,
        _FAILED,
        "tests",
        "tests arrive after the code",
    ),
    cheat(
        "a thread",
        "import threading, time\n"
        "threading.Thread(target=time.sleep, args=(999,), daemon=True).start()\n" + NOTHING,
        _TAMPERED,
        "changed: threads",
        "hooks of the interpreter are looked at",
    ),
    cheat(
        "an alarm during the tests",
        "import signal\nsignal.signal(signal.SIGALRM, lambda *a: None)\n"
        "signal.setitimer(signal.ITIMER_REAL, 100)\n" + NOTHING,
        _TAMPERED,
        "changed: timer",
        "hooks of the interpreter are looked at",
    ),
)
