"""What hostile code tries, and what stops it: data for the tests and for `bench/sandbox_table.py`.

The code of an attempt is given where a candidate's code is expected. Attempts to get out say on
standard error what happened to them: `ESCAPED`, or the exception that stopped them. Words
in capitals between two @ stand for what a test prepares outside: a port, a secret, a process.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import Final

from foresight_services.sandbox.port import Limits, TestStatus

LIMITS: Final = Limits(
    cpu_seconds=3, wall_seconds=60, memory_mib=256, processes=16, output_kib=64, scratch_mib=8
)
BRIEF: Final = Limits(
    cpu_seconds=3, wall_seconds=1, memory_mib=256, processes=16, output_kib=64, scratch_mib=8
)
TEST: Final = """
import unittest

class TestCases(unittest.TestCase):
    def test_seven(self):
        self.assertEqual(task_func(7), 50)

    def test_zero(self):
        self.assertTrue(task_func(0) == 1)

    def test_type(self):
        self.assertIsInstance(task_func(2), int)
"""
HONEST: Final = "def task_func(x):\n    return x * x + 1\n"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt and its end."""

    name: str
    """What is tried."""
    code: str
    """The code."""
    status: TestStatus
    """What becomes of its tests."""
    stopped_by: str
    """Regular expression for `TestReport.stopped_by`."""
    told: str
    """Regular expression for standard error: what the code itself saw."""
    stops: str
    """What stops it, for people."""
    limits: Limits = LIMITS
    """What it may use."""


def escape(
    name: str,
    body: str,
    told: str,
    stops: str,
    status: TestStatus = TestStatus.FAILED,
    stopped_by: str = "tests",
) -> Attempt:
    """Return an attempt that tells how it fared, and then gives wrong answers."""
    code = (
        "import ctypes, os, resource, signal, socket, sys, threading, time\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "def call(name, *args):\n"
        "    if getattr(libc, name)(*args) < 0:\n"
        "        raise OSError(ctypes.get_errno(), name)\n"
        "try:\n"
        f"{textwrap.indent(textwrap.dedent(body).strip(), '    ')}\n"
        "    os.write(2, b'ESCAPED\\n')\n"
        "except Exception as error:\n"
        "    os.write(2, f'{type(error).__name__}: {error}\\n'.encode())\n"
        "def task_func(x):\n"
        "    return None\n"
    )
    return Attempt(name, code, status, stopped_by, told, stops)


def cheat(
    name: str, code: str, status: TestStatus, stopped_by: str, stops: str, told: str = ""
) -> Attempt:
    return Attempt(name, textwrap.dedent(code), status, stopped_by, told, stops)


NOTHING = "def task_func(x):\n    return None\n"
FILTER = "filter of system calls"

EXHAUSTION: Final = (
    escape("fork bomb", "while True: os.fork()", "BlockingIOError", "limit of processes"),
    Attempt(
        "fork bomb that never gives up",
        "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass\n",
        TestStatus.TIMED_OUT,
        "limit of CPU time",
        "",
        "limits of processes and, for all together, CPU time",
    ),
    escape(
        "threads without end",
        "while True: threading.Thread(target=time.sleep, args=(99,), daemon=True).start()",
        "RuntimeError: can't start new thread|MemoryError",
        "limit of processes",
        TestStatus.TAMPERED,
        "changed: threads",
    ),
    escape("memory in one piece", "bytearray(1 << 30)", "MemoryError", "limit of address space"),
    Attempt(
        "memory in many pieces",
        "kept = []\nwhile True: kept.append(bytearray(1 << 20))\n",
        TestStatus.MEMORY,
        "limit of memory",
        "",
        "limit of address space",
    ),
    Attempt(
        "memory in many processes",
        "import os, signal\nfor _ in range(8):\n    if os.fork() == 0: break\n"
        "kept = bytearray(150 << 20)\nfor at in range(0, len(kept), 4096): kept[at] = 1\n"
        "signal.pause()\n",
        TestStatus.MEMORY,
        "limit of memory",
        "",
        "supervisor: memory of all processes together",
    ),
    escape("memory in memfd", "os.memfd_create('x')", "PermissionError", FILTER),
    escape(
        "System V shared memory", "call('shmget', 0, 1 << 28, 0o1600)", "PermissionError", FILTER
    ),
    escape(
        "memory as files in /dev/shm",
        "open('/dev/shm/x', 'wb').write(bytes(20 << 20))",
        r"OSError: \[Errno (27|28)\]",
        "size of the tmpfs",
    ),
    Attempt(
        "endless standard output",
        "import os\nwhile True: os.write(1, b'x' * 65536)\n",
        TestStatus.OUTPUT,
        "limit of output",
        "",
        "limit of output",
    ),
    Attempt(
        "endless standard error",
        "import os\nwhile True: os.write(2, b'x' * 65536)\n",
        TestStatus.OUTPUT,
        "limit of output",
        "",
        "limit of output",
    ),
    escape(
        "endless output to a file",
        "f = open('x', 'wb', buffering=0)\nwhile True: f.write(bytes(1 << 20))",
        r"OSError: \[Errno (27|28)\]",
        "size of the scratch folder",
    ),
    escape(
        "endless output to many files",
        "for n in range(99):\n    f = open(f'{n}', 'wb', buffering=0)\n    f.write(bytes(1 << 20))",
        r"OSError: \[Errno 28\]",
        "size of the scratch folder",
    ),
    Attempt(
        "files without end",
        "n = 0\nwhile True:\n    open(f'/scratch/{n}', 'w').close()\n    n += 1\n",
        TestStatus.FILES,
        "limit of files",
        "",
        "supervisor: number of files",
    ),
    escape(
        "open files without end",
        "kept = []\nwhile True: kept.append(open('/dev/null'))",
        r"OSError: \[Errno 24\]",
        "limit of open files",
    ),
    Attempt(
        "computing without end",
        "while True: pass\n",
        TestStatus.TIMED_OUT,
        "limit of CPU time",
        "",
        "limit of CPU time",
    ),
    Attempt(
        "sleeping without end",
        "import time\ntime.sleep(10**6)\n",
        TestStatus.TIMED_OUT,
        "limit of wall time",
        "",
        "limit of wall time",
        BRIEF,
    ),
    Attempt(
        "ignoring every signal",
        "import signal\n"
        "for n in set(signal.valid_signals()) - {9, 19}:\n"
        "    try:\n        signal.signal(n, signal.SIG_IGN)\n"
        "    except (OSError, ValueError):\n        pass\n"
        "while True: pass\n",
        TestStatus.TIMED_OUT,
        "limit of CPU time",
        "",
        "SIGKILL for the whole namespace",
    ),
    escape(
        "raising its own limits",
        "resource.setrlimit(resource.RLIMIT_AS, (-1, -1))",
        "ValueError: not allowed to raise",
        "no capabilities",
    ),
    escape(
        "lowering the limits of its supervisor",
        "resource.prlimit(1, resource.RLIMIT_CPU, (0, 0))",
        "PermissionError",
        FILTER,
    ),
    Attempt(
        "dumping core",
        "import os, resource\nassert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)\n"
        "os.abort()\n",
        TestStatus.CRASHED,
        "signal 6 before the tests",
        "",
        "limit of core size",
    ),
)
