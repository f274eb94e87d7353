"""Supervising workers: restarts, ends and refusals, with small programs in the workers' place."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import textwrap
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from foresight_services.bootstrap.reservation import reserved
from foresight_services.bootstrap.worker_link import Job
from foresight_services.bootstrap.worker_rules import check_workers
from foresight_services.bootstrap.workers import RestartSettings, Workers, WorkersEnded
from foresight_services.config import Config, parse_config
from foresight_services.core.errors import InvalidInput
from tests.fakes.waiting import eventually

PREAMBLE = """
import json, os, signal, socket, sys
supervisor = socket.socket(fileno=int(sys.argv[1]))
lines = supervisor.makefile("r")
job = json.loads(lines.readline())
def tell(**message):
    supervisor.sendall(json.dumps(message).encode() + b"\\n")
"""

OBEDIENT = """
tell(**{"is": "listening"})
tell(**{"is": "ready"})
told = json.loads(lines.readline())
sys.exit(0 if not told["at_once"] else 128 + told["signal"])
"""

VLLM = """
models:
  policy: {backend: vllm, model: m, temperature: 0.7}
  user: {backend: builtin}
  judge: {backend: vllm, model: m}
"""

DYING = """
tell(**{"is": "listening"})
sys.exit(7)
"""


def jobs(count: int) -> list[Job]:
    return [Job(worker, "simulator", "{}", "info", "") for worker in range(count)]


@asynccontextmanager
async def workers_running(
    script: str, count: int = 2, most: int = 3, died: Callable[[int], None] = lambda worker: None
) -> AsyncIterator[Workers]:
    workers = Workers(
        jobs(count),
        program=(sys.executable, "-c", PREAMBLE + textwrap.dedent(script)),
        restart=RestartSettings(most_deaths=most, pause_seconds=0.001),
        died=died,
    )
    try:
        yield workers
    finally:
        await workers.stop(signal.SIGKILL)


async def test_all_start_and_end_as_told() -> None:
    async with workers_running(OBEDIENT, count=3) as workers:
        await workers.start()
        await workers.ready.wait()
        assert len(set(workers.processes)) == 3
        workers.drain(signal.SIGTERM)
        assert await workers.wait() == 0
        assert workers.processes == ()


async def test_an_end_at_once_ends_those_that_still_run() -> None:
    async with workers_running(OBEDIENT) as workers:
        await workers.start()
        waiting = asyncio.create_task(workers.wait())
        await workers.stop(signal.SIGTERM)
        assert workers.processes == ()
        assert await waiting == 128 + signal.SIGTERM


async def test_one_that_died_is_replaced_and_what_died_with_it_forgotten() -> None:
    dead: list[int] = []
    async with workers_running(OBEDIENT, died=dead.append) as workers:
        await workers.start()
        first = workers.processes
        os.kill(first[1], signal.SIGKILL)
        await eventually(lambda: len(set(workers.processes) - set(first)) == 1)
        assert dead == [1]
        assert first[0] in workers.processes
        workers.drain(signal.SIGTERM)
        assert await workers.wait() == 0


async def test_one_that_dies_again_and_again_ends_all_with_its_exit_code() -> None:
    dead: list[int] = []
    script = OBEDIENT.replace("told =", f"if job['worker'] == 1:{_indented(DYING)}\ntold =", 1)
    async with workers_running(script, most=3, died=dead.append) as workers:
        await workers.start()
        with pytest.raises(WorkersEnded) as ended:
            await workers.wait()
    assert ended.value.exit_code == 7
    assert dead == [1, 1, 1, 0]


async def test_one_that_dies_before_it_listens_is_the_only_one() -> None:
    dead: list[int] = []
    async with workers_running("sys.exit(9)", count=3, died=dead.append) as workers:
        with pytest.raises(WorkersEnded) as ended:
            await workers.start()
        assert ended.value.exit_code == 9
        assert len(workers.processes) == 1


async def test_a_refusal_is_told_as_it_was_made() -> None:
    script = 'tell(**{"is": "refused", "violations": [["a.b", "is wrong"]]})'
    async with workers_running(script) as workers:
        with pytest.raises(InvalidInput) as refused:
            await workers.start()
    (violation,) = refused.value.violations
    assert (violation.field, violation.description) == ("a.b", "is wrong")


async def test_a_deaf_worker_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("foresight_services.bootstrap.workers.STOP_SECONDS", -0.9)
    deaf = """
    tell(**{"is": "listening"})
    signal.pause()
    """
    async with workers_running(deaf) as workers:
        await workers.start()
        waiting = asyncio.create_task(workers.wait())
        await workers.stop(signal.SIGTERM)
        assert workers.processes == ()
        await asyncio.gather(waiting, return_exceptions=True)


def _indented(script: str) -> str:
    return script.replace("\n", "\n    ")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0", "[::1]", "[::]"])
def test_a_reserved_port_is_shared_with_workers_and_nobody_else(host: str) -> None:
    with reserved(f"{host}:0") as address:
        port = int(address.rpartition(":")[2])
        assert address == f"{host}:{port}" and port > 0
        with pytest.raises(InvalidInput, match="cannot listen on"), reserved(address):
            pass
        with _listener(host, port, shared=True), pytest.raises(OSError, match="in use"):
            _listener(host, port, shared=False)
    with reserved(address):
        pass


def test_a_port_that_somebody_listens_on_is_not_reserved() -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(InvalidInput, match="cannot listen on"), reserved(address):
            pass


def _listener(host: str, port: int, *, shared: bool) -> socket.socket:
    family = socket.AF_INET6 if "[" in host else socket.AF_INET
    listener = socket.socket(family)
    try:
        option = socket.SO_REUSEPORT if shared else socket.SO_REUSEADDR
        listener.setsockopt(socket.SOL_SOCKET, option, 1)
        listener.bind((host.strip("[]"), port))
        listener.listen()
    except OSError:
        listener.close()
        raise
    return listener


def test_a_worker_reads_the_configuration_that_it_is_told() -> None:
    for text in ("", VLLM, "services: {drain_grace_seconds: 0.1}\ncache: {path: a}"):
        config = parse_config(text)
        assert Config.model_validate_json(config.model_dump_json()) == config
    job = Job(1, "all", Config().model_dump_json(), "info", "/tmp/x")
    assert Job.read(job.line()) == job


@pytest.mark.parametrize(
    ("what", "text", "fields"),
    [
        ("reward", "", ["services.reward.workers"]),
        ("all", "", ["services.reward.workers"]),
        ("all", "cache: {path: /tmp/cache}", []),
        ("reward", 'cache: {url: "redis://localhost:1"}', []),
        ("simulator", "", []),
        ("evaluator", "", []),
        ("simulator", VLLM, ["models.policy.backend", "models.judge.backend"]),
        ("evaluator", VLLM, ["models.judge.backend"]),
        ("reward", f"{VLLM}\ncache: {{path: /tmp/cache}}", []),
        ("simulator", "recording: {path: /tmp/calls, mode: record}", ["recording"]),
    ],
)
def test_what_workers_could_not_do_right_is_refused(
    what: str, text: str, fields: list[str]
) -> None:
    config = parse_config(text)
    check_workers(config, what)
    name = "reward" if what == "all" else what
    section = getattr(config.services, name)
    config = _with(config, name, section.model_copy(update={"workers": 2}))
    assert _refused(config, what) == fields


def test_a_socket_of_a_path_is_not_shared() -> None:
    section = Config().services.simulator
    changed = section.model_copy(update={"workers": 2, "listen": "unix:/tmp/socket"})
    assert _refused(_with(Config(), "simulator", changed), "simulator") == [
        "services.simulator.listen"
    ]


def _with(config: Config, name: str, section: Any) -> Config:
    services = config.services.model_copy(update={name: section})
    return config.model_copy(update={"services": services})


def _refused(config: Config, what: str) -> list[str]:
    try:
        check_workers(config, what)
    except InvalidInput as error:
        return [violation.field for violation in error.violations]
    return []
