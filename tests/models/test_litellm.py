"""The `litellm` backend against a real socket: what is asked, what comes back, what goes wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from foresight_services.core.conversation import Message
from foresight_services.core.errors import DeadlinePassed
from foresight_services.models.faults import FaultKind, ModelFault
from foresight_services.models.litellm import LiteLLMModel, LiteLLMSettings
from tests.fakes.openai_client import NOON, StoppedClock, ask
from tests.fakes.openai_server import (
    Fault,
    OpenAIServer,
    Reply,
    Script,
    derived,
    error,
    openai_server,
    says,
)

PROVIDERS = ("hosted_vllm", "openai")
"""One that LiteLLM calls itself, and one that it calls through the library of OpenAI."""

SECRET = "sk-very-secret-key"

CLOSED = {
    "type": "object",
    "properties": {"answer": {"type": "string"}},
    "required": ["answer"],
    "additionalProperties": False,
}


@asynccontextmanager
async def connected(
    script: Script = derived, *, provider: str = "openai", **settings: Any
) -> AsyncIterator[tuple[LiteLLMModel, OpenAIServer]]:
    """Open a backend for the model `tiny` of a server that follows `script`."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(openai_server(script))
        given = {"model": f"{provider}/tiny", "api_key_env": "KEY", "api_base": server.base_url}
        model = LiteLLMModel(
            LiteLLMSettings("policy", **{**given, **settings}),
            clock=StoppedClock(),
            wall_clock=lambda: NOON,
            environment={"KEY": SECRET},
        )
        stack.push_async_callback(model.aclose)
        yield model, server


@pytest.fixture(params=PROVIDERS)
def provider(request: pytest.FixtureRequest) -> str:
    """Choose a way that LiteLLM takes."""
    return request.param


async def fault_of(script: Script, provider: str, **fields: Any) -> tuple[ModelFault, OpenAIServer]:
    """Return what a call fails with."""
    async with connected(script, provider=provider) as (model, server):
        with pytest.raises(ModelFault) as failed:
            await model.complete(ask("Tell nobody about the blue whale.", **fields))
    return failed.value, server


async def test_everything_that_was_asked_for_is_sent(provider: str) -> None:
    settings: dict[str, Any] = {
        "temperature": 0.5,
        "top_p": 0.9,
        "extra": {"presence_penalty": 0.25},
    }
    async with connected(provider=provider, **settings) as (model, server):
        prompt = (Message("system", "Be brief."), Message("user", "hi"))
        request = ask(prompt=prompt, seed=2**64 - 1, max_tokens=7, stop=("END",), schema=CLOSED)
        await model.complete(request)
    (call,) = server.calls
    assert call.headers["authorization"] == f"Bearer {SECRET}"
    assert call.body == {
        "model": "tiny",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "hi"},
        ],
        "max_tokens": 7,
        "temperature": 0.5,
        "top_p": 0.9,
        "presence_penalty": 0.25,
        "seed": (2**64 - 1) % (2**31 - 2**16),
        "stop": ["END"],
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "reply", "schema": CLOSED, "strict": True},
        },
    }


async def test_what_was_not_asked_for_is_not_sent(provider: str) -> None:
    async with connected(provider=provider) as (model, server):
        await model.complete(ask())
    assert server.calls[0].body.keys() == {"model", "messages", "max_tokens", "seed"}


async def test_a_reply_tells_its_cost_and_why_it_ended(provider: str) -> None:
    script = says(Reply("one two three", prompt_tokens=600, cached_tokens=512, finish="length"))
    async with connected(script, provider=provider) as (model, _):
        reply = await model.complete(ask())
    assert (reply.text, reply.finish, reply.others) == ("one two three", "length", ())
    assert (reply.prompt_tokens, reply.completion_tokens, reply.cached_tokens) == (600, 3, 512)


