"""TRL's generation server and `vllm serve`, which it is: the real one on the CPU, over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from foresight_services.core.ports import ChatModel
from foresight_services.models.faults import FaultKind, ModelFault
from foresight_services.models.openai import OpenAIModel, OpenAISettings
from foresight_services.models.trl_server import TrlServerModel, TrlServerSettings
from tests.fakes.virtual_time import LoopClock
from tests.fakes.waiting import eventually
from tests.vllm.conftest import TinyFiles
from tests.vllm.contract import ChatModelContract, InFlight, ask, assert_all_same, assert_same
from tests.vllm.serving import Served

pytestmark = pytest.mark.asyncio(loop_scope="module")

LOAD = 40
"""Futures in flight when a version is replaced."""

SHORT, LONG = 16, 96
"""Lengths of replies in tokens."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def openai(server: Served) -> AsyncIterator[OpenAIModel]:
    """Ask the server as any OpenAI server."""
    settings = OpenAISettings(
        "tiny", f"{server.url}/v1", model="tiny", api_key=None, temperature=1.0
    )
    model = OpenAIModel(settings, clock=LoopClock())
    yield model
    await model.aclose()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def trl(server: Served) -> AsyncIterator[TrlServerModel]:
    """Ask the server as TRL's."""
    model = TrlServerModel(TrlServerSettings("policy", server.url), clock=LoopClock())
    yield model
    await model.aclose()


async def post(server: Served, path: str, body: dict[str, Any]) -> None:
    """Tell the server to do something; it must."""
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{server.url}{path}", json=body) as answer,
    ):
        assert answer.status == 200, await answer.text()


def begin(model: ChatModel, tokens: int) -> list[asyncio.Task[str]]:
    """Begin many futures of `model`."""

    async def say(seed: int) -> str:
        return (await model.complete(ask(seed=seed, max_tokens=tokens))).text

    return [asyncio.create_task(say(seed)) for seed in range(LOAD)]


async def many(model: ChatModel, tokens: int = SHORT) -> list[str]:
    """Return what `model` says in many futures at once."""
    return list(await asyncio.gather(*begin(model, tokens)))


class TestContractOfOpenAI(ChatModelContract):
    """The backend `openai` on `vllm serve`."""

    @pytest.fixture
    def model(self, openai: OpenAIModel) -> ChatModel:
        return openai


class TestContractOfTrl(ChatModelContract):
    """The backend of TRL's generation server."""

    @pytest.fixture
    def model(self, trl: TrlServerModel) -> ChatModel:
        return trl


async def test_both_backends_ask_for_the_same(openai: OpenAIModel, trl: TrlServerModel) -> None:
    assert (await openai.complete(ask())).text == (await trl.complete(ask())).text


async def test_a_model_that_the_server_does_not_know(openai: OpenAIModel) -> None:
    with pytest.raises(ModelFault) as told:
        await openai.with_model("absent").complete(ask())
    assert told.value.kind is FaultKind.UNKNOWN_MODEL


async def test_a_new_adapter_leaves_futures_in_flight_on_theirs(
    server: Served, openai: OpenAIModel, tiny: TinyFiles
) -> None:
    first, second = openai.with_model("policy@1"), openai.with_model("policy@2")
    one, two = (
        {"lora_name": f"policy@{n}", "lora_path": str(tiny.adapters[n - 1])} for n in (1, 2)
    )
    await post(server, "/v1/load_lora_adapter", one)
    ones, bases = InFlight(first, LOAD, LONG), InFlight(openai, LOAD, LONG)
    await eventually(lambda: server.metric("vllm:num_requests_running") >= 2 * LOAD)
    at = ones.ended(), bases.ended()
    await post(server, "/v1/load_lora_adapter", two)
    twos = await many(second)
    first_said, base_said = await asyncio.gather(ones.stop(at[0]), bases.stop(at[1]))

    ones_alone, bases_alone, twos_alone = await asyncio.gather(
        many(first, LONG), many(openai, LONG), many(second)
    )
    assert_all_same(first_said, ones_alone)
    assert_all_same(base_said, bases_alone)
    assert_same(twos, twos_alone)
    assert not set(twos) & {text[: len(two)] for text, two in zip(ones_alone, twos, strict=True)}


async def test_a_cancelled_call_ends_in_the_server(server: Served, openai: OpenAIModel) -> None:
    written = server.metric("vllm:generation_tokens_total")
    calls = [
        asyncio.create_task(openai.complete(replace(ask(seed=seed, max_tokens=900), choices=2)))
        for seed in range(8)
    ]
    await eventually(lambda: server.metric("vllm:num_requests_running") == 2 * len(calls))
    for call in calls:
        call.cancel()
    ended = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(end, asyncio.CancelledError) for end in ended)
    await eventually(lambda: server.metric("vllm:num_requests_running") == 0)
    assert server.metric("vllm:generation_tokens_total") - written < 2 * len(calls) * 900 / 2


async def test_futures_come_from_the_weights_that_were_trained_last(
    server: Served, trl: TrlServerModel, tiny: TinyFiles
) -> None:
    """TRL itself sends weights from GPU to GPU; on a CPU the server reads them from a folder."""
    before = await many(trl)
    await _train(server, tiny.trained)
    after = await many(trl)
    assert not set(before) & set(after)
    await _train(server, tiny.model)
    assert_same(await many(trl), before)


async def _train(server: Served, weights: Any) -> None:
    """Put other weights in the place of the server's, as a training step does."""
    reload = {"method": "reload_weights", "kwargs": {"weights_path": str(weights)}}
    await post(server, "/collective_rpc", reload)
    await post(server, "/reset_prefix_cache", {})
