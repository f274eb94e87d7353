"""A progress bar on stderr, for a terminal only and only where work takes a moment."""

from __future__ import annotations

import asyncio
import sys
from types import TracebackType
from typing import Final, Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from foresight_services.cli.terminal import error_output

PATIENCE_SECONDS: Final = 0.5
"""Time that passes before the bar appears."""


class FuturesProgress:
    """Counts steps of work; use as a context manager within an event loop."""

    def __init__(self, label: str, total: int | None) -> None:
        """Name the steps; `total` is None where their number is not known yet."""
        self.enabled: Final = sys.stderr.isatty()
        """Whether anybody watches."""
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=error_output(),
            transient=True,
            disable=not self.enabled,
        )
        self._task = self._bar.add_task(label, total=total)
        self._total = total
        self._timer: asyncio.TimerHandle | None = None

    def expect(self, total: int) -> None:
        """Set the number of steps, unless it is known already."""
        if self._total is None:
            self._total = total
            self._bar.update(self._task, total=total)

    def advance(self) -> None:
        """Count one step."""
        self._bar.advance(self._task)

    def __enter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(PATIENCE_SECONDS, self._bar.start)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._bar.stop()
