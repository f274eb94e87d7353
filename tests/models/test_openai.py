"""The backend `openai`: what it sends and what it reads."""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import Any

import pytest

from foresight_services.core.conversation import Message
from foresight_services.core.ports import ChatRequest
from foresight_services.models.openai import OpenAISettings
from tests.fakes.openai_client import ask, openai_model
from tests.fakes.openai_server import Fault, Reply, openai_server, says

MESSAGES = (
    Message("system", "Be brief."),
    Message("user", "Hello, 世界!\n\0"),
    Message("assistant", "Hi."),
    Message("user", "x^2?"),
)


async def sent_by(request: ChatRequest, **settings: Any) -> dict[str, Any]:
    """Return the body that the server got for `request`."""
    async with openai_server() as server, openai_model(server.base_url, **settings) as model:
        await model.complete(request)
    return server.calls[0].body


async def test_a_call_says_what_was_asked_and_no_more() -> None:
    assert await sent_by(ask(conversation=MESSAGES)) == {
        "model": "tiny",
        "messages": [{"role": m.role, "content": m.content} for m in MESSAGES],
        "temperature": 0.8,
        "max_tokens": 100,
        "seed": 11,
    }


async def test_a_prompt_is_sent_in_place_of_the_conversation() -> None:
    body = await sent_by(ask(conversation=MESSAGES, prompt=(Message("user", "Play a user."),)))
    assert body["messages"] == [{"role": "user", "content": "Play a user."}]


async def test_settings_are_sent() -> None:
    extra = MappingProxyType({"top_k": 20, "temperature": 0.1, "chat": MappingProxyType({"a": 1})})
    body = await sent_by(ask(stop=("END", "\n\n")), top_p=0.9, extra_body=extra)
    assert body["top_p"] == 0.9
    assert body["stop"] == ["END", "\n\n"]
    assert (body["top_k"], body["temperature"], body["chat"]) == (20, 0.1, {"a": 1})


async def test_a_form_of_the_configuration_is_sent_in_place_of_the_schema() -> None:
    schema = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
    made = (await sent_by(ask(schema=schema)))["response_format"]
    assert made["json_schema"] == {"name": "reply", "schema": schema, "strict": True}
    extra = {"response_format": {"type": "text"}}
    body = await sent_by(ask(schema=schema), extra_body=extra)
    assert body["response_format"] == {"type": "text"}


async def test_each_of_many_schemas_is_sent_as_it_is() -> None:
    async with openai_server() as server, openai_model(server.base_url) as model:
        for number in range(100):
            schema = {"type": "object", "properties": {f"k{number}": {"type": "string"}}}
            await model.complete(ask(schema=schema))
    sent = [call.body["response_format"]["json_schema"]["schema"] for call in server.calls]
    assert [list(one["properties"]) for one in sent] == [[f"k{n}"] for n in range(100)]


async def test_seeds_can_be_left_out() -> None:
    assert "seed" not in await sent_by(ask(), seed_mode=False)


@pytest.mark.parametrize("seed", [0, 2**31 - 1, 2**63, 2**64 - 1])
async def test_any_seed_is_sent_as_an_int32_with_room_for_those_of_further_choices(
    seed: int,
) -> None:
    first = (await sent_by(ask(seed=seed)))["seed"]
    assert 0 <= first < 2**31 - 2**16
    assert (await sent_by(ask(seed=seed)))["seed"] == first


async def test_the_key_is_sent_and_never_shown() -> None:
    async with (
        openai_server() as server,
        openai_model(server.base_url, api_key="s3cret") as model,
    ):
        await model.complete(ask())
    assert server.calls[0].headers["authorization"] == "Bearer s3cret"
    settings = OpenAISettings("policy", server.base_url, "tiny", "s3cret", 0.8)
    assert "s3cret" not in repr(settings)


@pytest.mark.parametrize("end", ["", "/", "//"])
async def test_the_end_of_the_address_may_be_a_slash(end: str) -> None:
    async with openai_server() as server, openai_model(server.base_url + end) as model:
        assert (await model.complete(ask())).text


@pytest.mark.parametrize(
    "wrong",
    [
        {"base_url": "127.0.0.1:8000/v1"},
        {"base_url": "ftp://host/v1"},
        {"base_url": "http://name:secret@host/v1"},
        {"temperature": -1},
        {"temperature": float("nan")},
        {"top_p": 0},
        {"timeout_seconds": 0},
        {"connect_timeout_seconds": 0},
        {"max_connections": 0},
        {"extra_body": {"stream": True}},
        {"extra_body": {"messages": []}},
    ],
    ids=str,
)
def test_settings_that_cannot_be_used_are_refused(wrong: dict[str, Any]) -> None:
    given = {"name": "m", "base_url": "http://h/v1", "model": "m", "api_key": None}
    with pytest.raises(ValueError, match=next(iter(wrong))):
        OpenAISettings(**{**given, "temperature": 1, **wrong})


async def test_text_finish_and_usage_are_read() -> None:
    script = says(Reply("one two three four", prompt_tokens=600, cached_tokens=512))
    async with openai_server(script) as server, openai_model(server.base_url) as model:
        whole = await model.complete(ask())
        cut = await model.complete(ask(max_tokens=2))
    assert (whole.text, whole.finish) == ("one two three four", "stop")
    assert (whole.prompt_tokens, whole.completion_tokens, whole.cached_tokens) == (600, 4, 512)
    assert (cut.text, cut.finish, cut.completion_tokens) == ("one two", "length", 2)
    assert whole.others == cut.others == ()


@pytest.mark.parametrize(
    "usage",
    [None, [], {}, {"prompt_tokens": "many", "completion_tokens": -1}, {"prompt_tokens": None}],
    ids=str,
)
async def test_a_server_that_tells_no_usage_costs_no_reply(
    usage: object, caplog: pytest.LogCaptureFixture
) -> None:
    body = {"choices": [{"message": {"content": "Hi."}}], "usage": usage}
    async with (
        openai_server(says(Fault(200, body))) as server,
        openai_model(server.base_url) as model,
    ):
        replies = [await model.complete(ask()) for _ in range(2)]
    assert [(r.text, r.prompt_tokens, r.completion_tokens) for r in replies] == [("Hi.", 0, 0)] * 2
    assert len(caplog.records) == 1


async def test_cached_tokens_are_part_of_those_read() -> None:
    script = says(Reply("Hi.", prompt_tokens=10, cached_tokens=99))
    async with openai_server(script) as server, openai_model(server.base_url) as model:
        assert (await model.complete(ask())).cached_tokens == 10


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "ab"),
        ("\ud83d alone", "? alone"),
        ("\ud83d\ude00 both", "\U0001f600 both"),
        ("before END after", "before "),
    ],
    ids=["parts", "half a surrogate", "surrogates", "stop text ignored"],
)
async def test_odd_texts_are_read(content: object, text: str) -> None:
    body = json.dumps({"choices": [{"message": {"content": content}}], "usage": None})
    async with (
        openai_server(says(Fault(200, body))) as server,
        openai_model(server.base_url) as model,
    ):
        assert (await model.complete(ask(stop=("END",)))).text == text
