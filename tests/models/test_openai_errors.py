"""The errors that servers of the OpenAI chat API tell: their kinds, waits and what is passed on."""

from __future__ import annotations

import json
from email.utils import formatdate
from typing import Any

import pytest

from foresight_services.core.conversation import Message
from foresight_services.core.errors import Family, Reason
from foresight_services.models.faults import FaultKind, ModelFault
from tests.fakes.openai_client import NOON, ask, openai_model
from tests.fakes.openai_server import Fault, error, openai_server, says


async def fault_of(answer: Fault, **fields: Any) -> ModelFault:
    """Return the fault that one answer becomes, after a single call."""
    async with (
        openai_server(says(answer)) as server,
        openai_model(server.base_url, api_key="sk-abcdefghijkl-0123456789") as model,
    ):
        with pytest.raises(ModelFault) as failed:
            await model.complete(ask(**fields))
    assert len(server.calls) == 1
    return failed.value


STATUSES = {
    400: FaultKind.BAD_REQUEST,
    401: FaultKind.UNAUTHORIZED,
    402: FaultKind.UNAUTHORIZED,
    403: FaultKind.UNAUTHORIZED,
    404: FaultKind.BAD_REQUEST,
    405: FaultKind.BAD_REQUEST,
    408: FaultKind.TIMEOUT,
    413: FaultKind.BAD_REQUEST,
    422: FaultKind.BAD_REQUEST,
    429: FaultKind.RATE_LIMITED,
    500: FaultKind.SERVER_ERROR,
    502: FaultKind.SERVER_ERROR,
    503: FaultKind.OVERLOADED,
    504: FaultKind.TIMEOUT,
    529: FaultKind.OVERLOADED,
    599: FaultKind.SERVER_ERROR,
}


@pytest.mark.parametrize("status", STATUSES)
async def test_the_status_tells_the_kind(status: int) -> None:
    fault = await fault_of(error(status, "something is wrong"))
    assert fault.kind is STATUSES[status]
    assert f"HTTP {status}" in fault.message
    assert fault.retry_after_seconds is None


def openai(message: str, code: str | None = None, **fields: Any) -> dict[str, Any]:
    """Word an error as OpenAI, llama.cpp and newer vLLM do."""
    return {"error": {"message": message, "type": "invalid_request_error", "code": code, **fields}}


def vllm(message: str) -> dict[str, Any]:
    """Word an error as SGLang and older vLLM do."""
    return {"object": "error", "message": message, "type": "BadRequestError", "code": 400}


LONG = "This model's maximum context length is 4096 tokens"
CONTEXTS: dict[str, tuple[int, dict[str, Any]]] = {
    "OpenAI": (
        400,
        openai(
            f"{LONG}. However, your messages resulted in 5000 tokens.", "context_length_exceeded"
        ),
    ),
    "OpenAI, code only": (400, openai("Too much.", "context_length_exceeded")),
    "vLLM, older": (400, vllm(f"{LONG}. However, you requested 5000 tokens (4900 + 100).")),
    "vLLM, prompt": (
        400,
        vllm("The decoder prompt (length 5000) is longer than the maximum model length of 4096."),
    ),
    "vLLM, max_tokens": (
        400,
        openai(f"'max_tokens' is too large: 100. {LONG} and your request has 4090 input tokens."),
    ),
    "vLLM, newer": (
        400,
        openai(
            "You passed 4097 input tokens and requested 100 output tokens."
            " However, the model's context length is only 4096 tokens."
        ),
    ),
    "vLLM, nothing left": (400, vllm("max_tokens must be at least 1, got -186.")),
    "SGLang": (
        400,
        vllm("The input (61709 tokens) is longer than the model's context length (40960 tokens)."),
    ),
    "SGLang, total": (
        400,
        vllm("Requested token count exceeds the model's maximum context length of 4096 tokens."),
    ),
    "SGLang, memory": (
        400,
        vllm("Input length (160062 tokens) exceeds the maximum allowed length (59862 tokens)."),
    ),
    "llama.cpp": (
        400,
        openai(
            "request (4390 tokens) exceeds the available context size (4096 tokens)",
            type="exceed_context_size_error",
        ),
    ),
    "llama.cpp, older": (500, openai("Context size has been exceeded.", type="server_error")),
    "llama-cpp-python": (400, openai("Requested tokens (2285) exceed context window of 2048")),
    "Anthropic": (400, openai("prompt is too long: 210000 tokens > 200000 maximum")),
    "Gemini": (
        400,
        openai("The input token count (9) exceeds the maximum number of tokens allowed (8)."),
    ),
}


@pytest.mark.parametrize("server", CONTEXTS)
async def test_a_conversation_that_no_longer_fits(server: str) -> None:
    status, body = CONTEXTS[server]
    fault = await fault_of(Fault(status, body))
    assert fault.kind is FaultKind.CONTEXT
    assert fault.reason is Reason.CONTEXT_EXHAUSTED
    assert not fault.retryable


UNKNOWN: dict[str, tuple[int, dict[str, Any]]] = {
    "OpenAI": (404, openai("The model `tiny` does not exist or you have no access.")),
    "OpenAI, code only": (400, openai("Nope.", "model_not_found")),
    "no access": (403, openai("No access to `tiny`.", "model_not_found")),
    "vLLM": (404, {**vllm("The model `tiny` does not exist."), "code": 404}),
    "Ollama": (404, openai('model "tiny:1.5b" not found, try pulling it first', type="api_error")),
    "OpenRouter": (400, {"error": {"message": "tiny is not a valid model ID", "code": 400}}),
    "LiteLLM": (400, openai("Invalid model name passed in model=tiny. Call /v1/models")),
    "Mistral": (400, {"object": "error", "message": "No.", "type": "invalid_model", "code": 1500}),
}


