"""Several workers on one port: all answer, who dies is replaced, none outlives its supervisor."""

from __future__ import annotations

import itertools
import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.multiprocess import MultiProcessCollector

from foresight import Client, FutureEvent, GroupEvent
from foresight.errors import InvalidRequestError, ServiceUnavailableError
from tests.e2e.cli_process import Running, foresight, serving
from tests.fakes.prometheus import Scrape, scrape
from tests.fakes.waiting import eventually

pytestmark = pytest.mark.e2e

SMALL = {
    "task": {"preset": "twenty_questions"},
    "prefix": [{"role": "user", "content": "You have 20 turns."}],
    "candidates": ["Is it alive?"],
    "simulation": {"horizon_messages": 2, "samples": {"max": 2}},
    "cache": "bypass",
}
LONG = SMALL | {"simulation": {"horizon_messages": 40, "samples": {"max": 512}}}
ENDLESS = SMALL | {
    "candidates": ["Is it alive?"] * 16,
    "simulation": {"horizon_messages": 40, "samples": {"max": 1024}},
}

IN_FLIGHT = "foresight_futures_in_flight"
ANSWERED = "foresight_request_seconds_count"
COMPUTE = {"service": "foresight.v1.RewardService", "method": "ComputeRewards", "code": "OK"}


@dataclass
class Deployment:
    """A supervisor, its workers and where their numbers are."""

    running: Running
    folder: Path
    """Where the supervisor makes its directory."""
    processes: dict[int, int]
    """Ids of the workers' processes."""

    @property
    def directory(self) -> Path:
        (found,) = self.folder.iterdir()
        return found

    def value(self, worker: int, kind: str, name: str, **labels: str) -> float:
        """Return what one worker has counted."""
        path = self.directory / f"{kind}_{worker}.db"
        if not path.exists():
            return 0.0
        merged: Any = MultiProcessCollector.merge([str(path)])
        samples = [sample for metric in merged for sample in metric.samples]
        meant = (s for s in samples if s.name == name and labels.items() <= s.labels.items())
        return sum(sample.value for sample in meant)

    def answered(self, worker: int) -> float:
        """Return how many calls one worker has answered."""
        return self.value(worker, "histogram", ANSWERED, **COMPUTE)

    def await_starts(self, count: int) -> None:
        """Wait until so many workers have become ready, all told."""
        while self._told(r"worker (\d) is ready") < count:
            self.running.err.wait_for("is ready$")
        for line in self.running.err.seen:
            if match := re.search(r"worker (\d) is process (\d+)", line):
                self.processes[int(match[1])] = int(match[2])

    def _told(self, pattern: str) -> int:
        return sum(re.search(pattern, line) is not None for line in self.running.err.seen)

    def stop_a_busy_one(self) -> int:
        """Halt a worker with futures in flight, as the file tells that it leaves; return which."""
        for worker in itertools.islice(itertools.cycle(self.processes), 1000):
            os.kill(self.processes[worker], signal.SIGSTOP)
            while state(self.processes[worker]) != "T":
                os.sched_yield()
            if self.value(worker, "gauge_livesum", IN_FLIGHT) > 0:
                return worker
            os.kill(self.processes[worker], signal.SIGCONT)
        raise AssertionError("no worker is ever busy")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "foresight.yaml"
    path.write_text(
        f"services: {{drain_notice_seconds: 0}}\ncache: {{path: '{tmp_path / 'cache'}'}}\n"
    )
    return path


@contextmanager
def two_workers(config: Path, what: str = "all", *arguments: str) -> Iterator[Deployment]:
    folder = config.parent / "supervisor"
    folder.mkdir()
    env = {"TMPDIR": str(folder)}
    with serving(what, "--workers", "2", *arguments, config=config, env=env) as running:
        deployment = Deployment(running, folder, {})
        running.out.wait_for(f"^{what} is ready$")
        deployment.await_starts(2)
        yield deployment


def compute(service: Running) -> None:
    """Compute a reward over a connection of its own."""
    with Client(service.address) as client:
        assert client.send(SMALL).values[0] is not None


def until(condition: Callable[[], bool], service: Running, most: int = 200) -> int:
    """Compute rewards until `condition` holds; return how many it took."""
    for count in range(most):
        if condition():
            return count
        compute(service)
    raise AssertionError(f"{most} connections have not been enough")


def state(process: int) -> str:
    """Return the letter by which the system tells what a process does."""
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]


def alive(process: int) -> bool:
    try:
        # One that has ended and that nobody has asked about is no process any more.
        return state(process) != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def names(told: Scrape) -> set[tuple[str, frozenset[str]]]:
    return {(name, frozenset(dict(labels))) for name, labels in told.samples()}


async def test_both_answer_and_are_one_service_to_prometheus(config: Path) -> None:
    with two_workers(config) as live:
        service = live.running
        calls = until(lambda: min(live.answered(0), live.answered(1)) > 0, service)
        told = await scrape(service.metrics)
        assert told.value(ANSWERED, **COMPUTE) == calls
        assert live.answered(0) + live.answered(1) == calls
        assert told.value("foresight_futures_total", status="ok") == 2 * calls
        assert told.value("foresight_futures_in_flight") == 0
        assert told.value("process_cpu_seconds_total") > 0
        with serving("all", config=config) as single:
            compute(single)
            assert names(await scrape(single.metrics)) == names(told)


