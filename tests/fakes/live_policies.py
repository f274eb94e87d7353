"""Reward service and simulator on servers of their own, whose policies are published to them."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from foresight import AsyncClient, CandidateReward, Rewards
from foresight.v1 import policy_service_pb2_grpc, reward_service_pb2_grpc
from foresight_services.core.errors import NotFound, Reason
from foresight_services.core.policies import PolicyRegistry
from foresight_services.core.policy_store import MemoryPolicyStore
from foresight_services.core.ports import ChatModel, ResolvedPolicy
from foresight_services.core.published import PublishedPolicy, SourceKind
from foresight_services.core.simulation import Simulation
from foresight_services.core.task import PolicyRef, Task
from foresight_services.models.lora_server import LoraServer, LoraServerSettings
from foresight_services.models.openai import OpenAIModel, OpenAISettings
from foresight_services.models.published import Openers, SharedPublishedModels
from foresight_services.models.published_sources import (
    EndpointOpener,
    ServerAdapterOpener,
    TrlOpener,
)
from foresight_services.models.trl_server import TrlServerSettings
from foresight_services.reward.policy_servicer import PolicyServicer
from foresight_services.reward.servicer import RewardServicer
from foresight_services.rpc.server import Registration, Server
from tests.fakes.chat import ScriptedChat
from tests.fakes.evaluation import StubMetric
from tests.fakes.reward import make_rewards
from tests.fakes.servers import ANY_PORT, loopback, remote_simulator
from tests.fakes.simulation import SIGNAL, SeededGoals
from tests.fakes.telemetry import RecordingTelemetry
from tests.fakes.virtual_time import LoopClock

NOWHERE = "http://127.0.0.1:1/v1"
"""An address at which nothing listens."""


class ConfiguredPolicy:
    """The configured policy `policy`, which says `configured`; implements the port `Policies`."""

    async def resolve(self, ref: PolicyRef, task: Task) -> ResolvedPolicy:
        """Return it."""
        if ref != PolicyRef("policy", 0):
            raise NotFound(Reason.UNKNOWN_POLICY, "no such policy", metadata={"policy": ref.name})
        return ResolvedPolicy(ref, ScriptedChat("configured"))


@dataclass(frozen=True)
class Live:
    """The running services."""

    address: str
    """Address of the reward service."""
    client: AsyncClient
    """A client of it."""
    user: ScriptedChat
    """The user of every conversation."""

    async def compute(self, **fields: Any) -> Rewards:
        """Compute the rewards of `request`, in `timeout` seconds if that is given."""
        timeout = fields.pop("timeout", None)
        return await self.client.send(request(**fields), timeout=timeout)


def request(
    *, candidates: Sequence[str] = ("Sure.",), simulation: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return a request for futures with two policy turns each, two futures by default."""
    return {
        "task": {"goal": "the goal"},
        "prefix": [{"role": "user", "content": "Can you help?"}],
        "candidates": candidates,
        "objective": {"metrics": [{"name": "worth"}]},
        "simulation": {
            "horizon_messages": 4,
            "samples": {"min": 1, "max": 2},
            **(simulation or {}),
        },
        "include_futures": True,
    }


def played(candidate: CandidateReward) -> set[tuple[int, str]]:
    """Return the versions that are recorded, each with what the policy really said."""
    return {
        (future.policy.version, message.content)
        for future in candidate.futures
        if future.policy is not None
        for message in future.messages
        if message.role == "assistant"
    }


@asynccontextmanager
async def live_policies(base_url: str = NOWHERE) -> AsyncIterator[Live]:
    """Run the services; the policy is configured as the model `base` of the server there."""
    clock, user = LoopClock(), ScriptedChat("Go on.")
    settings = OpenAISettings("policy", base_url, "base", api_key=None, temperature=1.0)
    model = OpenAIModel(settings, clock=clock)
    lora = LoraServer(LoraServerSettings("policy", base_url), clock=clock)

    def decorate(backend: ChatModel, place: str, policy: PublishedPolicy) -> ChatModel:
        return backend

    trl = TrlServerSettings("policy", base_url)
    openers: Openers = {
        SourceKind.ENDPOINT: EndpointOpener(settings, clock=clock, decorate=decorate),
        SourceKind.LORA_ADAPTER_PATH: ServerAdapterOpener(
            model, lora, place=base_url, decorate=decorate
        ),
        SourceKind.TRL_SERVER: TrlOpener(trl, clock=clock, decorate=decorate),
    }
    models = SharedPublishedModels({"policy": openers}, default="policy")
    simulation = Simulation(
        user=user,
        policies=ConfiguredPolicy(),
        published=models,
        goals=SeededGoals(),
        clock=clock,
        telemetry=RecordingTelemetry(),
        termination_signal=SIGNAL,
        max_futures=1000,
    )
    try:
        async with _reward_service(simulation) as address, AsyncClient(address) as client:
            yield Live(address, client, user)
    finally:
        await models.aclose()
        await lora.aclose()
        await model.aclose()


@asynccontextmanager
async def _reward_service(simulation: Simulation) -> AsyncIterator[str]:
    """Run the reward service over a simulator behind a connection; yield its address."""
    clock, seconds = LoopClock(), itertools.count(1)
    policies = PolicyRegistry(
        store=MemoryPolicyStore(), now_ns=lambda: next(seconds) * 1_000_000_000
    )
    async with remote_simulator(simulation) as simulator:
        rewards = make_rewards(simulator, StubMetric("worth", 0.5), policies=policies)
        add_rewards = reward_service_pb2_grpc.add_RewardServiceServicer_to_server
        add_policies = policy_service_pb2_grpc.add_PolicyServiceServicer_to_server
        registrations = [
            Registration(
                "foresight.v1.RewardService", partial(add_rewards, RewardServicer(rewards, clock))
            ),
            Registration(
                "foresight.v1.PolicyService", partial(add_policies, PolicyServicer(policies))
            ),
        ]
        server = Server(
            registrations, config=loopback(), clock=clock, observe=lambda *measured: None
        )
        address = await server.start(ANY_PORT)
        try:
            yield address
        finally:
            await server.stop()
