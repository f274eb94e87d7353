"""From a configuration to running services.

`all` puts the three services into one process with direct calls between them; `reward`,
`simulator` and `evaluator` are one service each, the reward service calling the other two.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Final, Literal

from foresight.v1 import evaluator_service_pb2_grpc as evaluator_pb_grpc
from foresight.v1 import policy_service_pb2_grpc as policy_pb_grpc
from foresight.v1 import reward_service_pb2_grpc as reward_pb_grpc
from foresight.v1 import simulator_service_pb2_grpc as simulator_pb_grpc
from foresight_services.bootstrap.caching import cached
from foresight_services.bootstrap.evaluator import build_evaluator
from foresight_services.bootstrap.identity import SimulatorIdentity
from foresight_services.bootstrap.models import Models
from foresight_services.bootstrap.peers import open_peers
from foresight_services.bootstrap.policies import build_policies, shared_policies
from foresight_services.bootstrap.recording import build_recording
from foresight_services.bootstrap.remotes import remote_access
from foresight_services.bootstrap.scraping import metrics_endpoint
from foresight_services.bootstrap.tools import Workshop
from foresight_services.bootstrap.worker_rules import check_workers, service_of
from foresight_services.config import BuiltinModelConfig, Config
from foresight_services.core.errors import InvalidInput, Violation
from foresight_services.core.policies import PolicyRegistry
from foresight_services.core.ports import Clock, Evaluator, Simulator, Telemetry
from foresight_services.core.reward import Rewards
from foresight_services.core.reward_store import RewardStore
from foresight_services.core.simulation import Simulation
from foresight_services.evaluator.remote import RemoteEvaluator
from foresight_services.evaluator.servicer import EvaluatorServicer
from foresight_services.models.recording import Recording
from foresight_services.reward.policy_servicer import PolicyServicer
from foresight_services.reward.servicer import RewardServicer
from foresight_services.rpc.channel import Peer, read_tls
from foresight_services.rpc.server import Registration, Server, wait_until_serving
from foresight_services.simulator.remote import RemoteSimulator
from foresight_services.simulator.servicer import SimulatorServicer
from foresight_services.tasks.presets import load_presets
from foresight_services.telemetry.inert import InertTelemetry
from foresight_services.telemetry.prometheus import PrometheusTelemetry
from foresight_services.worlds.goals import WorldGoals
from foresight_services.worlds.registry import make_worlds
from foresight_services.worlds.world import World

ServiceName = Literal["all", "reward", "simulator", "evaluator"]
"""What a process can serve."""

MOST_RULED_FUTURES: Final = 8
"""Futures at once where rules play every part. Rules compute and never wait, so more at once would
finish none of them sooner and, at a deadline, leave many begun in place of some finished."""


class MonotonicClock:
    """The machine's monotonic clock; implements the port `Clock`."""

    def now(self) -> float:
        """Return seconds since an arbitrary start."""
        return time.monotonic()


@dataclass(frozen=True, slots=True)
class RunningService:
    """A service that listens."""

    address: str
    """Where gRPC listens."""
    metrics: str | None
    """Where Prometheus scrapes; None where nothing does."""
    server: Server
    """Its life."""
    ready: asyncio.Task[None]
    """Done when it says that it is SERVING."""


def check(config: Config) -> None:
    """Check what `config` refers to, without starting anything.

    Raises:
        InvalidInput: where a file cannot be used.
    """
    models = build_models(config, MonotonicClock(), InertTelemetry())
    models.user(models.personas())
    models.policies()
    build_evaluator(config, MonotonicClock(), models)
    remote_access(config)
    load_presets(Path(config.tasks_path) if config.tasks_path else None)
    for name in ("reward", "simulator", "evaluator"):
        check_workers(config, name)
    if config.services.tls is not None:
        read_tls(config.services.tls)


@asynccontextmanager
async def running(config: Config, what: ServiceName) -> AsyncIterator[RunningService]:
    """Start `what` and yield it; on leaving, whatever still runs is stopped at once.

    Raises:
        InvalidInput: where an address cannot be listened on or a file cannot be used.
    """
    clock, telemetry = MonotonicClock(), PrometheusTelemetry()
    where = service_of(config, what)
    async with AsyncExitStack() as stack:
        peers: tuple[Peer, ...] = ()
        if what == "reward":
            peers = open_peers(config)
            for peer in peers:
                stack.push_async_callback(peer.channel.close)
        # The reward service knows no model, and need not have what the others' models need.
        models = None
        if what != "reward":
            recording = await build_recording(config, what, clock)
            if recording is not None:
                # Closed after the models, whose calls end in it.
                stack.push_async_callback(recording.aclose)
            models = build_models(config, clock, telemetry, recording)
            stack.push_async_callback(models.aclose)
        remotes: dict[str, Evaluator] = {}
        workshop = None
        if what in ("all", "evaluator"):
            workshop = Workshop(config, clock)
            stack.push_async_callback(workshop.aclose)
            for access in remote_access(config):
                # Not waited for: while it is down, its metrics fail and no others.
                peer = access.open()
                stack.push_async_callback(peer.channel.close)
                remotes[access.name] = RemoteEvaluator(peer, clock)
        registrations = await _registrations(
            config, what, peers, models, workshop, remotes, clock, telemetry, stack
        )
        server = Server(
            registrations,
            config=config,
            clock=clock,
            observe=telemetry.request_finished,
            shares_port=where.workers > 1,
        )
        address = await server.start(where.listen)
        stack.push_async_callback(server.stop)
        metrics = None
        if where.metrics is not None:
            endpoint = metrics_endpoint(telemetry.registry, where.metrics)
            stack.callback(endpoint.close)
            metrics = endpoint.address
        readiness = asyncio.create_task(server.serve_when(partial(_ready, models, peers)))
        stack.push_async_callback(_cancel, readiness)
        yield RunningService(address, metrics, server, readiness)


