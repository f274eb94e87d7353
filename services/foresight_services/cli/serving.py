"""A process that serves: it listens, becomes ready, is told to end, and drains."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from foresight_services.bootstrap import RunningService, ServiceName, running
from foresight_services.cli.exit_codes import ExitCode
from foresight_services.cli.garbage import collect_seldom
from foresight_services.config import Config

_log: Final = logging.getLogger("foresight")


class Orders:
    """What a process that serves is told: to drain and, if that takes too long, to stop at once."""

    def __init__(self) -> None:
        self.drain = asyncio.Event()
        """Set when it is to finish its calls and end."""
        self.stop = asyncio.Event()
        """Set when it is to end at once."""
        self.signum = 0
        """The signal that the last of them came by, or stands for."""
        self._signalled = False

    def signalled(self, signum: int) -> None:
        """Take a signal: the first one drains, another one stops at once."""
        self.give(signum, at_once=self._signalled)
        self._signalled = True

    def give(self, signum: int, at_once: bool) -> None:
        """Order an end like that by `signum`; to drain once more changes nothing."""
        self.signum = signum
        self.drain.set()
        if at_once:
            self.stop.set()


@dataclass(frozen=True, slots=True)
class Announcements:
    """Who is told how far a process is."""

    listening: Callable[[RunningService], None]
    """Told when it takes calls."""
    ready: Callable[[], None]
    """Told when it says that it is SERVING."""


async def serve_until_told(
    config: Config, what: ServiceName, orders: Orders, announce: Announcements
) -> int:
    """Serve `what` in this process until `orders` end it; return the exit code."""
    async with running(config, what) as service:
        announce.listening(service)
        told = asyncio.create_task(orders.drain.wait())
        await asyncio.wait((told, service.ready), return_when=asyncio.FIRST_COMPLETED)
        if service.ready.done():
            service.ready.result()
            collect_seldom()
            announce.ready()
        await told
        return await _drain(service, orders)


async def _drain(service: RunningService, orders: Orders) -> int:
    """Let calls finish, unless an end at once is ordered; return the exit code."""
    _log.info("draining; a second signal stops at once")
    drain = asyncio.create_task(service.server.drain())
    stop = asyncio.create_task(orders.stop.wait())
    await asyncio.wait((drain, stop), return_when=asyncio.FIRST_COMPLETED)
    if stop.done():
        drain.cancel()
        return 128 + orders.signum
    stop.cancel()
    await drain
    return ExitCode.OK
