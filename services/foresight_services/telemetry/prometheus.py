"""Telemetry for Prometheus, and the endpoint that serves it.

Labels are bounded: statuses are `ok`, `complete`, `partial` and the contract's error reasons;
stages, roles, services, methods and codes are fixed sets; of training jobs, whose names are the
callers', the first 64 have a label of their own and all others share `other`.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import version
from threading import Thread
from typing import Final, Literal
from wsgiref.simple_server import WSGIServer

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
    start_http_server,
)

from foresight_services.core.cache_use import Origin
from foresight_services.core.ports import CachedKind, ModelRole, Stage
from foresight_services.core.usage import ModelUsage
from foresight_services.telemetry.cache_metrics import CacheMetrics

REWARD_BUCKETS: Final = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 60),
    *(120, 300, 600),
)
"""Seconds from 1 ms, an answer of rules, to 10 min, a long conversation of large models."""

STAGE_BUCKETS: Final = (0.00001, 0.0001, *REWARD_BUCKETS)
"""Seconds from 10 µs, a turn of rules."""

MOST_JOBS: Final = 64
"""Training jobs with a label of their own."""

OTHER_JOBS: Final = "other"
"""The label that all further training jobs share."""


class PrometheusTelemetry:
    """Implements the port `Telemetry` on a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        tell_program(self.registry)
        self._reward_seconds = Histogram(
            "foresight_reward_seconds",
            "Time from a request's start to a candidate's result, by status.",
            ["status"],
            buckets=REWARD_BUCKETS,
            registry=self.registry,
        )
        stage_seconds = Histogram(
            "foresight_stage_seconds",
            "Time that one stage of a future took.",
            ["stage"],
            buckets=STAGE_BUCKETS,
            registry=self.registry,
        )
        self._futures_in_flight = Gauge(
            "foresight_futures_in_flight",
            "Futures that are being simulated now.",
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self._futures_waiting = Gauge(
            "foresight_futures_waiting",
            "Futures that wait for a place to be simulated.",
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self._groups_refused = Counter(
            "foresight_groups_refused",
            "Groups refused at once because too many futures waited already.",
            registry=self.registry,
        )
        self._futures = Counter(
            "foresight_futures",
            "Simulated futures, by status.",
            ["status"],
            registry=self.registry,
        )
        model_calls = Counter(
            "foresight_model_calls",
            "Calls of models, by role and outcome.",
            ["role", "outcome"],
            registry=self.registry,
        )
        self._rewards_dropped = Counter(
            "foresight_rewards_dropped",
            "Entries of rewards that were not kept, because too many waited to be written.",
            registry=self.registry,
        )
        cache_answers = Counter(
            "foresight_cache_answers",
            "Futures and scores, by whether they were computed, found in the cache or shared with"
            " a request that was computing them.",
            ["kind", "origin"],
            registry=self.registry,
        )
        self.cache = CacheMetrics(self.registry)
        """What the operator sees of the cache's store."""
        self._spending = SpendingCounters(self.registry)
        self._requests = Histogram(
            "foresight_request_seconds",
            "Time that a gRPC call took in the service, by its outcome.",
            ["service", "method", "code"],
            buckets=REWARD_BUCKETS,
            registry=self.registry,
        )

        # Kept, because to find them by their labels costs the library as much as to count.
        self._stage = cache(stage_seconds.labels)
        self._call = cache(model_calls.labels)
        self._cache_answer = cache(cache_answers.labels)

    def stage_finished(self, stage: Stage, seconds: float) -> None:
        """Observe the time that one stage took."""
        self._stage(stage).observe(seconds)

    def model_called(self, role: ModelRole, outcome: Literal["ok", "error"]) -> None:
        """Count a model call."""
        self._call(role, outcome).inc()

    def model_spent(self, role: ModelRole, usage: ModelUsage) -> None:
        """Add up what a call cost."""
        self._spending.model_spent(role, usage)

    def job_spent(self, job: str, role: str, usage: ModelUsage) -> None:
        """Add up what a training job has spent."""
        self._spending.job_spent(job, role, usage)

    def futures_in_flight(self, change: int) -> None:
        """Move the number of futures in flight."""
        self._futures_in_flight.inc(change)

    def futures_waiting(self, change: int) -> None:
        """Move the number of futures that wait."""
        self._futures_waiting.inc(change)

    def group_refused(self) -> None:
        """Count a refused group."""
        self._groups_refused.inc()

    def future_finished(self, status: str) -> None:
        """Count a future."""
        self._futures.labels(status).inc()

    def reward_finished(self, status: str, seconds: float) -> None:
        """Observe a candidate's latency."""
        self._reward_seconds.labels(status).observe(seconds)

    def cache_answered(self, kind: CachedKind, origin: Origin, count: int) -> None:
        """Count futures or scores by where they came from."""
        self._cache_answer(kind, origin).inc(count)

    def rewards_dropped(self, count: int) -> None:
        """Count entries of rewards that were not kept."""
        self._rewards_dropped.inc(count)

    def request_finished(self, service: str, method: str, code: str, seconds: float) -> None:
        """Observe a gRPC call."""
        self._requests.labels(service, method, code).observe(seconds)


def tell_program(registry: CollectorRegistry) -> None:
    """Tell of the program and what runs it."""
    PlatformCollector(registry=registry)
    build = Info("foresight_build", "The program that runs.", registry=registry)
    build.info({"version": version("foresight")})


class SpendingCounters:
    """What models cost: by role, and by training job."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._jobs: set[str] = set()
        tokens = Counter(
            "foresight_model_tokens",
            "Tokens of models, by role; those read from a prefix cache are part of the prompt's.",
            ["role", "kind"],
            registry=registry,
        )
        self._dollars = Counter(
            "foresight_model_dollars",
            "Price of models' tokens in US dollars, by role.",
            ["role"],
            registry=registry,
        )
        self._retries = Counter(
            "foresight_model_retries",
            "Calls of models that repeated one that failed, by role.",
            ["role"],
            registry=registry,
        )
        self._hedges = Counter(
            "foresight_model_hedges",
            "Calls of models that raced a slow one, by role.",
            ["role"],
            registry=registry,
        )
        self._job_tokens = Counter(
            "foresight_job_tokens",
            "Tokens read and written for a training job, by role.",
            ["training_job", "role"],
            registry=registry,
        )
        self._job_dollars = Counter(
            "foresight_job_dollars",
            "Price of a training job's tokens in US dollars, by role.",
            ["training_job", "role"],
            registry=registry,
        )

        self._of_tokens = cache(tokens.labels)

    def model_spent(self, role: ModelRole, usage: ModelUsage) -> None:
        """Add up what a call cost."""
        self._of_tokens(role, "prompt").inc(usage.prompt_tokens)
        self._of_tokens(role, "completion").inc(usage.completion_tokens)
        # What most calls have none of is left out: each addition costs microseconds.
        if usage.cached_tokens:
            self._of_tokens(role, "cached").inc(usage.cached_tokens)
        if usage.dollars:
            self._dollars.labels(role).inc(usage.dollars)
        if usage.retries:
            self._retries.labels(role).inc(usage.retries)
        if usage.hedges:
            self._hedges.labels(role).inc(usage.hedges)

    def job_spent(self, job: str, role: str, usage: ModelUsage) -> None:
        """Add up what a training job has spent."""
        if job not in self._jobs:
            if len(self._jobs) < MOST_JOBS:
                self._jobs.add(job)
            else:
                job = OTHER_JOBS
        self._job_tokens.labels(job, role).inc(usage.prompt_tokens + usage.completion_tokens)
        self._job_dollars.labels(job, role).inc(usage.dollars)


class MetricsEndpoint:
    """The HTTP endpoint that Prometheus scrapes, on a thread of its own."""

    def __init__(self, registry: CollectorRegistry, address: str) -> None:
        """Serve `registry` on `address`, `host:port`; port 0 takes any free one."""
        host, _, port = address.rpartition(":")
        self._server: WSGIServer
        self._thread: Thread
        self._server, self._thread = start_http_server(int(port), host.strip("[]"), registry)
        self.address = f"{host}:{self._server.server_port}"

    def close(self) -> None:
        """Stop serving and release the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
