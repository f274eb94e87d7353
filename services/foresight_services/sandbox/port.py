"""What callers of the sandbox see: programs and what became of them, tests and their report.

Invariant: what the code did is a result, however bad; what the sandbox could not do is an error.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Protocol

Message = dict[str, object]
"""One JSON object on the channel between a program and the service."""


class Channel(Protocol):
    """The service's end of a program's channel; its other end is in untrusted hands."""

    async def send(self, message: Message) -> None:
        """Send `message`; says nothing when nobody is left to read it."""

    async def receive(self) -> Message | None:
        """Return the next message, or None when what came is none, or nothing comes any more."""


Dialogue = Callable[[Channel], Awaitable[None]]


class Stop(StrEnum):
    """Why a program ended."""

    EXITED = "exited"
    """It ended by itself, with whatever exit status."""
    SIGNALLED = "signalled"
    """A signal ended it that no limit sent: a crash, or one that it sent itself."""
    WALL_TIME = "wall_time"
    """It took longer than `wall_seconds`."""
    CPU_TIME = "cpu_time"
    """It and its children computed for longer than `cpu_seconds`."""
    MEMORY = "memory"
    """It and its children together held more than `memory_mib`."""
    PROCESSES = "processes"
    """It and its children were more than `processes`."""
    FILES = "files"
    """It made more files than the scratch folder may hold."""
    OUTPUT = "output"
    """It wrote more than `output_kib`."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one program may use, all of its processes together unless it says otherwise."""

    cpu_seconds: float = 20.0
    """Seconds of CPU time."""
    wall_seconds: float = 30.0
    """Seconds from start to end."""
    memory_mib: int = 1024
    """MiB of memory; also the address space of each single process."""
    processes: int = 32
    """Processes and threads at once."""
    output_kib: int = 1024
    """KiB that may be written to standard output, and as many to standard error."""
    scratch_mib: int = 64
    """MiB of files in the scratch folder, the only place that can be written to."""


@dataclass(frozen=True, slots=True)
class Program:
    """A program to run."""

    source: str
    """Python text; it runs as `__main__`, in the scratch folder, with empty standard input. The
    global name `CHANNEL` is the file descriptor of its channel; what it calls `LAST`, if anything,
    is called after it. Its builtins are a copy."""
    modules: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Texts of modules that it can import, by name, until it has run."""
    dialogue: Dialogue | None = None
    """What the service says and hears on the channel while the program runs."""


@dataclass(frozen=True, slots=True)
class Completed:
    """What became of a program."""

    stop: Stop
    """Why it ended."""
    exit_code: int | None
    """Its exit status if it ended by itself, else None."""
    signal: int | None
    """Number of the signal that ended it, if one did."""
    stdout: bytes
    """What it wrote to standard output, up to the limit; hostile."""
    stderr: bytes
    """What it wrote to standard error, up to the limit; hostile."""
    seconds: float
    """Wall time from start to end, the start of the sandbox included."""


class TestStatus(StrEnum):
    """What became of the tests; every status but `PASSED` is the code's own doing."""

    __test__ = False  # pytest collects what is called Test...

    PASSED = "passed"
    """Every test passed."""
    FAILED = "failed"
    """The tests ran, and some did not pass."""
    SYNTAX_ERROR = "syntax_error"
    """The code is no Python."""
    CODE_RAISED = "code_raised"
    """The code raised an exception before the tests could run."""
    NOT_LOADED = "not_loaded"
    """With this code, the test text raised an exception before its tests could run."""
    EXITED_EARLY = "exited_early"
    """The process ended, by itself, before the tests had."""
    CRASHED = "crashed"
    """A signal ended the process before the tests had ended."""
    TAMPERED = "tampered"
    """The code changed what tests it, or the report of its tests is not credible."""
    TIMED_OUT = "timed_out"
    """Wall or CPU time ran out."""
    MEMORY = "memory"
    """Memory ran out."""
    PROCESSES = "processes"
    """There were too many processes."""
    FILES = "files"
    """There were too many files."""
    OUTPUT = "output"
    """The output was too long."""


@dataclass(frozen=True, slots=True)
class TestReport:
    """What the tests said about the code."""

    __test__ = False

    status: TestStatus
    """What became of the tests as a whole."""
    total: int
    """Tests that the test text has, at least 1, without those that it skips itself."""
    passed: int
    """Tests that passed; 0 unless the tests ran to their end."""
    failed: int
    """Tests with an assertion that did not hold, or that the code had skipped."""
    errors: int
    """Tests in which something else was raised."""
    stopped_by: str
    """What ended the run or decided the status, in a few words without any text of the code."""
    stderr: str
    """The end of standard error, without control characters; hostile text."""
    seconds: float
    """Wall time of the run."""

    @property
    def all_passed(self) -> bool:
        """Whether every test passed."""
        return self.status is TestStatus.PASSED

    @property
    def fraction(self) -> float:
        """Tests that passed, as a share of all: 0 to 1."""
        return self.passed / self.total


class CodeSandbox(Protocol):
    """Runs untrusted code."""

    async def check(self) -> None:
        """Raise Precondition, saying what was tried, where this machine cannot isolate code."""

    async def run(self, program: Program, limits: Limits | None = None) -> Completed:
        """Run `program`; raises Precondition and Upstream where the sandbox itself fails.

        `limits` takes the place of the configured ones.
        """

    async def run_tests(self, code: str, test: str, limits: Limits | None = None) -> TestReport:
        """Run the unittest module `test` in the namespace that `code` was executed in.

        Raises InvalidInput where `test` is no Python, has no tests or raises whatever the code,
        Upstream where it needs a package that the sandbox does not have, else as `run`.
        """
