"""Models of published versions: opened once, shared, closed when idle; and what each source is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from foresight_services.core.conversation import Message
from foresight_services.core.errors import Precondition, Reason
from foresight_services.core.ports import ChatModel, ChatRequest
from foresight_services.core.published import PolicySource, PublishedPolicy, SourceKind
from foresight_services.core.task import PolicyRef, Task
from foresight_services.core.usage import Ledger
from foresight_services.models.faults import FaultKind, ModelFault
from foresight_services.models.openai import OpenAISettings
from foresight_services.models.published import OpenedModel, SharedPublishedModels
from foresight_services.models.published_sources import (
    EndpointOpener,
    EngineAdapterOpener,
    TrlOpener,
)
from foresight_services.models.trl_server import TrlServerSettings
from tests.fakes.chat import ScriptedChat
from tests.fakes.lora_server import lora_vllm
from tests.fakes.openai_server import Reply, openai_server
from tests.fakes.virtual_time import LoopClock
from tests.fakes.waiting import eventually

SETTINGS = OpenAISettings(
    "policy", "http://127.0.0.1:1/v1", "tiny", api_key="secret", temperature=0.5
)


def at(
    location: str,
    number: int = 1,
    *,
    kind: SourceKind = SourceKind.ENDPOINT,
    name: str = "policy",
) -> PublishedPolicy:
    return PublishedPolicy(PolicyRef(name, number), PolicySource(kind, location), number)


def undecorated(model: ChatModel, place: str, policy: PublishedPolicy) -> ChatModel:
    return model


async def ask(model: ChatModel) -> str:
    conversation = (Message("user", "Who are you?"),)
    request = ChatRequest("policy", Task(), conversation, 1, 100, Ledger())
    return (await model.complete(request)).text


class Openings:
    """Opens models that say their address, and remembers what it opened and closed."""

    def __init__(self) -> None:
        self.opened: list[int] = []
        self.closed: list[int] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.fault: Exception | None = None

    async def __call__(self, policy: PublishedPolicy) -> OpenedModel:
        self.opened.append(policy.ref.version)
        await self.gate.wait()
        if self.fault is not None:
            raise self.fault

        async def close() -> None:
            self.closed.append(policy.ref.version)

        return OpenedModel(ScriptedChat(policy.source.location), close)


@pytest.fixture
def openings() -> Openings:
    """What was opened and closed."""
    return Openings()


@pytest.fixture
async def models(openings: Openings) -> AsyncIterator[SharedPublishedModels]:
    """Endpoints only, opened by `openings`."""
    models = SharedPublishedModels(
        {"policy": {SourceKind.ENDPOINT: openings}}, default="policy", max_idle=2
    )
    yield models
    await models.aclose()


async def test_requests_share_one_model_of_a_version(
    openings: Openings, models: SharedPublishedModels
) -> None:
    openings.gate.clear()
    policy = at("http://one")

    async def use() -> str:
        async with models.open(policy) as model:
            return await ask(model)

    uses = [asyncio.create_task(use()) for _ in range(8)]
    await eventually(lambda: openings.opened == [1])
    uses[0].cancel()
    openings.gate.set()
    assert await asyncio.gather(*uses[1:]) == ["http://one"] * 7
    assert await use() == "http://one"
    assert (openings.opened, openings.closed) == ([1], [])


async def test_the_least_recently_used_is_closed_when_idle(
    openings: Openings, models: SharedPublishedModels
) -> None:
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(models.open(at("http://1", 1)))
        for number in (2, 3, 2, 4):
            async with models.open(at(f"http://{number}", number)):
                pass
        await eventually(lambda: openings.closed == [3])
    await eventually(lambda: openings.closed == [3, 2])
    await models.aclose()
    assert sorted(openings.closed) == [1, 2, 3, 4]


async def test_what_failed_to_open_is_opened_anew(
    openings: Openings, models: SharedPublishedModels
) -> None:
    policy = at("http://one")
    openings.fault = ModelFault(FaultKind.SERVER_ERROR, "policy", "out of memory")
    for _ in range(2):
        with pytest.raises(ModelFault, match="out of memory"):
            async with models.open(policy):
                pytest.fail("opened what cannot be opened")
    openings.fault = None
    async with models.open(policy) as model:
        assert await ask(model) == "http://one"
    assert openings.opened == [1, 1, 1]


async def test_a_source_that_the_configuration_does_not_offer_is_refused(
    models: SharedPublishedModels,
) -> None:
    with pytest.raises(Precondition) as refused:
        async with models.open(at("/a", kind=SourceKind.LORA_ADAPTER_PATH)):
            pytest.fail("opened an adapter without an engine")
    assert refused.value.reason is Reason.MODEL_REJECTED
    assert refused.value.metadata == {"model": "policy", "kind": "lora_adapter_path"}
    assert "offers endpoint" in refused.value.message


async def test_a_name_that_is_not_configured_is_played_as_the_default_is(
    models: SharedPublishedModels,
) -> None:
    async with models.open(at("http://other", name="challenger")) as model:
        assert await ask(model) == "http://other"


async def test_an_endpoint_is_asked_as_the_configured_policy_is() -> None:
    places = []

    def decorate(model: ChatModel, place: str, policy: PublishedPolicy) -> ChatModel:
        places.append(place)
        return model

    async with openai_server(lambda call: Reply("I am 12")) as server:
        opener = EndpointOpener(SETTINGS, clock=LoopClock(), decorate=decorate)
        opened = await opener(at(server.base_url))
        assert await ask(opened.model) == "I am 12"
        await opened.close()
        (call,) = server.calls
    assert (call.model, call.body["temperature"]) == ("tiny", 0.5)
    assert places == [server.base_url]


@pytest.mark.parametrize(
    ("configured", "key_hosts", "sent"),
    [
        ("http://127.0.0.1:1/v1", (), True),
        ("http://elsewhere:1/v1", (), False),
        ("http://elsewhere:1/v1", ("127.0.0.1",), True),
        # The key travels encrypted so far, and would no longer.
        ("https://127.0.0.1:1/v1", (), False),
    ],
)
async def test_the_key_goes_to_the_configured_host_alone(
    configured: str, key_hosts: tuple[str, ...], sent: bool
) -> None:
    settings = OpenAISettings("policy", configured, "tiny", api_key="secret", temperature=1.0)
    async with openai_server() as server:
        opener = EndpointOpener(
            settings, clock=LoopClock(), decorate=undecorated, key_hosts=key_hosts
        )
        opened = await opener(at(server.base_url))
        await ask(opened.model)
        await opened.close()
        (call,) = server.calls
    assert call.headers.get("authorization") == ("Bearer secret" if sent else None)


async def test_trls_server_is_asked_at_the_published_address() -> None:
    async with lora_vllm() as server:
        settings = TrlServerSettings("policy", "http://127.0.0.1:1")
        opener = TrlOpener(settings, clock=LoopClock(), decorate=undecorated)
        opened = await opener(at(server.base_url.removesuffix("/v1"), kind=SourceKind.TRL_SERVER))
        assert await ask(opened.model) == "base"
        await opened.close()


async def test_an_engine_is_told_each_publication_apart() -> None:
    class Engine:
        def __init__(self) -> None:
            self.asked: list[tuple[str, int, str]] = []

        async def with_adapter(self, name: str, version: int, path: str) -> ChatModel:
            self.asked.append((name, version, path))
            return ScriptedChat(path)

    engine = Engine()
    opener = EngineAdapterOpener(engine, place="engine", decorate=undecorated)
    # Two runs of one trainer: same policy, same version, same directory.
    source = PolicySource(SourceKind.LORA_ADAPTER_PATH, "/a/1")
    for published_at_ns in (1, 2):
        opened = await opener(PublishedPolicy(PolicyRef("policy", 1), source, published_at_ns))
        assert await ask(opened.model) == "/a/1"
        await opened.close()
    assert [asked[1:] for asked in engine.asked] == [(1, "/a/1")] * 2
    assert len({asked[0] for asked in engine.asked}) == 2


async def test_a_closed_endpoint_lets_its_connections_go() -> None:
    async with openai_server() as server:
        models = SharedPublishedModels(
            {
                "policy": {
                    SourceKind.ENDPOINT: EndpointOpener(
                        SETTINGS, clock=LoopClock(), decorate=undecorated
                    )
                }
            },
            default="policy",
        )
        async with models.open(at(server.base_url)) as model:
            await ask(model)
            await models.aclose()
            with pytest.raises(RuntimeError, match="closed"):
                await ask(model)
