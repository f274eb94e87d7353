"""`foresight serve`: one or all services, until a signal.

The first SIGINT or SIGTERM drains: NOT_SERVING, time for balancers to notice, time for calls in
flight to finish, exit 0. A second one stops at once.
"""

from __future__ import annotations

from typing import Annotated, Final

import typer
from pydantic import ValidationError

from foresight_services.bootstrap import RunningService, ServiceName
from foresight_services.bootstrap.worker_rules import check_workers, service_of
from foresight_services.cli.config_file import read_config
from foresight_services.cli.event_loop import run
from foresight_services.cli.failures import wrong
from foresight_services.cli.log import LogLevel, log_to_stderr
from foresight_services.cli.serving import Announcements, Orders, serve_until_told
from foresight_services.cli.terminal import say
from foresight_services.config import Config, ServiceConfig

_NO_METRICS: Final = "none"


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
    workers: Annotated[
        int | None,
        typer.Option(help="Processes that share the port.", metavar="N"),
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
    log_to_stderr(log_level)
    peers = {"simulator": simulator, "evaluator": evaluator}
    for name, target in peers.items():
        if target is not None and what != "reward":
            raise wrong(f"--{name}", f"is for `serve reward` only, not for `serve {what}`")
    settings = _with_peers(read_config(config), peers)
    settings = _with_options(settings, what, listen=listen, metrics=metrics, workers=workers)
    check_workers(settings, what, field="" if workers is None else "--workers")
    orders = Orders()
    return run(_serve(settings, what, orders, log_level), on_signal=orders.signalled)


async def _serve(config: Config, what: ServiceName, orders: Orders, log_level: LogLevel) -> int:
    def listening(address: str, metrics: str | None) -> None:
        told = "no metrics" if metrics is None else f"metrics on {_url(metrics)}"
        say(f"serving {what} on {address}, {told}")

    def ready() -> None:
        say(f"{what} is ready")

    if service_of(config, what).workers == 1:

        def serving(service: RunningService) -> None:
            listening(service.address, service.metrics)

        return await serve_until_told(config, what, orders, Announcements(serving, ready))
    # What it needs is not there on every system.
    from foresight_services.cli.serve_workers import serve_by_workers

    return await serve_by_workers(config, what, orders, log_level, listening=listening, ready=ready)


def _url(address: str) -> str:
    return f"http://{address}/metrics"


def _with_peers(config: Config, targets: dict[str, str | None]) -> Config:
    changes = {}
    for name, target in targets.items():
        if target is not None:
            fields = getattr(config.services, name).model_dump()
            try:
                changes[name] = ServiceConfig.model_validate(fields | {"target": target})
            except ValidationError as error:
                raise wrong(f"--{name}", error.errors()[0]["msg"]) from error
    return _with_services(config, changes)


def _with_options(
    config: Config,
    what: ServiceName,
    *,
    listen: str | None,
    metrics: str | None,
    workers: int | None,
) -> Config:
    name = "reward" if what == "all" else what
    fields = getattr(config.services, name).model_dump()
    if listen is not None:
        fields["listen"] = listen
    if metrics is not None:
        fields["metrics"] = None if metrics == _NO_METRICS else metrics
    if workers is not None:
        fields["workers"] = workers
    try:
        service = ServiceConfig.model_validate(fields)
    except ValidationError as error:
        problem = error.errors()[0]
        raise wrong(f"--{problem['loc'][0]}", problem["msg"]) from error
    return _with_services(config, {name: service})


def _with_services(config: Config, changes: dict[str, ServiceConfig]) -> Config:
    services = config.services.model_copy(update=changes)
    return config.model_copy(update={"services": services})