async def _ready(models: Models | None, peers: tuple[Peer, ...]) -> None:
    """Return when every model is loaded and every peer serves."""
    if models is not None:
        await models.start()
    await wait_until_serving(peers)


async def _registrations(
    config: Config,
    what: ServiceName,
    peers: tuple[Peer, ...],
    models: Models | None,
    workshop: Workshop | None,
    remotes: Mapping[str, Evaluator],
    clock: Clock,
    telemetry: PrometheusTelemetry,
    stack: AsyncExitStack,
) -> tuple[Registration, ...]:
    """Return what `what` serves; what has to be closed is left to `stack`."""
    served: list[Registration] = []
    simulator: Simulator | None = None
    evaluator: Evaluator | None = None
    if what == "reward":
        simulator = RemoteSimulator(peers[0], clock)
        evaluator = RemoteEvaluator(peers[1], clock)
    if models is not None and what in ("all", "simulator"):
        simulator = build_simulator(config, clock, telemetry, models)
        simulator_servicer = SimulatorServicer(simulator, clock)
        served.append(_register("SimulatorService", simulator_pb_grpc, simulator_servicer))
    if models is not None and what in ("all", "evaluator"):
        evaluator = build_evaluator(config, clock, models, workshop=workshop, remotes=remotes)
        evaluator_servicer = EvaluatorServicer(evaluator, clock)
        served.append(_register("EvaluatorService", evaluator_pb_grpc, evaluator_servicer))
    if simulator is not None and evaluator is not None:
        policies = await stack.enter_async_context(
            shared_policies(
                config.cache,
                workers=service_of(config, what).workers,
                clock=clock,
                observer=telemetry.cache,
            )
        )
        kept = None
        # An answer from a cache would be missing in a recording, and in a replay prove nothing.
        if config.recording is None:
            remembering = await stack.enter_async_context(
                cached(
                    config,
                    simulator,
                    evaluator,
                    clock=clock,
                    telemetry=telemetry,
                    observer=telemetry.cache,
                    dropped=telemetry.rewards_dropped,
                )
            )
            simulator, evaluator = remembering.simulator, remembering.evaluator
            kept = remembering.rewards
        rewards = build_rewards(config, simulator, evaluator, clock, telemetry, policies, kept)
        served.append(_register("RewardService", reward_pb_grpc, RewardServicer(rewards, clock)))
        served.append(_register("PolicyService", policy_pb_grpc, PolicyServicer(policies)))
    return tuple(served)


def _register(name: str, module: ModuleType, servicer: object) -> Registration:
    add = getattr(module, f"add_{name}Servicer_to_server")
    return Registration(f"foresight.v1.{name}", partial(add, servicer))


def build_rewards(
    config: Config,
    simulator: Simulator,
    evaluator: Evaluator,
    clock: Clock,
    telemetry: Telemetry,
    policies: PolicyRegistry | None = None,
    store: RewardStore | None = None,
) -> Rewards:
    """Return the main use case over any simulator and evaluator."""
    return Rewards(
        simulator=simulator,
        evaluator=evaluator,
        policies=policies or build_policies(),
        presets=load_presets(Path(config.tasks_path) if config.tasks_path else None),
        clock=clock,
        telemetry=telemetry,
        deadline_margin_seconds=config.services.deadline_margin_seconds,
        store=store,
        shared=True,
    )


def build_models(
    config: Config, clock: Clock, telemetry: Telemetry, recording: Recording | None = None
) -> Models:
    """Return the models of this process, not yet connected to anything."""
    return Models(config, _worlds(config), clock, telemetry, recording)


def build_simulator(
    config: Config, clock: Clock, telemetry: Telemetry, models: Models | None = None
) -> Simulation:
    """Return the simulator of this process."""
    models = models or build_models(config, clock, telemetry)
    ruled = all(isinstance(model, BuiltinModelConfig) for model in config.models.values())
    most = MOST_RULED_FUTURES if ruled else config.simulator.max_futures
    personas = models.personas()
    user = models.user(personas)
    return Simulation(
        user=user,
        policies=models.policies(),
        published=models.published(),
        goals=WorldGoals(models.worlds, world_required=personas is None),
        clock=clock,
        telemetry=telemetry,
        termination_signal=config.simulator.termination_signal,
        max_futures=min(config.simulator.max_futures, most),
        max_waiting_futures=config.simulator.max_waiting_futures,
        personas=personas,
        on_context_exhausted=config.simulator.on_context_exhausted,
        fingerprint=SimulatorIdentity(config, models, user),
    )


def _worlds(config: Config) -> Mapping[str, World]:
    settings = config.worlds.twenty_questions
    try:
        return make_worlds(error_rate=settings.error_rate, knowledge_path=settings.knowledge_path)
    except (OSError, ValueError) as error:
        field = "worlds.twenty_questions.knowledge_path"
        raise InvalidInput((Violation(field, f"cannot be used: {error}"),)) from error


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
