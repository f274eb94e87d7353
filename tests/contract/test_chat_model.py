"""What every `ChatModel` promises: rules, their metering, servers' models, and the fake."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest

from foresight_services.core.conversation import Message
from foresight_services.core.ports import ChatModel, ChatReply, ChatRequest, ModelRole
from foresight_services.core.task import Task
from foresight_services.core.usage import Ledger
from foresight_services.models.builtin import BuiltinModel
from foresight_services.models.litellm import LiteLLMModel, LiteLLMSettings
from foresight_services.models.metered import MeteredModel
from foresight_services.models.openai import OpenAIModel, OpenAISettings
from foresight_services.worlds.registry import make_worlds
from tests.fakes.chat import ScriptedChat
from tests.fakes.openai_server import openai_server
from tests.fakes.telemetry import RecordingTelemetry
from tests.fakes.virtual_time import LoopClock

GOALS = {"twenty_questions": "dog", "groceries": "diet: vegan"}
OPENINGS = {
    "twenty_questions": (Message("user", "Let's play 20 Questions!"),),
    "groceries": (Message("user", "Can you help me buy groceries?"),),
}
CANDIDATES = {
    "twenty_questions": Message("assistant", "Is it alive?"),
    "groceries": Message("assistant", "Do you have any dietary needs?"),
}
ROLES: tuple[ModelRole, ...] = ("user", "policy", "judge")


def metered() -> ChatModel:
    model = BuiltinModel(make_worlds())
    return MeteredModel(model, clock=LoopClock(), telemetry=RecordingTelemetry())


MODELS: dict[str, Callable[[], ChatModel]] = {
    "builtin": lambda: BuiltinModel(make_worlds()),
    "metered builtin": metered,
    "scripted": lambda: ScriptedChat(
        lambda r: f"{r.role} draws {r.seed} after {len(r.conversation)} messages"
    ),
}

Case = tuple[Callable[[], ChatModel], ChatRequest]


@pytest.fixture(params=[*MODELS, "openai", "litellm"])
async def make(request: pytest.FixtureRequest) -> AsyncIterator[Callable[[], ChatModel]]:
    """Make a fresh model of one kind."""
    async with AsyncExitStack() as stack:
        if request.param in MODELS:
            yield MODELS[request.param]
            return
        server = await stack.enter_async_context(openai_server())

        def served() -> ChatModel:
            model: OpenAIModel | LiteLLMModel
            if request.param == "openai":
                settings = OpenAISettings("served", server.base_url, "tiny", None, temperature=0.8)
                model = OpenAIModel(settings, clock=LoopClock())
            else:
                name, base = "hosted_vllm/tiny", server.base_url
                hosted = LiteLLMSettings("served", name, api_base=base, temperature=0.8)
                model = LiteLLMModel(hosted, clock=LoopClock())
            stack.push_async_callback(model.aclose)
            return model

        yield served


@pytest.fixture(params=[(world, role) for world in GOALS for role in ROLES], ids="-".join)
def ask(request: pytest.FixtureRequest) -> ChatRequest:
    """Ask one role of one world."""
    world, role = request.param
    task = Task(world=world, goal="" if role == "policy" else GOALS[world])
    turns = OPENINGS[world] if role == "policy" else (*OPENINGS[world], CANDIDATES[world])
    return ChatRequest(role, task, turns, seed=11, max_tokens=200, ledger=Ledger())


async def test_equal_requests_give_equal_replies_from_any_instance(
    make: Callable[[], ChatModel], ask: ChatRequest
) -> None:
    model = make()
    first = await model.complete(ask)
    assert await model.complete(ask) == first
    assert await make().complete(ask) == first


async def test_calls_at_once_do_not_disturb_each_other(
    make: Callable[[], ChatModel], ask: ChatRequest
) -> None:
    requests = [replace(ask, seed=seed) for seed in range(20)]
    one_by_one_model, model = make(), make()
    one_by_one = [await one_by_one_model.complete(request) for request in requests]
    at_once = await asyncio.gather(*(model.complete(request) for request in requests))
    assert at_once == one_by_one


@pytest.mark.parametrize("choices", [1, 2, 5])
async def test_a_call_gives_as_many_choices_as_are_asked_for_and_what_all_cost(
    make: Callable[[], ChatModel], ask: ChatRequest, choices: int
) -> None:
    model = make()
    reply = await model.complete(replace(ask, choices=choices))
    texts = (reply.text, *reply.others)
    assert len(texts) == choices
    assert all(text.strip() for text in texts)
    assert choices <= reply.completion_tokens <= choices * ask.max_tokens
    assert await make().complete(replace(ask, choices=choices)) == reply


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("seed", [11, 2**64 - 2])
async def test_choices_are_the_draws_of_the_seeds_that_follow(
    name: str, ask: ChatRequest, seed: int
) -> None:
    model = MODELS[name]()
    reply = await model.complete(replace(ask, seed=seed, choices=5))
    alone = [
        await model.complete(replace(ask, seed=(seed + choice) % 2**64)) for choice in range(5)
    ]
    assert [reply.text, *reply.others] == [one.text for one in alone]
    assert reply.prompt_tokens == alone[0].prompt_tokens
    assert reply.completion_tokens == sum(one.completion_tokens for one in alone)


async def test_a_reply_has_a_text_and_a_cost(
    make: Callable[[], ChatModel], ask: ChatRequest
) -> None:
    reply = await make().complete(ask)
    assert isinstance(reply, ChatReply)
    assert reply.text.strip()
    assert reply.prompt_tokens > 0
    assert 0 < reply.completion_tokens <= ask.max_tokens


@pytest.mark.parametrize("limit", [1, 2, 5])
async def test_a_reply_keeps_to_its_limit(
    make: Callable[[], ChatModel], ask: ChatRequest, limit: int
) -> None:
    whole = await make().complete(ask)
    reply = await make().complete(replace(ask, max_tokens=limit))
    assert reply.text.strip()
    assert whole.text.startswith(reply.text)
    assert reply.completion_tokens == min(limit, whole.completion_tokens)
