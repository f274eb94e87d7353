"""The one place where an event loop starts, and where signals meet it.

SIGINT and SIGTERM cancel what runs, so that it leaves its context managers: calls in flight are
cancelled in the service too, and nothing stays behind. A command that ends in another way, such as
a service that drains, takes the signals itself.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, TypeVar

T = TypeVar("T")

STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Cancelled(Exception):
    """A signal ended the command."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"cancelled by signal {signum}")
        self.exit_code = 128 + signum


def run(main: Coroutine[Any, Any, T], *, on_signal: Callable[[int], None] | None = None) -> T:
    """Run `main` to its end and return its result.

    Args:
        main: what to run.
        on_signal: told of every SIGINT and SIGTERM. Default: `main` is cancelled.

    Raises:
        Cancelled: where a signal cancelled `main`.
    """
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_supervise(main, on_signal))


async def _supervise(main: Coroutine[Any, Any, T], on_signal: Callable[[int], None] | None) -> T:
    task = asyncio.get_running_loop().create_task(main)
    received: list[int] = []

    def cancel(signum: int) -> None:
        # Again with every further signal, so that clean-up that hangs can be broken off as well.
        received.append(signum)
        task.cancel()

    with _handling(on_signal or cancel):
        try:
            return await task
        except (Exception, asyncio.CancelledError):
            # Cancellation may surface as another error, such as that of a call broken off.
            if received:
                raise Cancelled(received[0]) from None
            raise


@contextmanager
def _handling(handler: Callable[[int], None]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    # Windows has no such handlers; there Ctrl-C cancels the main task by itself.
    with suppress(NotImplementedError):
        for signum in STOP_SIGNALS:
            loop.add_signal_handler(signum, handler, signum)
    try:
        yield
    finally:
        with suppress(NotImplementedError):
            for signum in STOP_SIGNALS:
                loop.remove_signal_handler(signum)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ModuleNotFoundError:
        return None
    return uvloop.new_event_loop