async def test_a_reply_ends_before_a_stop_text_that_the_provider_let_through() -> None:
    async with connected(says(Reply("yes END no"))) as (model, server):
        server.script = says(Reply("yes FIN no"))
        assert (await model.complete(ask(stop=("FIN",)))).text.strip() == "yes"


async def test_several_choices_come_from_one_call(provider: str) -> None:
    async with connected(provider=provider) as (model, server):
        reply = await model.complete(ask(choices=3))
        one_by_one = [(await model.complete(ask(seed=ask().seed + i))).text for i in range(3)]
    assert server.calls[0].n == 3
    assert [reply.text, *reply.others] == one_by_one


async def test_choices_that_the_server_leaves_out_are_drawn_by_further_calls(
    provider: str,
) -> None:
    async with connected(lambda call: Reply(choices=1), provider=provider) as (model, server):
        first = await model.complete(ask(choices=3))
        again = await model.complete(ask(choices=3))
    assert first == again
    assert len({first.text, *first.others}) == 3
    # The second time it is not asked for what it does not give.
    assert [call.n for call in server.calls] == [3, 1, 1, 1, 1, 1]
    assert first.completion_tokens == sum(len(t.split()) for t in (first.text, *first.others))


async def test_where_one_of_several_calls_fails_the_call_fails() -> None:
    script = says(Reply("fine", choices=1), error(503))
    fault, _ = await fault_of(script, "openai", choices=3)
    assert fault.kind is FaultKind.OVERLOADED


ANSWERS: dict[str, tuple[Fault | Reply, FaultKind]] = {
    "429": (error(429), FaultKind.RATE_LIMITED),
    "no credit": (error(429, "insufficient_quota"), FaultKind.UNAUTHORIZED),
    "500": (error(500), FaultKind.SERVER_ERROR),
    "502": (error(502), FaultKind.SERVER_ERROR),
    "503": (error(503), FaultKind.OVERLOADED),
    "529": (error(529), FaultKind.OVERLOADED),
    "408": (error(408), FaultKind.TIMEOUT),
    "400": (error(400), FaultKind.BAD_REQUEST),
    "422": (error(422), FaultKind.BAD_REQUEST),
    "401": (error(401, f"bad key {SECRET}"), FaultKind.UNAUTHORIZED),
    "402": (error(402), FaultKind.UNAUTHORIZED),
    "403": (error(403), FaultKind.UNAUTHORIZED),
    "unknown model": (error(404, "The model `tiny` does not exist."), FaultKind.UNKNOWN_MODEL),
    "context": (
        error(400, "This model's maximum context length is 10 tokens, you requested 20."),
        FaultKind.CONTEXT,
    ),
    "filtered": (error(400, "content_policy_violation"), FaultKind.REFUSED),
    "refusal": (Reply("", message={"refusal": "I will not."}), FaultKind.REFUSED),
    "content filter": (Reply("no", finish="content_filter"), FaultKind.REFUSED),
    "HTML": (Fault(200, "<html>hi</html>", content_type="text/html"), FaultKind.MALFORMED),
    "half a JSON": (Fault(200, '{"choices": [{"mess'), FaultKind.MALFORMED),
    "not UTF-8": (Fault(200, b"\xff\xfe\x00"), FaultKind.MALFORMED),
    "a list": (Fault(200, "[]"), FaultKind.MALFORMED),
    "no message": (Fault(200, {"choices": [{"index": 0, "message": None}]}), FaultKind.MALFORMED),
    "error with 200": (Fault(200, {"error": {"message": "bad"}}), FaultKind.MALFORMED),
    "no choices": (Fault(200, {"choices": []}), FaultKind.EMPTY),
    "content null": (Reply([None]), FaultKind.EMPTY),
    "blank": (Reply(" \n"), FaultKind.EMPTY),
    "closed": (Fault(disconnect=True), FaultKind.CONNECTION),
}


