"""What a rate of policy tokens asks of the services: a model that is linear in measured costs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

ROLES: Final = ("policy", "user", "judge")
SHARED: Final = ("Redis CPU", "Redis memory", "network")
"""Resources that all replicas have in common."""


@dataclass(frozen=True, slots=True)
class Costs:
    """What one future costs, measured."""

    reward_ms: float
    """CPU of the reward service for a future, in ms."""
    turn_ms: float
    """CPU of the simulator for one message."""
    verdict_ms: float
    """CPU of the evaluator for one verdict."""
    future_kib: float
    """Memory of the simulator for a future in flight."""
    idle_mib: float
    """Memory of a process that does nothing."""
    redis_ms: float
    """CPU of Redis for a future."""
    redis_commands: float
    """Commands to Redis for a future."""
    redis_kib: float
    """What goes to Redis and comes back for a future."""
    redis_memory_kib: float
    """What Redis keeps of a future and its scores."""
    network_kib: float
    """All that goes over the network for a future: models, gRPC, Redis."""
    cached_per_second: float
    """Rewards that one reward service answers from the cache in a second."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What is asked of a deployment."""

    gpus: int
    """GPUs that serve models."""
    tokens_per_second: float = 10_000.0
    """Tokens that one GPU writes in a second under full load."""
    message_tokens: float = 250.0
    """Tokens of a message or a verdict."""
    served: tuple[str, ...] = ("policy",)
    """Roles that the GPUs play; the others are played elsewhere."""
    calls_at_once: float = 256.0
    """Calls that one GPU answers at once under full load."""
    candidates: int = 8
    """Candidates of a group."""
    futures: int = 3
    """Futures of a candidate."""
    horizon: int = 4
    """Messages of a future."""
    verdicts: int = 2
    """Metrics that ask a judge."""
    cached_share: float = 0.0
    """Share of the rewards that were asked for before."""
    kept_seconds: float = 3600.0
    """How long a future has to be found in Redis."""

    @property
    def call_seconds(self) -> float:
        """How long a call takes under full load; elsewhere it takes as long."""
        return self.calls_at_once * self.message_tokens / self.tokens_per_second


@dataclass(frozen=True, slots=True)
class Limits:
    """What one of each can give."""

    busy: float = 0.7
    """Share of a core to plan with: above it, waiting for the event loop grows."""
    places: int = 8192
    """`simulator.max_futures`."""
    memory_mib: float = 512.0
    """Memory of a simulator."""
    network_mb: float = 1250.0
    """MB/s of a network link, 10 Gbit/s."""
    redis_memory_gib: float = 64.0
    """Memory of a Redis."""


@dataclass(frozen=True, slots=True)
class Size:
    """What a deployment needs."""

    gpus: int
    """GPUs that serve models."""
    futures_per_second: float
    """Futures that the GPUs allow."""
    groups_per_second: float
    """Groups of these."""
    calls_per_second: Mapping[str, float]
    """Calls, by role."""
    in_flight: float
    """Futures between their first and last message."""
    cores: Mapping[str, float]
    """CPU of each service and of Redis, in cores."""
    simulator_mib: float
    """Memory of all simulators."""
    redis_commands_per_second: float
    """Commands to Redis."""
    redis_mb_per_second: float
    """Bytes to and from Redis."""
    redis_gib: float
    """What Redis keeps at a time."""
    network_mb_per_second: float
    """All that goes over the network."""
    loads: Mapping[str, float]
    """What is asked of each resource, in what one of it can give."""
    replicas: Mapping[str, int]
    """Processes of each service."""

    @property
    def bottleneck(self) -> str:
        """What runs out first where there is one of everything."""
        return max(self.loads, key=self.loads.__getitem__)

    @property
    def shared_bottleneck(self) -> str:
        """What runs out first however many replicas there are."""
        return max(SHARED, key=self.loads.__getitem__)


def size(demand: Demand, costs: Costs, limits: Limits) -> Size:
    """Return what `demand` needs."""
    user_turns = (demand.horizon + 1) // 2  # The user speaks first after a candidate.
    calls = {"policy": demand.horizon - user_turns, "user": user_turns, "judge": demand.verdicts}
    served = sum(calls[role] for role in demand.served)
    if not served:
        raise ValueError("the GPUs have nothing to do: a future has no call of what they serve")
    completions = demand.gpus * demand.tokens_per_second / demand.message_tokens
    rate = completions / served
    rewards = rate / demand.futures
    # Rewards that are asked for again come on top of those that the GPUs allow.
    cached = rewards * demand.cached_share / (1 - demand.cached_share)
    in_flight = rate * demand.horizon * demand.call_seconds
    cores = {
        "reward": rate * costs.reward_ms / 1e3 + cached / costs.cached_per_second,
        "simulator": rate * demand.horizon * costs.turn_ms / 1e3,
        "evaluator": rate * demand.verdicts * costs.verdict_ms / 1e3,
        "Redis": rate * costs.redis_ms / 1e3,
    }
    memory = in_flight * costs.future_kib / 1024
    redis_gib = rate * demand.kept_seconds * costs.redis_memory_kib / 2**20
    network = rate * costs.network_kib * 1024 / 1e6
    room = limits.memory_mib - costs.idle_mib
    loads = {
        "reward CPU": cores["reward"] / limits.busy,
        "simulator CPU": cores["simulator"] / limits.busy,
        "simulator places": in_flight / limits.places,
        "simulator memory": memory / room,
        "evaluator CPU": cores["evaluator"] / limits.busy,
        "Redis CPU": cores["Redis"] / limits.busy,
        "Redis memory": redis_gib / limits.redis_memory_gib,
        "network": network / limits.network_mb,
    }
    replicas = {
        name: max(1, *(math.ceil(load) for what, load in loads.items() if what.startswith(name)))
        for name in ("reward", "simulator", "evaluator", "Redis")
    }
    return Size(
        gpus=demand.gpus,
        futures_per_second=rate,
        groups_per_second=rewards / demand.candidates,
        calls_per_second={role: rate * count for role, count in calls.items()},
        in_flight=in_flight,
        cores=cores,
        simulator_mib=memory + replicas["simulator"] * costs.idle_mib,
        redis_commands_per_second=rate * costs.redis_commands,
        redis_mb_per_second=rate * costs.redis_kib * 1024 / 1e6,
        redis_gib=redis_gib,
        network_mb_per_second=network,
        loads=loads,
        replicas=replicas,
    )
