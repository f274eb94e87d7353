"""Policies whose versions are LoRA adapters of one server."""

from __future__ import annotations

from foresight_services.core.conversation import Message
from foresight_services.core.ports import ChatModel, ChatRequest
from foresight_services.core.published import PolicySource, PublishedPolicy, SourceKind
from foresight_services.core.task import PolicyRef, Task
from foresight_services.core.usage import Ledger
from foresight_services.models.lora_server import LoraServer, LoraServerSettings
from foresight_services.models.openai import OpenAIModel, OpenAISettings
from foresight_services.models.published import SharedPublishedModels
from foresight_services.models.published_sources import ServerAdapterOpener
from tests.fakes.lora_server import BASE, LoraVllm


class SetClock:
    """A clock that a test sets."""

    time = 0.0

    def now(self) -> float:
        """Return it."""
        return self.time


class Policies:
    """Published versions of one policy, played by adapters of one server."""

    def __init__(self, vllm: LoraVllm, *, max_idle: int = 4, **settings: float) -> None:
        """Load adapters into `vllm`; `settings` are further ones of the `LoraServer`."""
        self.clock = SetClock()
        self.lora = LoraServer(
            LoraServerSettings("policy", vllm.base_url, api_key="key", **settings),
            clock=self.clock,
        )
        self.model = OpenAIModel(
            OpenAISettings("policy", vllm.base_url, BASE, api_key="key", temperature=1.0),
            clock=self.clock,
        )
        opener = ServerAdapterOpener(
            self.model, self.lora, place=vllm.base_url, decorate=lambda model, place, policy: model
        )
        openers = {"policy": {SourceKind.LORA_ADAPTER_PATH: opener}}
        self.models = SharedPublishedModels(openers, default="policy", max_idle=max_idle)

    async def reply(self, policy: PublishedPolicy) -> str:
        """Return what a version says, held for one call."""
        async with self.models.open(policy) as model:
            return await ask(model)

    async def aclose(self) -> None:
        """Close every connection."""
        await self.models.aclose()
        await self.lora.aclose()
        await self.model.aclose()


async def ask(model: ChatModel) -> str:
    """Return what a policy says."""
    conversation = (Message("user", "Who are you?"),)
    request = ChatRequest("policy", Task(), conversation, 1, 100, Ledger())
    return (await model.complete(request)).text


def version(number: int, path: str, *, at: int = 0, name: str = "policy") -> PublishedPolicy:
    """Return a version whose adapter is in a directory."""
    source = PolicySource(SourceKind.LORA_ADAPTER_PATH, path)
    return PublishedPolicy(PolicyRef(name, number), source, at)
