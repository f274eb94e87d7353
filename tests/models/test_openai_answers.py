"""Answers with status 200 that are no replies: each is a `ModelFault`, told without its text."""

from __future__ import annotations

from typing import Any

import pytest

from foresight_services.models.faults import FaultKind, ModelFault
from tests.fakes.openai_client import ask, openai_model
from tests.fakes.openai_server import Fault, Reply, openai_server, says

SAID = "the reply that nobody may read"


def choice(**fields: Any) -> dict[str, Any]:
    """Return a body with one choice."""
    return {"choices": [{"index": 0, **fields}], "usage": {"prompt_tokens": 1}}


ANSWERS: dict[str, tuple[Reply | Fault, FaultKind, str]] = {
    "HTML": (
        Fault(200, f"<html>{SAID}</html>", content_type="text/html; charset=utf-8"),
        FaultKind.MALFORMED,
        "bytes of 'text/html', is not whole JSON",
    ),
    "half a JSON": (
        Fault(200, f'{{"choices": [{{"message": {{"content": "{SAID}'),
        FaultKind.MALFORMED,
        "is not whole JSON",
    ),
    "nothing": (Fault(200, ""), FaultKind.MALFORMED, "the answer, 0 bytes"),
    "deeply nested": (Fault(200, "[" * 200_000), FaultKind.MALFORMED, "is not whole JSON"),
    "a list": (Fault(200, "[1]"), FaultKind.MALFORMED, "is not a JSON object"),
    "invalid UTF-8": (
        Fault(200, b'{"choices": [{"message": {"content": "\xff\xfe"}}]}'),
        FaultKind.MALFORMED,
        "is not UTF-8",
    ),
    "choices missing": (Fault(200, {"id": "x"}), FaultKind.MALFORMED, "no list of choices"),
    "choices of another kind": (
        Fault(200, {"choices": [SAID]}),
        FaultKind.MALFORMED,
        "no list of choices",
    ),
    "choices empty": (Fault(200, {"choices": []}), FaultKind.EMPTY, "choices is empty"),
    "no message": (Fault(200, choice()), FaultKind.MALFORMED, "has no message"),
    "content null": (
        Fault(200, choice(message={"content": None}, finish_reason="stop")),
        FaultKind.EMPTY,
        "no text",
    ),
    "content blank": (Fault(200, choice(message={"content": " \n"})), FaultKind.EMPTY, "no text"),
    "content a number": (
        Fault(200, choice(message={"content": 42})),
        FaultKind.MALFORMED,
        "not a text",
    ),
    "thought only": (
        Fault(200, choice(message={"content": None}, finish_reason="length")),
        FaultKind.EMPTY,
        "the limit on tokens came before any text",
    ),
    "a refusal": (
        Fault(200, choice(message={"content": None, "refusal": SAID})),
        FaultKind.REFUSED,
        "refused",
    ),
    "filtered": (
        Fault(200, choice(message={"content": SAID}, finish_reason="content_filter")),
        FaultKind.REFUSED,
        "refused",
    ),
    "aborted": (
        Fault(200, choice(message={"content": SAID}, finish_reason="abort")),
        FaultKind.SERVER_ERROR,
        "'abort'",
    ),
    "200 with an error": (
        Fault(200, {"error": {"message": "engine died", "type": "internal"}}),
        FaultKind.SERVER_ERROR,
        "an error with status 200: engine died",
    ),
    "200 with an error's code": (
        Fault(200, {"error": {"message": "slow down", "code": 429}, "choices": None}),
        FaultKind.RATE_LIMITED,
        "slow down",
    ),
    "200 with an error in the choice": (
        Fault(200, choice(error={"message": "gone", "code": 502}, finish_reason="error")),
        FaultKind.SERVER_ERROR,
        "gone",
    ),
    "200 with too long a conversation": (
        Fault(200, {"error": {"message": "the request exceeds the available context size"}}),
        FaultKind.CONTEXT,
        "context size",
    ),
}


@pytest.mark.parametrize("what", ANSWERS)
async def test_an_answer_that_is_no_reply(what: str) -> None:
    answer, kind, words = ANSWERS[what]
    async with openai_server(says(answer)) as server, openai_model(server.base_url) as model:
        with pytest.raises(ModelFault) as failed:
            await model.complete(ask())
        assert failed.value.kind is kind
        assert words in failed.value.message
        assert SAID not in failed.value.message
        assert len(server.calls) == 1
        server.script = lambda call: Reply("Better.")
        assert (await model.complete(ask())).text == "Better."