@pytest.mark.parametrize("answer", ANSWERS)
async def test_faults_are_told_apart_and_nothing_is_retried(answer: str, provider: str) -> None:
    said, kind = ANSWERS[answer]
    fault, server = await fault_of(says(said), provider)
    assert fault.kind is kind
    assert len(server.calls) == 1
    assert SECRET not in str(fault)
    assert "blue whale" not in str(fault)


async def test_what_a_server_repeats_of_the_conversation_is_left_out(provider: str) -> None:
    said = error(400, "bad value: Tell nobody about the blue whale.")
    fault, _ = await fault_of(says(said), provider)
    assert "bad value" in str(fault)
    assert "blue whale" not in str(fault)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after": "Tue, 14 Nov 2023 22:13:30 GMT", "date": "x"}, 10.0),
        ({}, None),
    ],
)
async def test_the_server_says_how_long_to_wait(headers, seconds, provider: str) -> None:
    fault, _ = await fault_of(says(error(429, headers=headers)), provider)
    assert fault.retry_after_seconds == seconds


@pytest.mark.parametrize("base", ["http://127.0.0.1:9/v1", "http://no.such.host.invalid/v1"])
async def test_a_server_that_cannot_be_reached(base: str, provider: str) -> None:
    async with connected(provider=provider, api_base=base) as (model, _):
        with pytest.raises(ModelFault) as failed:
            await model.complete(ask())
    assert failed.value.kind is FaultKind.CONNECTION


async def test_a_call_that_takes_too_long(provider: str) -> None:
    never = Reply("late", after=asyncio.Event())
    async with connected(says(never), provider=provider, timeout_seconds=0.2) as (model, server):
        with pytest.raises(ModelFault, match="no answer within 0.2 s") as failed:
            await model.complete(ask())
        await server.calls[0].ended.wait()
    assert failed.value.kind is FaultKind.TIMEOUT
    assert server.cancelled == 1


async def test_a_deadline_before_the_timeout_is_the_callers_and_no_fault(provider: str) -> None:
    never = Reply("late", after=asyncio.Event())
    async with connected(says(never), provider=provider) as (model, server):
        with pytest.raises(DeadlinePassed):
            await model.complete(ask(deadline=1000.2))
        with pytest.raises(DeadlinePassed):
            await model.complete(ask(deadline=1000.0))
    assert len(server.calls) == 1


async def test_a_cancelled_call_is_hung_up_at_once(provider: str) -> None:
    arrived = asyncio.Event()

    def script(call: Any) -> Reply:
        arrived.set()
        return Reply("late", after=asyncio.Event())

    async with connected(script, provider=provider) as (model, server):
        call = asyncio.create_task(model.complete(ask()))
        await arrived.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await server.calls[0].ended.wait()
    assert server.cancelled == 1


async def test_a_provider_whose_key_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("gpt-4o-mini", "gemini/gemini-2.5-flash"):
        model = LiteLLMModel(LiteLLMSettings("user", name), clock=StoppedClock())
        with pytest.raises(ModelFault) as failed:
            await model.complete(ask())
        assert failed.value.kind is FaultKind.UNAUTHORIZED
        await model.aclose()


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"model": "nobody-knows-this"}, "names no provider that LiteLLM knows"),
        ({"model": "gpt-4o", "api_key_env": "NOT_SET"}, "NOT_SET is not set"),
        ({"model": "gpt-4o", "temperature": float("nan")}, "temperature"),
        ({"model": "gpt-4o", "top_p": 0.0}, "top_p"),
        ({"model": "gpt-4o", "timeout_seconds": 0.0}, "timeout_seconds"),
        ({"model": "gpt-4o", "extra": {"api_key": "x", "n": 2}}, "must not set api_key, n"),
    ],
)
def test_settings_that_cannot_be_used_are_refused_at_once(settings, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        LiteLLMModel(LiteLLMSettings("user", **settings), clock=StoppedClock(), environment={})
