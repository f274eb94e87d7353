"""The backend `openai`: several choices and JSON schemas, from servers that have them or not."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from types import MappingProxyType

import pytest

from foresight_services.models.faults import ModelFault
from tests.fakes.openai_client import ask, openai_model
from tests.fakes.openai_server import Call, Fault, Reply, error, openai_server, says

SCHEMA = MappingProxyType(
    {
        "type": "object",
        "properties": MappingProxyType({"response": {"type": "string"}}),
        "required": ("response",),
        "additionalProperties": False,
    }
)


async def test_several_choices_come_from_one_call() -> None:
    async with openai_server() as server, openai_model(server.base_url) as model:
        three = await model.complete(ask(choices=3))
        assert [call.n for call in server.calls] == [3]
        one_by_one = [await model.complete(ask(seed=11 + i)) for i in range(3)]
    assert (three.text, *three.others) == tuple(reply.text for reply in one_by_one)
    assert three.completion_tokens == sum(reply.completion_tokens for reply in one_by_one)


async def test_choices_are_read_in_their_order_and_further_ones_left_out() -> None:
    choices = [{"index": i, "message": {"content": str(i)}} for i in (3, 1, 0, 2)]
    script = says(Fault(200, {"choices": choices}))
    async with openai_server(script) as server, openai_model(server.base_url) as model:
        reply = await model.complete(ask(choices=3))
    assert (reply.text, *reply.others) == ("0", "1", "2")


async def test_a_server_that_ignores_n_is_asked_for_each_choice_at_once() -> None:
    async with openai_server() as server, openai_model(server.base_url) as model:
        whole = await model.complete(ask(choices=3))
        server.calls.clear()
        server.script = lambda call: Reply(choices=1)
        assert await model.complete(ask(choices=3)) == replace(
            whole, prompt_tokens=3 * whole.prompt_tokens
        )
        assert [(call.n, call.seed) for call in server.calls] == [(3, 11), (1, 12), (1, 13)]

        together, arrived = asyncio.Event(), 0

        def held(call: Call) -> Reply:
            nonlocal arrived
            arrived += 1
            if arrived == 3:
                together.set()
            return Reply(after=together)

        server.script = held  # answers only when all three have come
        again = await model.complete(ask(choices=3))
    assert again.others == whole.others
    assert [call.n for call in server.calls[3:]] == [1, 1, 1]


async def test_fewer_choices_than_asked_for_are_made_up() -> None:
    async with openai_server() as server, openai_model(server.base_url) as model:
        whole = await model.complete(ask(choices=4))
        server.script = lambda call: Reply(choices=min(call.n, 2))
        made_up = await model.complete(ask(choices=4))
        assert (made_up.text, made_up.others) == (whole.text, whole.others)
        await model.complete(ask(choices=4))
    assert [call.n for call in server.calls] == [4, 4, 1, 1, 4, 1, 1]


@pytest.mark.parametrize(
    "words",
    [
        "n must be 1 when using greedy sampling, got 3.",
        "Only one completion choice is allowed",
        "Parameter n > 1 is not supported",
    ],
)
async def test_a_server_that_refuses_n_is_asked_one_by_one(words: str) -> None:
    async with openai_server() as server, openai_model(server.base_url) as model:
        server.script = lambda call: error(400, words) if call.n > 1 else Reply()
        for _ in range(2):
            assert len((await model.complete(ask(choices=3))).others) == 2
    assert [call.n for call in server.calls] == [3, 1, 1, 1, 1, 1, 1]


async def test_where_one_of_several_calls_fails_the_others_are_cancelled() -> None:
    held: list[Call] = []
    both = asyncio.Event()

    def script(call: Call) -> Reply | Fault:
        if call.n > 1:
            return Reply(choices=1)
        if call.seed == 12:
            return replace(error(500), after=both)
        held.append(call)
        if len(held) == 2:
            both.set()
        return Reply(after=asyncio.Event())

    async with openai_server(script) as server, openai_model(server.base_url) as model:
        with pytest.raises(ModelFault, match="HTTP 500"):
            await model.complete(ask(choices=4))
        for call in held:
            await call.ended.wait()
    assert [call.outcome for call in held] == ["cancelled"] * 2


async def test_a_schema_is_sent_where_the_server_takes_it() -> None:
    async with openai_server() as server, openai_model(server.base_url) as model:
        reply = await model.complete(ask(schema=SCHEMA))
    assert list(json.loads(reply.text)) == ["response"]
    form = server.calls[0].body["response_format"]
    assert form["type"] == "json_schema"
    assert form["json_schema"]["strict"] is True
    assert server.calls[0].schema is not None
    assert server.calls[0].schema["required"] == ["response"]


async def test_a_schema_that_leaves_something_open_is_not_called_strict() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    async with openai_server() as server, openai_model(server.base_url) as model:
        await model.complete(ask(schema=schema))
    assert server.calls[0].body["response_format"]["json_schema"]["strict"] is False


async def test_no_schema_is_sent_where_none_is_wanted() -> None:
    async with (
        openai_server() as server,
        openai_model(server.base_url, schema_mode="none") as model,
    ):
        await model.complete(ask(schema=SCHEMA))
    assert "response_format" not in server.calls[0].body


async def test_a_server_that_refuses_schemas_is_asked_once_and_never_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with (
        openai_server(schema="rejected") as server,
        openai_model(server.base_url) as model,
    ):
        replies = [await model.complete(ask(schema=SCHEMA)) for _ in range(3)]
        await model.with_model("another").complete(ask(schema=SCHEMA))
    assert len({reply.text for reply in replies}) == 1
    assert [call.schema is not None for call in server.calls] == [True] + [False] * 4
    assert len(caplog.records) == 1


async def test_an_error_that_is_not_about_the_schema_says_nothing_about_it() -> None:
    script = says(error(400, "no"), error(400, "no"), Reply())
    async with openai_server(script) as server, openai_model(server.base_url) as model:
        with pytest.raises(ModelFault, match="no"):
            await model.complete(ask(schema=SCHEMA))
        await model.complete(ask(schema=SCHEMA))
    assert [call.schema is not None for call in server.calls] == [True, False, True]