async def test_a_killed_worker_is_replaced_and_its_numbers_stay(config: Path) -> None:
    with two_workers(config) as live:
        service = live.running
        calls = until(lambda: live.answered(0) > 0, service)
        counted = live.answered(0)
        os.kill(live.processes[0], signal.SIGKILL)
        for _ in range(8):
            compute(service)
        service.err.wait_for(r"worker 0 ended with exit code 137; starting another")
        killed = live.processes[0]
        live.await_starts(3)
        assert live.processes[0] != killed
        calls += 8 + until(lambda: live.answered(0) > counted, service)
        assert (await scrape(service.metrics)).value(ANSWERED, **COMPUTE) == calls
        service.send(signal.SIGTERM)
        assert service.wait() == 0


async def test_what_a_killed_worker_had_in_flight_is_in_flight_no_more(config: Path) -> None:
    with two_workers(config) as live, Client(live.running.address) as client:
        events = client.stream_rewards([ENDLESS], progress=True)
        assert isinstance(next(events), FutureEvent)
        busy = live.stop_a_busy_one()
        assert (await scrape(live.running.metrics)).value(IN_FLIGHT) > 0
        os.kill(live.processes[busy], signal.SIGKILL)
        with pytest.raises(ServiceUnavailableError):
            list(events)
        live.running.err.wait_for(f"worker {busy} ended")
        live.await_starts(3)
        assert (await scrape(live.running.metrics)).value(IN_FLIGHT) == 0


def test_sigterm_lets_requests_finish_and_leaves_nothing(config: Path) -> None:
    with two_workers(config) as live, Client(live.running.address) as client:
        events = client.stream_rewards([LONG], progress=True)
        assert isinstance(next(events), FutureEvent)
        live.running.send(signal.SIGTERM)
        live.running.err.wait_for("draining")
        *_, last = events
        assert isinstance(last, GroupEvent) and last.rewards is not None
        assert [one.n_ok for one in last.rewards] == [512]
        assert live.running.wait() == 0
        assert not any(alive(process) for process in live.processes.values())
        assert list(live.folder.iterdir()) == []
        assert len(live.running.out.rest()) == 2
        assert "Traceback" not in "\n".join(live.running.err.rest())


def test_a_worker_that_is_told_to_end_finishes_its_calls_and_is_replaced(config: Path) -> None:
    with two_workers(config) as live, Client(live.running.address) as client:
        events = client.stream_rewards([LONG], progress=True)
        assert isinstance(next(events), FutureEvent)
        for process in live.processes.values():
            os.kill(process, signal.SIGTERM)
        *_, last = events
        assert isinstance(last, GroupEvent) and last.rewards is not None
        assert [one.n_ok for one in last.rewards] == [512]
        drained = set(live.processes.values())
        live.await_starts(4)
        assert drained.isdisjoint(live.processes.values())
        compute(live.running)


def test_a_second_signal_stops_at_once(config: Path) -> None:
    with two_workers(config) as live, Client(live.running.address) as client:
        events = client.stream_rewards([ENDLESS], progress=True)
        next(events)
        live.running.send(signal.SIGINT)
        live.running.err.wait_for("draining")
        live.running.send(signal.SIGTERM)
        assert live.running.wait() == 128 + signal.SIGTERM
        assert not any(alive(process) for process in live.processes.values())
        with pytest.raises(ServiceUnavailableError):
            list(events)


async def test_without_its_supervisor_no_worker_stays(config: Path) -> None:
    with two_workers(config) as live, Client(live.running.address) as client:
        events = client.stream_rewards([ENDLESS], progress=True)
        next(events)
        live.running.process.kill()
        await eventually(lambda: not any(alive(process) for process in live.processes.values()))
        assert list(live.folder.iterdir()) == []
        with pytest.raises(ServiceUnavailableError):
            list(events)


def test_the_port_is_nobody_elses(config: Path) -> None:
    with two_workers(config, "simulator") as live:
        address = live.running.address
        for workers in ("1", "2"):
            options = ("--listen", address, "--metrics", "none", "--workers", workers)
            ran = foresight("serve", "simulator", *options)
            assert (ran.returncode, ran.stdout) == (2, "")
            assert re.fullmatch(f"listen: cannot listen on {re.escape(address)}.*\n", ran.stderr)


def test_no_policy_is_published_to_one_of_several(config: Path) -> None:
    with two_workers(config) as live, Client(live.running.address) as client:
        with pytest.raises(InvalidRequestError, match="a service of several workers"):
            client.publish_policy(version=1, endpoint="http://127.0.0.1:1/v1")
        assert list(client.list_policies()) == []


def test_a_wrong_configuration_is_told_once(config: Path) -> None:
    config.write_text(
        config.read_text() + "worlds: {twenty_questions: {knowledge_path: /nonexistent}}\n"
    )
    options = ("--workers", "2", "--listen", "127.0.0.1:0", "--metrics", "none")
    ran = foresight("serve", "all", *options, "--config", config)
    assert (ran.returncode, ran.stdout) == (2, "")
    told = [line for line in ran.stderr.splitlines() if "INFO" not in line]
    assert len(told) == 1 and "/nonexistent" in told[0]


def test_workers_without_a_shared_cache_are_refused() -> None:
    for what in ("all", "reward"):
        ran = foresight("serve", what, "--workers", "2")
        assert (ran.returncode, ran.stdout) == (2, "")
        (told,) = ran.stderr.splitlines()
        assert told.startswith("--workers: must be 1 while every process has a cache of its own")
        assert "cache.url (Redis)" in told
