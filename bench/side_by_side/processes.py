"""The processes of a run: each is killed when its block is left, and none may end before.

What a process prints is read line by line; CPU time and memory come from `/proc`.
"""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_MOST_LINE: Final = 64 << 20
_STARTS_WITHIN: Final = 120.0
"""Seconds; the reference imports torch."""


class ChildFailed(Exception):
    """A process that the run needs ended by itself, or did not start."""


@dataclass(frozen=True, slots=True)
class Child:
    """A running process."""

    name: str
    """What it is called in results and errors."""
    process: Process
    """The process."""

    async def line(self) -> str:
        """Return the next line that it prints; ChildFailed if it ends instead."""
        assert self.process.stdout is not None
        line = await self.process.stdout.readline()
        if not line:
            raise ChildFailed(f"{self.name} ended: exit status {await self.process.wait()}")
        return line.decode().rstrip("\n")

    def tell(self, line: str) -> None:
        """Write a line to its standard input."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n".encode())

    def cpu_seconds(self) -> float:
        """Return the CPU time that it took so far, in user and in system mode, all threads."""
        # The name of the program, in brackets, may hold anything; what is wanted comes after it.
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def resident_mib(self, *, peak: bool = True) -> float:
        """Return its resident memory in MiB, the most that it ever had or what it has now."""
        wanted = "VmHWM:" if peak else "VmRSS:"
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(wanted):
                return int(line.split()[1]) / 1024
        raise ChildFailed(f"{self.name} has no memory any more")


@asynccontextmanager
async def child(
    name: str, *command: str, environment: Mapping[str, str] | None = None
) -> AsyncIterator[Child]:
    """Run `command`; kill it on leaving."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=PIPE,
        stdout=PIPE,
        limit=_MOST_LINE,
        # Ctrl-C is for the run, which then kills its processes.
        start_new_session=True,
        env={**os.environ, **(environment or {})},
    )
    try:
        yield Child(name, process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@asynccontextmanager
async def service(
    name: str, config: Path, *options: str, what: str = ""
) -> AsyncIterator[tuple[Child, str]]:
    """Run `foresight serve` until it is ready; yield it and its target."""
    command = (sys.executable, "-m", "foresight_services.cli", "serve", what or name)
    fixed = ("--listen", "127.0.0.1:0", "--metrics", "none", "--log-level", "error")
    async with child(name, *command, *fixed, "--config", str(config), *options) as running:
        async with asyncio.timeout(_STARTS_WITHIN):
            listening = await running.line()
            await running.line()
        yield running, listening.removeprefix(f"serving {what or name} on ").partition(",")[0]


@dataclass(frozen=True, slots=True)
class Services:
    """Foresight's three services, a process each."""

    children: tuple[Child, ...]
    """Reward, simulator, evaluator."""
    target: str
    """Where the reward service listens."""


@asynccontextmanager
async def three_services(config: Path) -> AsyncIterator[Services]:
    """Run the three services."""
    async with AsyncExitStack() as stack:
        simulator, at = await stack.enter_async_context(service("simulator", config))
        evaluator, by = await stack.enter_async_context(service("evaluator", config))
        peers = ("--simulator", at, "--evaluator", by)
        reward, target = await stack.enter_async_context(service("reward", config, *peers))
        yield Services((reward, simulator, evaluator), target)


async def ended(*children: Child) -> NoReturn:
    """Return never, but raise ChildFailed when one of `children` ends."""
    waits = {asyncio.ensure_future(one.process.wait()): one for one in children}
    try:
        done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
    first = done.pop()
    raise ChildFailed(f"{waits[first].name} ended: exit status {first.result()}")
