"""One run of a program: within its wall time, with its output bounded, and how it ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import time
from dataclasses import dataclass
from typing import Final

from foresight_services.core.errors import Precondition, Reason
from foresight_services.sandbox.port import Completed, Limits, Program, Stop
from foresight_services.sandbox.process import GRACE_SECONDS, Launch, Started, started
from foresight_services.sandbox.report import printable

_CHUNK: Final = 1 << 16
_KIB: Final = 1 << 10


@dataclass(frozen=True, slots=True)
class _End:
    """How a program ended, as far as the supervisor knows."""

    stop: Stop
    exit_code: int | None = None
    signal: int | None = None


class _Output:
    """What a program writes to one of its two streams, up to a limit."""

    def __init__(self, stream: asyncio.StreamReader, limit: int) -> None:
        self.text = bytearray()
        self._stream = stream
        self._limit = limit

    async def read(self) -> None:
        """Read to the end, or to just beyond the limit."""
        while not self.over and (chunk := await self._stream.read(_CHUNK)):
            self.text += chunk

    @property
    def over(self) -> bool:
        """Whether more than the limit was written."""
        return len(self.text) > self._limit

    @property
    def kept(self) -> bytes:
        """What was written, up to the limit."""
        return bytes(self.text[: self._limit])


async def execute(launch: Launch, program: Program, limits: Limits) -> Completed:
    """Run `program`; raises Precondition if the sandbox could not be set up."""
    begun = time.monotonic()
    deadline = asyncio.get_running_loop().time() + limits.wall_seconds
    async with contextlib.AsyncExitStack() as stack:
        try:
            async with asyncio.timeout_at(deadline):
                run = await stack.enter_async_context(started(launch, program, limits))
                refusal = await _setup(run)
        except OSError as error:  # TimeoutError is one
            raise _cannot_start(f"{type(error).__name__}: {error}") from error
        if refusal is not None:
            raise _cannot_start(refusal)
        end, stdout, stderr = await _watch(run, program, limits, deadline)
    return Completed(
        stop=end.stop,
        exit_code=end.exit_code,
        signal=end.signal,
        stdout=stdout,
        stderr=stderr,
        seconds=time.monotonic() - begun,
    )


def _cannot_start(why: str) -> Precondition:
    return Precondition(Reason.SANDBOX_UNAVAILABLE, f"the sandbox could not start: {why}")


async def _setup(run: Started) -> str | None:
    """Wait until untrusted code begins to run; return why it cannot, or None."""
    line = await run.status.readline()
    if line == b"{}\n":
        return None
    said = line or await run.stderr.read(_CHUNK)
    return printable(said.decode(errors="replace")) or "it ended without a word"


async def _watch(
    run: Started, program: Program, limits: Limits, deadline: float
) -> tuple[_End, bytes, bytes]:
    """Talk with the program and read its output until it ends or has to."""
    stdout = _Output(run.stdout, limits.output_kib * _KIB)
    stderr = _Output(run.stderr, limits.output_kib * _KIB)
    async with asyncio.TaskGroup() as tasks:
        reading = [tasks.create_task(stdout.read()), tasks.create_task(stderr.read())]
        talking = tasks.create_task(_talk(run, program))
        ending = tasks.create_task(_ending(run))
        try:
            async with asyncio.timeout_at(deadline):
                waiting: set[asyncio.Task[object]] = {ending, *reading}
                while not (ending.done() or stdout.over or stderr.over):
                    _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            end = ending.result() if ending.done() else _End(Stop.OUTPUT)
        except TimeoutError:
            end = _End(Stop.WALL_TIME)
        await run.end()
        # Everybody who could write has ended, save what escaped where no namespace holds it.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GRACE_SECONDS):
                await asyncio.gather(*reading, talking)
        for task in (*reading, talking, ending):
            task.cancel()
    if stdout.over or stderr.over:
        end = _End(Stop.OUTPUT)
    return end, stdout.kept, stderr.kept


async def _talk(run: Started, program: Program) -> None:
    if program.dialogue is not None:
        await program.dialogue(run.channel)
        run.channel.finish()  # who waits for more shall not wait for ever


async def _ending(run: Started) -> _End:
    """Wait for the supervisor's word on how the program ended."""
    line = await run.status.readline()
    if not line:
        # Only the kernel, short of memory, or where nothing isolates the program kills it.
        return _End(Stop.SIGNALLED, signal=signal.SIGKILL)
    said = json.loads(line)
    return _End(Stop(said["stop"]), said.get("exit_code"), said.get("signal"))
