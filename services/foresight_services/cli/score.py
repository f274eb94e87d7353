"""`foresight score`: the rewards of one request, from a service or from one inside this process."""

from __future__ import annotations

import math
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from foresight import AsyncClient, Rewards, Tls
from foresight.v1.reward_service_pb2 import ComputeRewardsRequest
from foresight_services.cli.config_file import read_config
from foresight_services.cli.embedded import embedded_client
from foresight_services.cli.event_loop import run
from foresight_services.cli.exit_codes import ExitCode
from foresight_services.cli.failures import wrong
from foresight_services.cli.futures_view import futures_view
from foresight_services.cli.group_scoring import score_group
from foresight_services.cli.request_file import Overrides, read_request
from foresight_services.cli.reward_json import rewards_document, write_json
from foresight_services.cli.reward_option import StoredChoice, choose_stored
from foresight_services.cli.reward_table import (
    baseline_line,
    cost_line,
    decision_line,
    failure_lines,
    reward_table,
)
from foresight_services.cli.scenario_option import choose_scenario
from foresight_services.cli.terminal import output
from foresight_services.config import Config
from foresight_services.config.recording import RecordingConfig


@dataclass(frozen=True, slots=True)
class _Remote:
    """A service to ask."""

    target: str
    tls: Tls | None


