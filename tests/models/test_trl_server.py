"""TRL's generation server over a real socket: which protocol it speaks, and the older one.

The protocol since TRL 1.11 is `vllm serve`'s; tests/vllm asks the real server.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from foresight_services.core.conversation import Message
from foresight_services.core.errors import DeadlinePassed
from foresight_services.core.ports import ChatRequest
from foresight_services.core.task import Task
from foresight_services.core.usage import Ledger
from foresight_services.models.faults import FaultKind, ModelFault
from foresight_services.models.trl_server import TrlServerModel, TrlServerSettings
from tests.fakes.virtual_time import LoopClock

CONTEXT_TOKENS = 200

ASK = ChatRequest("policy", Task(), (Message("user", "Hi!"),), 7, 40, Ledger())


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a tokenizer whose tokens are bytes, and one special token."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(["<|im_end|>"])
    path = tmp_path_factory.mktemp("policy") / "tokenizer.json"
    made.save(str(path))
    return path


@dataclass
class FakeTrl:
    """A server of TRL: before 1.11 it has `/chat/`, since then `/v1`."""

    tokenizer: Path
    older: bool = True
    model: str = "policy"
    say: Callable[[dict[str, Any], int], Any] = lambda body, choice: "Which one?<|im_end|>"
    calls: list[dict[str, Any]] = field(default_factory=list)
    asked_for_models: int = 0
    url: str = ""

    async def models(self, request: web.Request) -> web.Response:
        self.asked_for_models += 1
        if self.older:
            raise web.HTTPNotFound
        return web.json_response({"data": [{"id": self.model}, {"id": "an adapter"}]})

    async def chat(self, request: web.Request) -> web.Response:
        from tokenizers import Tokenizer

        body = await request.json()
        self.calls.append(body)
        said = [self.say(body, choice) for choice in range(body["n"])]
        if not all(isinstance(text, str) for text in said):
            return web.json_response(said[0])
        encode = Tokenizer.from_file(str(self.tokenizer)).encode
        ids = [encode(text).ids[: body["max_tokens"]] for text in said]
        answer = {"prompt_ids": [[1] * 9], "completion_ids": ids, "logprobs": None}
        return web.json_response(answer)

    async def complete(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.calls.append(body)
        if body["model"] != self.model:
            error = {"message": f"The model `{body['model']}` does not exist.", "code": 404}
            return web.json_response({"error": error}, status=404)
        choice = {"index": 0, "message": {"content": "Which one?"}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 9, "completion_tokens": 3}
        return web.json_response({"choices": [choice], "usage": usage})


@asynccontextmanager
async def running(fake: FakeTrl) -> AsyncIterator[FakeTrl]:
    """Serve `fake` on a free port."""
    app = web.Application()
    app.router.add_get("/v1/models", fake.models)
    app.router.add_post("/chat/", fake.chat)
    app.router.add_post("/v1/chat/completions", fake.complete)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    fake.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield fake
    finally:
        await runner.cleanup()


@asynccontextmanager
async def asking(fake: FakeTrl, **settings: Any) -> AsyncIterator[TrlServerModel]:
    """Open a model on `fake`, which runs meanwhile."""
    async with running(fake):
        given = {"base_url": fake.url, **settings}
        if fake.older:
            given = {"tokenizer": str(fake.tokenizer), "context_tokens": CONTEXT_TOKENS, **given}
        model = TrlServerModel(TrlServerSettings(name="policy", **given), clock=LoopClock())
        try:
            yield model
        finally:
            await model.aclose()


@pytest.fixture
def older(tokenizer: Path) -> FakeTrl:
    return FakeTrl(tokenizer)


@pytest.fixture
def newer(tokenizer: Path) -> FakeTrl:
    return FakeTrl(tokenizer, older=False)


async def refusal(model: TrlServerModel, request: ChatRequest = ASK) -> ModelFault:
    """Return the fault that the call ends in."""
    with pytest.raises(ModelFault) as told:
        await model.complete(request)
    return told.value


@pytest.mark.parametrize("suffix", ["", "/", "/v1", "/v1/"])
async def test_the_first_model_is_asked_with_the_trainers_sampling(
    newer: FakeTrl, suffix: str
) -> None:
    async with asking(newer) as model:
        model = TrlServerModel(
            TrlServerSettings("policy", newer.url + suffix, top_p=0.9), clock=LoopClock()
        )
        replies = await asyncio.gather(*(model.complete(ASK) for _ in range(5)))
        await model.aclose()
    assert {reply.text for reply in replies} == {"Which one?"}
    assert newer.asked_for_models == 1
    call = newer.calls[0]
    sampling = ("model", "temperature", "top_p", "top_k", "min_p", "repetition_penalty", "seed")
    assert tuple(call[name] for name in sampling) == ("policy", 1.0, 0.9, -1, 0.0, 1.0, 7)


async def test_a_server_that_comes_back_with_another_model_is_asked_for_its_name_again(
    newer: FakeTrl,
) -> None:
    async with asking(newer) as model:
        await model.complete(ASK)
        newer.model = "another"
        assert (await refusal(model)).kind is FaultKind.UNKNOWN_MODEL
        assert (await model.complete(ASK)).text == "Which one?"


async def test_a_server_that_was_not_up_is_asked_again(newer: FakeTrl) -> None:
    async with running(newer):
        url = newer.url
    model = TrlServerModel(TrlServerSettings("policy", url), clock=LoopClock())
    assert (await refusal(model)).kind is FaultKind.CONNECTION
    assert (await refusal(model)).kind is FaultKind.CONNECTION
    await model.aclose()


async def test_an_older_server_needs_the_policys_tokenizer(older: FakeTrl, tmp_path: Path) -> None:
    async with asking(older, tokenizer=None) as model:
        fault = await refusal(model)
    assert fault.kind is FaultKind.BAD_REQUEST
    assert "`tokenizer`" in fault.message
    async with asking(older, tokenizer=str(tmp_path)) as model:
        fault = await refusal(model)
    assert fault.kind is FaultKind.BAD_REQUEST
    assert "cannot be read" in fault.message


async def test_an_older_server_answers_in_ids(older: FakeTrl) -> None:
    async with asking(older) as model:
        reply = await model.complete(ASK)
    assert (reply.text, reply.finish) == ("Which one?", "stop")
    assert (reply.prompt_tokens, reply.completion_tokens) == (9, len("Which one?") + 1)
    (call,) = older.calls
    assert call["messages"] == [[{"role": "user", "content": "Hi!"}]]
    assert call["generation_kwargs"] == {"seed": 7}
    assert (call["n"], call["max_tokens"], call["top_k"]) == (1, 40, -1)


async def test_choices_stop_and_limit_on_an_older_server(older: FakeTrl) -> None:
    older.say = lambda body, choice: f"One {choice}. Two. Three."
    async with asking(older) as model:
        several = await model.complete(replace(ASK, choices=3, stop=("Two", "Three")))
        limited = await model.complete(replace(ASK, max_tokens=5))
    assert (several.text, *several.others) == ("One 0. ", "One 1. ", "One 2. ")
    assert several.finish == "stop"
    assert older.calls[0]["generation_kwargs"]["stop"] == ["Two", "Three"]
    assert (limited.text, limited.finish, limited.completion_tokens) == ("One 0", "length", 5)


async def test_what_does_not_fit_is_never_sent_to_an_older_server(older: FakeTrl) -> None:
    async with asking(older) as model:
        long = replace(ASK, conversation=(Message("user", "x" * CONTEXT_TOKENS),))
        assert (await refusal(model, long)).kind is FaultKind.CONTEXT
        assert not older.calls
        nearly = replace(ASK, conversation=(Message("user", "x" * (CONTEXT_TOKENS - 50)),))
        await model.complete(nearly)
        assert older.calls[0]["max_tokens"] == 50 - 32


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ({}, FaultKind.MALFORMED),
        ({"prompt_ids": [[1]], "completion_ids": "no"}, FaultKind.MALFORMED),
        ({"prompt_ids": [[1]], "completion_ids": [["a"]]}, FaultKind.MALFORMED),
        ({"prompt_ids": [[1]], "completion_ids": [[-1]]}, FaultKind.MALFORMED),
        ({"prompt_ids": [[1]], "completion_ids": []}, FaultKind.MALFORMED),
        ({"prompt_ids": [[1]], "completion_ids": [[]]}, FaultKind.EMPTY),
        ([1, 2], FaultKind.MALFORMED),
    ],
)
async def test_an_answer_that_is_none(older: FakeTrl, answer: Any, kind: FaultKind) -> None:
    older.say = lambda body, choice: answer
    async with asking(older) as model:
        assert (await refusal(model)).kind is kind


async def test_a_deadline_that_has_passed_sends_nothing(older: FakeTrl) -> None:
    async with asking(older) as model:
        with pytest.raises(DeadlinePassed):
            await model.complete(replace(ASK, deadline=LoopClock().now()))
    assert not older.calls
