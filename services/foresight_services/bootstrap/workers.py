"""Several processes that serve the same on one port, and who keeps them running.

The supervisor serves nothing itself: it reserves the port, starts the workers anew as programs of
their own (gRPC does not survive a fork), and starts another where one dies. The first worker is
started alone, so that what is wrong is told once. A worker that dies soon after its start, time and
again, ends the whole, and so does one that refuses its configuration.

Workers stand in sessions of their own: a terminal's Ctrl-C reaches the supervisor alone, which then
has them all drain. When it is gone, killed even, they stop.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from foresight_services.bootstrap.worker_link import (
    LINE_BYTES,
    STOP_SECONDS,
    Job,
    order,
    refusal_in,
)
from foresight_services.core.errors import InvalidInput

_log: Final = logging.getLogger(__name__)

WORKER_PROGRAM: Final = (sys.executable, "-m", "foresight_services.cli.serve_worker")
"""What is run; the number of its socket follows."""


@dataclass(frozen=True, slots=True)
class RestartSettings:
    """When a worker that died is started again."""

    steady_seconds: float = 30.0
    """A worker that lived as long did not die at its start."""
    most_deaths: int = 5
    """Deaths at the start, one after another, that end the whole."""
    pause_seconds: float = 0.25
    """Pause after the first of them; it doubles with every further one."""


class WorkersEnded(Exception):
    """The workers cannot be kept running."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(f"the workers ended with exit code {exit_code}")
        self.exit_code = exit_code


@dataclass
class _Worker:
    """One process."""

    process: asyncio.subprocess.Process
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    listening: asyncio.Event = field(default_factory=asyncio.Event)
    refusal: InvalidInput | None = None
    started: float = field(default_factory=time.monotonic)
    ended: asyncio.Task[int] = field(init=False)


class Workers:
    """The processes, by their numbers. End them with `stop`, whatever happened."""

    def __init__(
        self,
        jobs: Sequence[Job],
        *,
        program: Sequence[str] = WORKER_PROGRAM,
        restart: RestartSettings = RestartSettings(),
        died: Callable[[int], None] = lambda worker: None,
    ) -> None:
        """Run one process for each of `jobs`; `died` is told the number of each that ended."""
        self._jobs = jobs
        self._program = program
        self._restart = restart
        self._died = died
        self._live: dict[int, _Worker] = {}
        self._keepers: list[asyncio.Task[int]] = []
        self._waited_for = {job.worker for job in jobs}
        self.ready = asyncio.Event()
        """Set when every worker, or one in its place, has said that it is SERVING."""
        self._ending: bytes | None = None
        self._ends = asyncio.Event()

    @property
    def processes(self) -> tuple[int, ...]:
        """The ids of the processes that live."""
        return tuple(worker.process.pid for worker in tuple(self._live.values()))

    async def start(self) -> None:
        """Start all; return when all of them listen.

        Raises:
            InvalidInput: where one refuses its configuration.
            WorkersEnded: where one dies before it listens.
        """
        for together in (self._jobs[:1], self._jobs[1:]):
            workers = await asyncio.gather(*(self._spawn(job) for job in together))
            await asyncio.gather(*(_listening(worker) for worker in workers))
        self._keepers = [
            asyncio.create_task(self._keep(job, self._live[job.worker])) for job in self._jobs
        ]

    async def wait(self) -> int:
        """Return the exit code once all have ended as they were told.

        Where one cannot be kept running, the others are let finish their calls first.

        Raises:
            InvalidInput: where a worker that was started again refuses its configuration.
            WorkersEnded: where one dies again and again.
        """
        await asyncio.wait(self._keepers, return_when=asyncio.FIRST_EXCEPTION)
        if self._ending is None:
            self.drain(signal.SIGTERM)
        await asyncio.wait(self._keepers)
        codes = [keeper.result() for keeper in self._keepers]
        return next((code for code in codes if code), 0)

    def drain(self, signum: int) -> None:
        """Have all finish their calls and end."""
        self._end(order(signum, at_once=False))

    async def stop(self, signum: int) -> None:
        """Have all end at once; return when they have."""
        self._end(order(signum, at_once=True))
        ended = [worker.ended for worker in self._live.values()]
        if self._keepers or ended:
            await asyncio.wait((*self._keepers, *ended), timeout=STOP_SECONDS + 1.0)
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        for worker in self._live.values():
            if worker.process.returncode is None:
                worker.process.kill()
            worker.writer.close()
        await asyncio.gather(*(worker.ended for worker in self._live.values()))
        self._live.clear()

    def _end(self, line: bytes) -> None:
        self._ending = line
        self._ends.set()
        for worker in self._live.values():
            worker.writer.write(line)

    async def _keep(self, job: Job, worker: _Worker) -> int:
        """Keep one worker running; return the exit code of the last process."""
        deaths = 0
        while True:
            code = await asyncio.shield(worker.ended)
            self._forget(job)
            if self._ending is not None:
                return code
            if worker.refusal is not None:
                raise worker.refusal
            lived = time.monotonic() - worker.started
            deaths = 1 if lived >= self._restart.steady_seconds else deaths + 1
            if deaths >= self._restart.most_deaths:
                _log.error("worker %d ended with exit code %d, again", job.worker, code)
                raise WorkersEnded(code or 1)
            pause = self._restart.pause_seconds * 2 ** (deaths - 1)
            _log.warning(
                "worker %d ended with exit code %d; starting another in %.2f s",
                *(job.worker, code, pause),
            )
            if await self._ended_within(pause):
                return 0
            worker = await self._spawn(job)

    async def _ended_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._ends.wait(), seconds)
        except TimeoutError:
            return False
        return True

    async def _spawn(self, job: Job) -> _Worker:
        ours, theirs = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=ours, limit=LINE_BYTES)
        try:
            with theirs:
                process = await asyncio.create_subprocess_exec(
                    *(*self._program, str(theirs.fileno())),
                    stdin=asyncio.subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,
                )
        except BaseException:
            # Which ends a process that was started nevertheless.
            writer.close()
            raise
        worker = _Worker(process, reader, writer)
        worker.ended = asyncio.create_task(self._end_of(job, worker))
        self._live[job.worker] = worker
        writer.write(job.line())
        if self._ending is not None:
            writer.write(self._ending)
        _log.info("worker %d is process %d", job.worker, process.pid)
        return worker

    async def _end_of(self, job: Job, worker: _Worker) -> int:
        """Take what a worker tells; return its exit code when it has ended."""
        while line := await _next_line(worker.reader):
            told = json.loads(line)
            match told["is"]:
                case "listening":
                    worker.listening.set()
                case "ready":
                    _log.info("worker %d is ready", job.worker)
                    self._waited_for.discard(job.worker)
                    if not self._waited_for:
                        self.ready.set()
                case "refused":
                    worker.refusal = refusal_in(told)
        code = await worker.process.wait()
        return code if code >= 0 else 128 - code

    def _forget(self, job: Job) -> None:
        self._live.pop(job.worker).writer.close()
        self._died(job.worker)


async def _listening(worker: _Worker) -> None:
    """Wait until a new worker listens."""
    came = asyncio.create_task(worker.listening.wait())
    try:
        await asyncio.wait((worker.ended, came), return_when=asyncio.FIRST_COMPLETED)
    finally:
        came.cancel()
    if worker.refusal is not None:
        raise worker.refusal
    if not worker.listening.is_set():
        raise WorkersEnded(worker.ended.result() or 1)


async def _next_line(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readline()
    except ConnectionError:
        return b""
