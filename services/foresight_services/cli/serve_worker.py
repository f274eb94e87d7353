"""One of several workers of `foresight serve --workers`: a program that a supervisor starts.

Its only argument is the number of the socket that leads to the supervisor. What is wrong with its
configuration goes there, not to stderr, so that it is told once for all workers.
"""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import suppress
from typing import cast

from foresight_services.bootstrap import ServiceName
from foresight_services.bootstrap.worker_link import Job, Supervisor
from foresight_services.cli.event_loop import run
from foresight_services.cli.exit_codes import ExitCode
from foresight_services.cli.log import LogLevel, log_to_stderr
from foresight_services.cli.serving import Announcements, Orders, serve_until_told
from foresight_services.config import Config, with_secrets
from foresight_services.core.errors import InvalidInput
from foresight_services.telemetry.workers import keep_numbers_in


def main() -> int:
    """Do the supervisor's job until it says otherwise, or is gone; return the exit code."""
    supervisor = Supervisor(int(sys.argv[1]))
    job = supervisor.job
    log_to_stderr(LogLevel(job.log_level), f"worker {job.worker}")
    if job.directory:
        keep_numbers_in(job.directory, job.worker)
    config = with_secrets(Config.model_validate_json(job.config), os.environ)
    orders = Orders()
    try:
        return run(_serve(config, job, supervisor, orders), on_signal=orders.signalled)
    except InvalidInput as error:
        supervisor.refuses(error)
        return ExitCode.WRONG_INPUT


async def _serve(config: Config, job: Job, supervisor: Supervisor, orders: Orders) -> int:
    loop = asyncio.get_running_loop()

    def end(signum: int, at_once: bool) -> None:
        # The loop has ended where the worker has done so already.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(orders.give, signum, at_once)

    supervisor.obey(end)
    announce = Announcements(
        listening=lambda service: supervisor.listens(), ready=supervisor.is_ready
    )
    return await serve_until_told(config, cast(ServiceName, job.what), orders, announce)


if __name__ == "__main__":
    sys.exit(main())
