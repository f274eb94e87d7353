"""The backend `openai`: how it keeps connections and lets go of them."""

from __future__ import annotations

import asyncio

import pytest

from foresight_services.core.errors import DeadlinePassed
from foresight_services.models.faults import FaultKind, ModelFault
from tests.fakes.openai_client import ask, openai_model
from tests.fakes.openai_server import Call, Reply, openai_server, says


async def test_connections_are_kept_and_shared_with_other_models_of_the_server() -> None:
    async with openai_server() as server, openai_model(server.base_url) as model:
        adapter = model.with_model("adapter-7")
        for _ in range(3):
            await model.complete(ask())
            await adapter.complete(ask())
        await model.complete(ask())
    assert [call.model for call in server.calls[:2]] == ["tiny", "adapter-7"]
    assert server.connections == 1


async def test_no_more_connections_are_opened_than_configured() -> None:
    async with (
        openai_server() as server,
        openai_model(server.base_url, max_connections=2) as model,
    ):
        replies = await asyncio.gather(*(model.complete(ask(seed=s)) for s in range(20)))
    assert len(replies) == 20
    assert server.connections == server.most_in_flight == 2


async def test_a_cancelled_call_is_cancelled_at_the_server_at_once() -> None:
    arrived = asyncio.Event()

    def hold(call: Call) -> Reply:
        arrived.set()
        return Reply(after=asyncio.Event())

    async with openai_server(hold) as server, openai_model(server.base_url) as model:
        task = asyncio.create_task(model.complete(ask()))
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.calls[0].ended.wait()
        assert server.calls[0].outcome == "cancelled"
        server.script = lambda call: Reply()
        assert (await model.complete(ask())).text
    assert [call.connection for call in server.calls] == [0, 1]


async def test_the_deadline_ends_a_call_and_the_server_sees_it() -> None:
    script = says(Reply(after=asyncio.Event()))
    async with openai_server(script) as server, openai_model(server.base_url) as model:
        with pytest.raises(DeadlinePassed):
            await model.complete(ask(deadline=1000.1))
        await server.calls[0].ended.wait()
        assert server.calls[0].outcome == "cancelled"


async def test_a_deadline_that_has_passed_costs_no_call() -> None:
    async with openai_server() as server, openai_model(server.base_url) as model:
        with pytest.raises(DeadlinePassed):
            await model.complete(ask(deadline=1000.0))
    assert server.calls == []


async def test_a_late_deadline_leaves_the_timeout() -> None:
    script = says(Reply(after=asyncio.Event()))
    async with (
        openai_server(script) as server,
        openai_model(server.base_url, timeout_seconds=0.1) as model,
    ):
        with pytest.raises(ModelFault, match="no answer within 0.1 s") as failed:
            await model.complete(ask(deadline=2000.0))
    assert failed.value.kind is FaultKind.TIMEOUT


async def test_closing_twice_is_harmless_and_a_closed_model_says_so() -> None:
    async with openai_server() as server, openai_model(server.base_url) as model:
        await model.complete(ask())
        await model.aclose()
        await model.with_model("another").aclose()
        with pytest.raises(RuntimeError, match="'policy' was closed"):
            await model.complete(ask())


async def test_a_large_prompt_is_sent_whole() -> None:
    async with openai_server() as server, openai_model(server.base_url) as model:
        await model.complete(ask("word " * 500_000))
    assert len(server.calls[0].prompt) == 2_500_000
