"""Telemetry of processes that share a port, as one service.

Each worker keeps its numbers in files of a directory of their supervisor, which adds them up when
Prometheus scrapes. A worker's files are called by its number, so one that is started again counts
on where the one before it ended, and no files pile up; what only lives with a process, the number
of futures in flight, is forgotten when it dies. Names and labels are those of a single process.
"""

from __future__ import annotations

import glob
import os
import resource
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector, values
from prometheus_client.metrics_core import CounterMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from foresight_services.telemetry.prometheus import tell_program

OURS: Final = "foresight_"
"""What our names begin with; packages that a worker loads may count in the same files."""

_PER_PROCESS: Final = ("process_start_time_seconds", "process_max_fds")
"""Of these the supervisor's are told; adding them up would mean nothing."""


def keep_numbers_in(directory: str, worker: int) -> None:
    """Keep the numbers of this process in `directory`; call it before any telemetry is made."""
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = directory
    values.ValueClass = values.MultiProcessValue(lambda: worker)  # type: ignore[no-untyped-call]


def forget_living(directory: str, worker: int) -> None:
    """Forget what only lives with a process; `worker` has died."""
    mark_process_dead(worker, directory)  # type: ignore[no-untyped-call]


def workers_registry(directory: str, processes: Callable[[], Iterable[int]]) -> CollectorRegistry:
    """Return what tells of all workers that keep their numbers in `directory`.

    Args:
        directory: where the workers' files are.
        processes: returns the ids of the workers that live.
    """
    registry = CollectorRegistry()
    registry.register(_WorkersProcesses(processes))
    registry.register(_WorkersNumbers(directory))
    tell_program(registry)
    return registry


class _WorkersNumbers(Collector):
    """What the workers count and time."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._created = time.time()

    def collect(self) -> Iterator[Metric]:
        """Add up the files of all workers."""
        # A file that a worker is just making has no content yet.
        files = [file for file in glob.glob(f"{self._directory}/*.db") if _size(file)]
        for metric in MultiProcessCollector.merge(files):  # type: ignore[no-untyped-call]
            if not metric.name.startswith(OURS):
                continue
            if metric.type in ("counter", "histogram"):
                self._tell_creation(metric)
            yield metric

    def _tell_creation(self, metric: Metric) -> None:
        # The files have no such times. None is older than the directory, which is enough to tell
        # a counter that began anew.
        last = "_total" if metric.type == "counter" else "_count"
        for sample in tuple(metric.samples):
            if sample.name == metric.name + last:
                metric.add_sample(f"{metric.name}_created", sample.labels, self._created)


class _WorkersProcesses(Collector):
    """CPU, memory and files of the supervisor and its workers together."""

    def __init__(self, processes: Callable[[], Iterable[int]]) -> None:
        self._processes = processes

    def collect(self) -> Iterator[Metric]:
        """Add up what the system tells of the processes."""
        together = {metric.name: metric for metric in _process("self")}
        for process in self._processes():
            for metric in _process(str(process)):
                total = together.get(metric.name)
                if total is not None and metric.name not in _PER_PROCESS:
                    _add(total, metric.samples[0].value)
        for metric in together.values():
            if isinstance(metric, CounterMetricFamily):
                # The time of those that died, or the sum would fall.
                ended = resource.getrusage(resource.RUSAGE_CHILDREN)
                _add(metric, ended.ru_utime + ended.ru_stime)
            yield metric


def _process(name: str) -> Iterable[Metric]:
    return ProcessCollector(pid=lambda: name, registry=None).collect()


def _add(metric: Metric, value: float) -> None:
    (sample,) = metric.samples
    metric.samples = [sample._replace(value=sample.value + value)]


def _size(file: str) -> int:
    try:
        return Path(file).stat().st_size
    except FileNotFoundError:
        return 0
