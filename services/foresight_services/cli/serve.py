"""`foresight serve`: one or all services, until a signal.

The first SIGINT or SIGTERM drains: NOT_SERVING, time for balancers to notice, time for calls in
flight to finish, exit 0. A second one stops at once.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from enum import StrEnum
from typing import Annotated, Final

import typer
from pydantic import ValidationError

from foresight_services.bootstrap import RunningService, ServiceName, running
from foresight_services.cli.config_file import read_config
from foresight_services.cli.event_loop import run
from foresight_services.cli.exit_codes import ExitCode
from foresight_services.cli.failures import wrong
from foresight_services.cli.terminal import say
from foresight_services.config import Config, ServiceConfig

_log: Final = logging.getLogger("foresight")

_NO_METRICS: Final = "none"


class LogLevel(StrEnum):
    """How much is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def serve(
    what: Annotated[
        ServiceName,
        typer.Argument(
            help="All services in one process, or one of them.",
            metavar="all|reward|simulator|evaluator",
        ),
    ],
    config: Annotated[
        str | None,
        typer.Option(help="Configuration file. Default: FORESIGHT_CONFIG.", metavar="FILE"),
    ] = None,
    listen: Annotated[
        str | None,
        typer.Option(
            help="gRPC address, host:port or unix:path; port 0: a free one.", metavar="ADDRESS"
        ),
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(help="host:port of the Prometheus endpoint, or none.", metavar="ADDRESS"),
    ] = None,
    simulator: Annotated[
        str | None, typer.Option(help="Where `reward` finds the simulator.", metavar="TARGET")
    ] = None,
    evaluator: Annotated[
        str | None, typer.Option(help="Where `reward` finds the evaluator.", metavar="TARGET")
    ] = None,
    log_level: Annotated[
        LogLevel,
        typer.Option(help="Least severe messages to log: debug, info, ...", metavar="LEVEL"),
    ] = LogLevel.INFO,
) -> int:
    """Serve one or all services until SIGINT or SIGTERM.

    The signal lets calls in flight finish; a second one stops at once.

    Prints one line when it listens and one when it is ready; logs go to stderr.
    """
    logging.basicConfig(
        stream=sys.stderr,
        level=log_level.upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    peers = {"simulator": simulator, "evaluator": evaluator}
    for name, target in peers.items():
        if target is not None and what != "reward":
            raise wrong(f"--{name}", f"is for `serve reward` only, not for `serve {what}`")
    settings = _with_peers(read_config(config), peers)
    settings = _with_addresses(settings, what, listen=listen, metrics=metrics)
    signals: asyncio.Queue[int] = asyncio.Queue()
    return run(_serve(settings, what, signals), on_signal=signals.put_nowait)


async def _serve(config: Config, what: ServiceName, signals: asyncio.Queue[int]) -> int:
    async with running(config, what) as service:
        metrics = "no metrics" if service.metrics is None else f"metrics on {_url(service.metrics)}"
        say(f"serving {what} on {service.address}, {metrics}")
        first = asyncio.create_task(signals.get())
        await asyncio.wait((first, service.ready), return_when=asyncio.FIRST_COMPLETED)
        if service.ready.done():
            service.ready.result()
            say(f"{what} is ready")
        await first
        return await _drain(service, asyncio.create_task(signals.get()))


async def _drain(service: RunningService, second: asyncio.Task[int]) -> int:
    """Let calls finish, unless a second signal comes first; return the exit code."""
    _log.info("draining; a second signal stops at once")
    drain = asyncio.create_task(service.server.drain())
    await asyncio.wait((drain, second), return_when=asyncio.FIRST_COMPLETED)
    if second.done():
        drain.cancel()
        return 128 + second.result()
    second.cancel()
    await drain
    return ExitCode.OK


def _url(address: str) -> str:
    return f"http://{address}/metrics"


def _with_peers(config: Config, targets: dict[str, str | None]) -> Config:
    changes = {
        name: getattr(config.services, name).model_copy(update={"target": target})
        for name, target in targets.items()
        if target is not None
    }
    return _with_services(config, changes)


def _with_addresses(
    config: Config, what: ServiceName, *, listen: str | None, metrics: str | None
) -> Config:
    name = "reward" if what == "all" else what
    fields = getattr(config.services, name).model_dump()
    if listen is not None:
        fields["listen"] = listen
    if metrics is not None:
        fields["metrics"] = None if metrics == _NO_METRICS else metrics
    try:
        service = ServiceConfig.model_validate(fields)
    except ValidationError as error:
        problem = error.errors()[0]
        raise wrong(f"--{problem['loc'][0]}", problem["msg"]) from error
    return _with_services(config, {name: service})


def _with_services(config: Config, changes: dict[str, ServiceConfig]) -> Config:
    services = config.services.model_copy(update=changes)
    return config.model_copy(update={"services": services})
