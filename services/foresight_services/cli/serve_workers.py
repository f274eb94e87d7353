"""`foresight serve --workers`: the supervisor of several processes that share a port."""

from __future__ import annotations

import asyncio
import logging
import signal
import tempfile
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Final

from foresight_services.bootstrap import ServiceName
from foresight_services.bootstrap.reservation import reserved
from foresight_services.bootstrap.scraping import metrics_endpoint
from foresight_services.bootstrap.worker_link import Job
from foresight_services.bootstrap.worker_rules import service_of
from foresight_services.bootstrap.workers import Workers, WorkersEnded
from foresight_services.cli.log import LogLevel
from foresight_services.cli.serving import Orders
from foresight_services.config import Config
from foresight_services.telemetry.workers import forget_living, workers_registry

_log: Final = logging.getLogger("foresight")

LATE_SECONDS: Final = 10.0
"""Time beyond that of draining after which a worker counts as stuck."""


async def serve_by_workers(
    config: Config,
    what: ServiceName,
    orders: Orders,
    log_level: LogLevel,
    *,
    listening: Callable[[str, str | None], None],
    ready: Callable[[], None],
) -> int:
    """Serve `what` by as many processes as `config` says until `orders` end it.

    Args:
        config: the configuration.
        what: what is served.
        orders: when to end.
        log_level: least severe messages that workers log.
        listening: told the address of gRPC and that of the metrics once all workers listen.
        ready: told when all workers are ready.

    Returns:
        The exit code.

    Raises:
        InvalidInput: where a worker refuses its configuration.
    """
    where = service_of(config, what)
    async with AsyncExitStack() as stack:
        address = stack.enter_context(reserved(where.listen))
        directory = ""
        if where.metrics is not None:
            # Of this user alone (0700).
            temporary = tempfile.TemporaryDirectory(prefix="foresight-", ignore_cleanup_errors=True)
            directory = stack.enter_context(temporary)
        jobs = _jobs(config, what, address, directory, log_level)
        workers = Workers(jobs, died=_forgetting(directory))
        stack.push_async_callback(workers.stop, signal.SIGKILL)
        metrics = None
        if where.metrics is not None:
            registry = workers_registry(directory, lambda: workers.processes)
            endpoint = metrics_endpoint(registry, where.metrics)
            stack.callback(endpoint.close)
            metrics = endpoint.address
        try:
            return await _supervise(
                workers, orders, config, ready, listening=lambda: listening(address, metrics)
            )
        except WorkersEnded as error:
            _log.error("%s", error)
            return error.exit_code


async def _supervise(
    workers: Workers,
    orders: Orders,
    config: Config,
    ready: Callable[[], None],
    *,
    listening: Callable[[], None],
) -> int:
    """Start the workers, tell of them, and end them as ordered."""
    drain, stop, all_ready = (
        asyncio.create_task(event.wait()) for event in (orders.drain, orders.stop, workers.ready)
    )
    try:
        started = asyncio.create_task(workers.start())
        if not await _first(started, stop):
            started.cancel()
            return 128 + orders.signum
        started.result()
        listening()
        ended = asyncio.create_task(workers.wait())
        if await _first(all_ready, ended, drain):
            ready()
        if await _first(ended, drain):
            return ended.result()
        _log.info("draining; a second signal stops at once")
        workers.drain(orders.signum)
        services = config.services
        longest = services.drain_notice_seconds + services.drain_grace_seconds + LATE_SECONDS
        if await _first(ended, stop, within=longest):
            return ended.result()
        ended.cancel()
        if not stop.done():
            _log.error("a worker did not end in time")
        await workers.stop(orders.signum)
        return 128 + orders.signum
    finally:
        for task in (drain, stop, all_ready):
            task.cancel()


async def _first(
    task: asyncio.Task[object], *others: asyncio.Task[object], within: float | None = None
) -> bool:
    """Wait for the first of them; tell whether `task` is done."""
    await asyncio.wait((task, *others), timeout=within, return_when=asyncio.FIRST_COMPLETED)
    return task.done()


def _jobs(
    config: Config, what: ServiceName, address: str, directory: str, log_level: LogLevel
) -> list[Job]:
    name = "reward" if what == "all" else what
    # Whoever is started later gets this configuration too, whatever became of its file.
    service = service_of(config, what).model_copy(update={"listen": address, "metrics": None})
    services = config.services.model_copy(update={name: service})
    text = config.model_copy(update={"services": services}).model_dump_json()
    return [Job(worker, what, text, log_level, directory) for worker in range(service.workers)]


def _forgetting(directory: str) -> Callable[[int], None]:
    def forget(worker: int) -> None:
        if directory:
            forget_living(directory, worker)

    return forget