def score(
    file: Annotated[
        str | None,
        typer.Argument(
            help="Request in YAML or JSON; - for standard input. Default: an example of --task.",
            metavar="[FILE]",
            show_default=False,
        ),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(
            help="Scenario that gives the defaults: its name, or one's own file .yaml.",
            metavar="NAME|FILE",
        ),
    ] = None,
    example: Annotated[
        int, typer.Option(help="Example of --task to score where FILE is not given.")
    ] = 1,
    target: Annotated[
        str | None,
        typer.Option(
            help="Service to ask, host:port or unix:path. Default: one in this process.",
            metavar="TARGET",
        ),
    ] = None,
    tls: Annotated[bool, typer.Option("--tls", help="Use TLS towards --target.")] = False,
    tls_ca: Annotated[
        str | None,
        typer.Option(help="PEM file of the authorities to trust; implies --tls.", metavar="FILE"),
    ] = None,
    config: Annotated[
        str | None,
        typer.Option(help="Configuration of the service in this process.", metavar="FILE"),
    ] = None,
    horizon: Annotated[int | None, typer.Option(help="Messages in a future.")] = None,
    samples: Annotated[int | None, typer.Option(help="Futures for each candidate.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of every draw.")] = None,
    policy: Annotated[
        str | None,
        typer.Option(help="Policy that plays the assistant.", metavar="NAME[@VERSION]"),
    ] = None,
    baseline: Annotated[
        int | None,
        typer.Option(
            help="Responses of the policy itself to compare with, 2 to 16; 0 for none.",
            metavar="N",
        ),
    ] = None,
    timeout: Annotated[float | None, typer.Option(help="Seconds to answer in.")] = None,
    record: Annotated[
        str | None,
        typer.Option(help="New file that every model call is recorded to.", metavar="FILE"),
    ] = None,
    replay: Annotated[
        str | None,
        typer.Option(help="Recording that answers every model call.", metavar="FILE"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    reward_id: Annotated[
        str | None,
        typer.Option(help="Stored reward to show, in place of a request.", metavar="ID"),
    ] = None,
    objective: Annotated[
        str | None,
        typer.Option(
            help="Objective to score the futures of --reward-id by; - for standard input.",
            metavar="FILE",
        ),
    ] = None,
    show_futures: Annotated[
        bool, typer.Option("--show-futures", help="Print the simulated conversations as well.")
    ] = False,
) -> int:
    """Score the candidates of a request.

    Without --target the three services run inside this process for as long as it takes.

    The token for a service comes from FORESIGHT_TOKEN.
    """
    if timeout is not None and not (math.isfinite(timeout) and timeout > 0):
        raise wrong("--timeout", "must be a positive number of seconds")
    where = _recorded(
        _where(target, tls=tls, tls_ca=tls_ca, config=config), record=record, replay=replay
    )
    stored = choose_stored(
        reward_id,
        objective,
        others={
            "FILE": file,
            "--task": task,
            "--horizon": horizon,
            "--samples": samples,
            "--seed": seed,
            "--policy": policy,
            "--baseline": baseline,
        },
    )
    if stored is not None:
        candidates, rewards = run(_stored(stored, where, timeout))
        return _tell(candidates, rewards, as_json=as_json, show_futures=show_futures)
    scenario = None
    if task is not None:
        folder = where.tasks_path if isinstance(where, Config) else ""
        remote = isinstance(where, _Remote)
        scenario = choose_scenario(task, example=example, folder=folder, remote=remote)
    overrides = Overrides(horizon, samples, seed, policy, baseline)
    request = read_request(file, overrides, scenario)
    if show_futures:
        request.include_futures = True
    rewards = run(_score(request, where, timeout))
    return _tell(list(request.candidates), rewards, as_json=as_json, show_futures=show_futures)


def _tell(candidates: list[str], rewards: Rewards, *, as_json: bool, show_futures: bool) -> int:
    """Print rewards; return the exit code."""
    if as_json:
        write_json(rewards_document(candidates, rewards))
    else:
        _print(candidates, rewards, show_futures=show_futures)
    return ExitCode.NO_VALUE if None in rewards.values else ExitCode.OK


def _where(
    target: str | None, *, tls: bool, tls_ca: str | None, config: str | None
) -> _Remote | Config:
    """Return the service to ask, or the configuration to start one with."""
    if target is None:
        if tls or tls_ca is not None:
            raise wrong("--tls", "needs --target; a service in this process has no use for it")
        return read_config(config)
    if config is not None:
        raise wrong("--config", "cannot be combined with --target, which has its own")
    if tls_ca is not None:
        try:
            Path(tls_ca).read_bytes()
        except OSError as error:
            raise wrong("--tls-ca", f"cannot be read: {error.strerror or error}") from error
    return _Remote(target, Tls(root_certificates=tls_ca) if tls or tls_ca is not None else None)


def _recorded(
    where: _Remote | Config, *, record: str | None, replay: str | None
) -> _Remote | Config:
    """Return `where`, its model calls recorded to or replayed from a file."""
    if record is not None:
        option, settings = "--record", RecordingConfig(path=record, mode="record")
    elif replay is not None:
        option, settings = "--replay", RecordingConfig(path=replay, mode="replay")
    else:
        return where
    if record is not None and replay is not None:
        raise wrong("--record", "cannot be combined with --replay")
    if isinstance(where, _Remote):
        raise wrong(option, "cannot be combined with --target, which has its own models")
    if record is not None and os.path.lexists(record):
        # A second run would stand after the first, and be replayed after it.
        raise wrong("--record", f"{record} exists; a recording of one run is a new file")
    return where.model_copy(update={"recording": settings})


async def _score(
    request: ComputeRewardsRequest, where: _Remote | Config, seconds: float | None
) -> Rewards:
    async with _client(where) as client:
        return await score_group(client, request, timeout=seconds)


async def _stored(
    choice: StoredChoice, where: _Remote | Config, seconds: float | None
) -> tuple[list[str], Rewards]:
    async with _client(where) as client:
        return await choice.rewards(client, timeout=seconds)


@asynccontextmanager
async def _client(where: _Remote | Config) -> AsyncIterator[AsyncClient]:
    if isinstance(where, Config):
        async with embedded_client(where) as embedded:
            yield embedded
        return
    token = os.environ.get("FORESIGHT_TOKEN") or None
    try:
        client = AsyncClient(where.target, tls=where.tls, token=token)
    except ValueError as error:
        raise wrong("--target", str(error)) from error
    async with client:
        yield client


def _print(candidates: list[str], rewards: Rewards, *, show_futures: bool) -> None:
    console = output()
    if show_futures:
        for part in futures_view(candidates, rewards):
            console.print(part, soft_wrap=True)
        console.print()
    console.print(reward_table(candidates, rewards, width=console.width))
    if rewards.decision is not None:
        console.print(decision_line(rewards.decision), soft_wrap=True)
    if rewards.baseline:
        console.print(baseline_line(rewards), soft_wrap=True)
    for line in failure_lines(rewards):
        console.print(line, soft_wrap=True, style="red")
    console.print(cost_line(rewards.usage), soft_wrap=True, style="dim")