@pytest.mark.parametrize("server", UNKNOWN)
async def test_a_model_that_the_server_does_not_know(server: str) -> None:
    status, body = UNKNOWN[server]
    fault = await fault_of(Fault(status, body))
    assert fault.kind is FaultKind.UNKNOWN_MODEL
    assert fault.family is Family.PRECONDITION
    assert "does not know the model 'tiny'" in fault.message


async def test_a_model_s_other_limits_are_not_the_context() -> None:
    words = "max_tokens is too large: 9999. This model supports at most 4096 completion tokens."
    fault = await fault_of(Fault(400, openai(words)))
    assert fault.kind is FaultKind.BAD_REQUEST
    assert words in fault.message


async def test_a_quota_that_is_used_up_is_no_rate_limit() -> None:
    fault = await fault_of(error(429, "Check your plan.", code="insufficient_quota"))
    assert fault.kind is FaultKind.UNAUTHORIZED


@pytest.mark.parametrize("code", ["content_filter", "content_policy_violation"])
async def test_a_filtered_prompt_is_a_refusal(code: str) -> None:
    assert (await fault_of(error(400, "Filtered.", code=code))).kind is FaultKind.REFUSED


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "1.5"}, 1.5),
        ({"Retry-After": "0"}, 0.0),
        ({"Retry-After-Ms": "250", "Retry-After": "1"}, 0.25),
        (
            {
                "Retry-After": "Tue, 14 Nov 2023 22:15:20 GMT",
                "Date": "Tue, 14 Nov 2023 22:14:50 GMT",
            },
            30.0,
        ),
        ({"Retry-After": formatdate(NOON + 90, usegmt=True), "Date": "never"}, 90.0),
        ({"Retry-After": formatdate(NOON - 90, usegmt=True), "Date": "never"}, 0.0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-3"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "inf"}, None),
    ],
    ids=str,
)
@pytest.mark.parametrize("status", [429, 503])
async def test_the_wait_that_a_server_asks_for(
    status: int, headers: dict[str, str], seconds: float | None
) -> None:
    fault = await fault_of(error(status, headers=headers))
    assert fault.retry_after_seconds == seconds
    assert fault.retryable


SHAPES: dict[str, str] = {
    "error object": json.dumps({"error": {"message": "bad thing"}}),
    "error text": json.dumps({"error": "bad thing"}),
    "message": json.dumps({"message": "bad thing"}),
    "detail": json.dumps({"detail": "bad thing"}),
    "text": "bad thing",
}


@pytest.mark.parametrize("shape", SHAPES)
async def test_what_a_server_says_is_passed_on(shape: str) -> None:
    fault = await fault_of(Fault(400, SHAPES[shape]))
    assert fault.message == "model 'policy': the server answered HTTP 400: bad thing"


@pytest.mark.parametrize("body", [b"", b"null", b"{}", b"[[]]", b'{"error": 1}', b'"\xff"'])
async def test_an_error_that_says_nothing(body: bytes) -> None:
    assert (await fault_of(Fault(500, body))).message.startswith(
        "model 'policy': the server answered HTTP 500"
    )


async def test_a_page_is_not_passed_on() -> None:
    fault = await fault_of(Fault(502, "<html><h1>Bad gateway</h1>", content_type="text/html"))
    assert fault.message == "model 'policy': the server answered HTTP 502: an HTML page"


async def test_a_message_is_shortened_and_made_one_printable_line() -> None:
    fault = await fault_of(error(400, "a\x1b[31m\x00b\r\nc\u202e " + "long " * 1000))
    assert "HTTP 400: a [31m b c long" in fault.message
    assert fault.message.isprintable()
    assert len(fault.message) < 400


async def test_what_is_repeated_of_the_conversation_or_the_key_is_left_out() -> None:
    secret = "my name is Rosa and\nI have “a” \\ secret 秘密秘密秘密秘密秘密"
    turns = (Message("user", secret), Message("assistant", "x = 2."))
    for form in (secret, json.dumps(secret), repr(secret), secret[6:30]):
        words = f"invalid input {form} and 'x = 2.' for key sk-abcdefghijkl-0123456789, sorry"
        fault = await fault_of(error(400, words), conversation=turns)
        assert fault.message.endswith(", sorry")
        assert "HTTP 400: invalid input" in fault.message
        for part in ("Rosa", "secret", "秘密", "u79d8", "x = 2.", "abcdef", "0123"):
            assert part not in fault.message


async def test_invalid_fields_are_named_without_their_values() -> None:
    detail = [{"loc": ["body", "messages", 0], "msg": "Input should be x", "input": "Rosa"}]
    fault = await fault_of(Fault(422, {"detail": detail}))
    assert fault.message.endswith("HTTP 422: body.messages.0: Input should be x")


async def test_a_refused_key_is_not_repeated_in_part() -> None:
    fault = await fault_of(error(401, "Incorrect API key provided: sk-a*****6789."))
    assert fault.message == "model 'policy': the server refuses the API key (HTTP 401)"
    assert fault.family is Family.PRECONDITION
