"""The sandbox: waits for a free place, runs a program in it, judges the tests that it ran."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import secrets
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from typing import Final

from foresight_services.core.errors import Precondition, Reason
from foresight_services.sandbox.bare import BareLauncher
from foresight_services.sandbox.bubblewrap import BubblewrapLauncher, find_bwrap
from foresight_services.sandbox.controls import draw_controls
from foresight_services.sandbox.execution import execute
from foresight_services.sandbox.inspection import ExpectedTest, expected_tests
from foresight_services.sandbox.interpreter import (
    configured_interpreter,
    default_interpreter,
    source_of,
)
from foresight_services.sandbox.port import (
    Channel,
    Completed,
    Limits,
    Message,
    Program,
    Stop,
    TestReport,
    TestStatus,
)
from foresight_services.sandbox.process import Launch
from foresight_services.sandbox.report import Secrets, build_report, refuse_broken
from foresight_services.sandbox.settings import Isolation, SandboxSettings

_log: Final = logging.getLogger(__name__)
_PROBE: Final = Program("import os; os.write(1, b'ready')")


class ProcessSandbox:
    """Runs each program in a process of its own; implements the port `CodeSandbox`."""

    def __init__(self, settings: SandboxSettings) -> None:
        self._settings = settings
        self._places: asyncio.LifoQueue[int] = asyncio.LifoQueue()
        for place in reversed(range(settings.concurrency)):
            self._places.put_nowait(place)
        self._checking = asyncio.Lock()
        self._launcher: BubblewrapLauncher | BareLauncher | None = None
        self._harness = source_of("unittest_harness")
        self._modules = {
            f"foresight_services.sandbox.{name}": source_of(name)
            for name in ("assertions", "machinery")
        }

    async def check(self) -> None:
        """Raise Precondition, saying what was tried, where this machine cannot isolate code."""
        await self._checked()

    async def run(self, program: Program, limits: Limits | None = None) -> Completed:
        """Run `program`; raises Precondition where the sandbox itself fails."""
        launcher = await self._checked()
        return await self._run(launcher, program, limits or self._settings.limits)

    async def run_tests(self, code: str, test: str, limits: Limits | None = None) -> TestReport:
        """Run the unittest module `test` in the namespace that `code` was executed in."""
        expected = expected_tests(test)
        report = await self._test(code, test, expected, limits)
        if report.status in (TestStatus.CODE_RAISED, TestStatus.NOT_LOADED):
            # Whose fault is it? The tests without any code tell.
            refuse_broken(await self._test("", test, expected, limits))
        return report

    async def _test(
        self, code: str, test: str, expected: tuple[ExpectedTest, ...], limits: Limits | None
    ) -> TestReport:
        rng = random.SystemRandom()
        controls, token, nonce = draw_controls(rng), secrets.token_hex(16), secrets.token_hex(16)
        heard: list[Message | None] = []

        async def dialogue(channel: Channel) -> None:
            await channel.send({"code": code, "token": token})
            heard.append(loaded := await channel.receive())
            if loaded == {"token": token, "stage": "loaded"}:
                texts = {"test": test, "controls": controls.source, "seed": secrets.token_hex(8)}
                await channel.send({"nonce": nonce, **texts})
                heard.append(await channel.receive())

        completed = await self.run(Program(self._harness, self._modules, dialogue), limits)
        loaded, result = (*heard, None, None)[:2]
        secret = Secrets(controls.outcomes, token, nonce)
        return build_report(completed, expected, secret, loaded, result)

    async def _checked(self) -> BubblewrapLauncher | BareLauncher:
        """Return what starts programs, after one has run."""
        async with self._checking:
            if self._launcher is None:
                self._launcher = await self._probe()
            return self._launcher

    async def _probe(self) -> BubblewrapLauncher | BareLauncher:
        settings = self._settings
        if sys.platform != "linux":
            raise Precondition(Reason.SANDBOX_UNAVAILABLE, "code is run on Linux only")
        if settings.python is None:
            interpreter = default_interpreter()
        else:
            interpreter = await configured_interpreter(settings.python)
        launcher: BubblewrapLauncher | BareLauncher
        if settings.isolation is Isolation.BUBBLEWRAP:
            bwrap = find_bwrap(settings.bwrap_path)
            launcher = BubblewrapLauncher(bwrap, interpreter, settings.read_only_paths)
            tried = f"{bwrap} with {interpreter.command[0]}"
        else:
            launcher = BareLauncher(interpreter)
            tried = interpreter.command[0]
            _log.warning("untrusted code runs with isolation %s", settings.isolation.value)
        try:
            completed = await self._run(launcher, _PROBE, settings.limits)
        except Precondition as error:
            raise _unavailable(tried, error.message) from error
        if completed.stop is not Stop.EXITED or completed.stdout != b"ready":
            raise _unavailable(tried, f"a first program ended by {completed.stop.value}")
        return launcher

    async def _run(
        self, launcher: BubblewrapLauncher | BareLauncher, program: Program, limits: Limits
    ) -> Completed:
        place = await self._places.get()
        try:
            async with _launch(launcher, place, limits) as launch:
                return await execute(launch, program, limits)
        finally:
            self._places.put_nowait(place)


def _unavailable(tried: str, why: str) -> Precondition:
    return Precondition(
        Reason.SANDBOX_UNAVAILABLE,
        f"this machine cannot isolate code; tried {tried}: {why}",
        metadata={"tried": tried},
    )


@contextlib.asynccontextmanager
async def _launch(
    launcher: BubblewrapLauncher | BareLauncher, place: int, limits: Limits
) -> AsyncIterator[Launch]:
    if isinstance(launcher, BubblewrapLauncher):
        yield launcher.launch(place, limits)
        return
    scratch = tempfile.mkdtemp(prefix="foresight-")
    try:
        yield launcher.launch(place, limits, scratch)
    finally:
        # Untrusted code may have left much; not on the event loop, and not interrupted.
        await asyncio.shield(asyncio.to_thread(shutil.rmtree, scratch, ignore_errors=True))
