"""Foresight as real processes on loopback: one for all services, or one each."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

_LISTENING = re.compile(r"serving \w+ on (\S+), ")


@asynccontextmanager
async def one_process() -> AsyncIterator[str]:
    """Run `foresight serve all`; yield its target."""
    async with serving("all") as target:
        yield target


@asynccontextmanager
async def three_processes() -> AsyncIterator[str]:
    """Run the three services as three processes; yield the reward service's target."""
    async with AsyncExitStack() as stack:
        simulator = await stack.enter_async_context(serving("simulator"))
        evaluator = await stack.enter_async_context(serving("evaluator"))
        peers = ("--simulator", simulator, "--evaluator", evaluator)
        yield await stack.enter_async_context(serving("reward", *peers))


@asynccontextmanager
async def serving(what: str, *options: str) -> AsyncIterator[str]:
    """Run `foresight serve WHAT` on a free port until it is ready; yield its target."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "foresight_services.cli", "serve", what),
        *("--listen", "127.0.0.1:0", "--metrics", "none", "--log-level", "error", *options),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        listening = _LISTENING.match((await process.stdout.readline()).decode())
        ready = await process.stdout.readline()
        if listening is None or not ready:
            raise RuntimeError(f"`foresight serve {what}` did not start")
        yield listening[1]
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
