"""Rules in place of a model: which world's, which role's, which skill's."""

from __future__ import annotations

import asyncio
import json

import pytest

from foresight_services.core.conversation import Message
from foresight_services.core.errors import NotFound, Reason, Upstream
from foresight_services.core.ports import ChatRequest, ModelRole
from foresight_services.core.task import Task
from foresight_services.core.usage import Ledger
from foresight_services.metrics.words import count_words
from foresight_services.models.builtin import BuiltinModel
from foresight_services.worlds.registry import make_worlds

WORLDS = make_worlds()
GAME = Task(world="twenty_questions", goal="dog")
TURNS = (Message("user", "Let's play 20 Questions!"), Message("assistant", "Is it a dog?"))


def ask(role: ModelRole, conversation=TURNS, task: Task = GAME, **fields) -> ChatRequest:
    given = {"seed": 0, "max_tokens": 100, "ledger": Ledger(), **fields}
    return ChatRequest(role, task, conversation, **given)


async def test_each_role_is_played_by_the_tasks_world() -> None:
    model = BuiltinModel(WORLDS)
    user = await model.complete(ask("user"))
    assert user.text.startswith("Yes, that's it!")
    judge = await model.complete(ask("judge"))
    assert json.loads(judge.text) == {"success": 1.0}
    shop = Task(world="groceries", goal="diet: vegan")
    order = Message("assistant", "I'll place the order now.")
    user = await model.complete(ask("user", (TURNS[0], order), shop))
    assert user.text.startswith("That is not what I need.")


async def test_the_policy_plays_its_skill_by_default_the_worlds_strongest() -> None:
    shop = Task(world="groceries")
    request = ask("policy", TURNS[:1], shop)
    assumer = await BuiltinModel(WORLDS, skill="assumer").complete(request)
    assert assumer.text == "I'll place the order now."
    default = await BuiltinModel(WORLDS).complete(request)
    focused = await BuiltinModel(WORLDS, skill="focused").complete(request)
    assert default == focused != assumer


async def test_costs_are_the_words_read_and_written() -> None:
    reply = await BuiltinModel(WORLDS).complete(ask("user"))
    assert reply.prompt_tokens == sum(count_words(message.content) for message in TURNS)
    assert reply.completion_tokens == count_words(reply.text)


async def test_a_reply_is_cut_at_the_limit() -> None:
    whole = (await BuiltinModel(WORLDS).complete(ask("user"))).text
    cut = await BuiltinModel(WORLDS).complete(ask("user", max_tokens=3))
    assert cut.text == "Yes, that"
    assert whole.startswith(cut.text)
    assert cut.completion_tokens == 3


async def test_choices_differ_as_other_seeds_do_and_each_is_cut_at_the_limit() -> None:
    model = BuiltinModel(WORLDS, skill=WORLDS["twenty_questions"].skills[0])
    asked = ask("policy", TURNS[:1], Task(world="twenty_questions"), choices=30, max_tokens=6)
    reply = await model.complete(asked)
    texts = (reply.text, *reply.others)
    assert len(texts) == 30
    assert len(set(texts)) > 1
    assert max(map(count_words, texts)) <= 6
    assert reply.completion_tokens == sum(map(count_words, texts))


@pytest.mark.parametrize("world", ["", "chess"])
async def test_without_a_world_there_are_no_rules(world: str) -> None:
    with pytest.raises(Upstream, match="plays worlds only") as failed:
        await BuiltinModel(WORLDS).complete(ask("user", task=Task(world=world, goal="x")))
    assert failed.value.reason is Reason.MODEL_FAILED


def test_a_skill_must_be_one_of_the_worlds() -> None:
    BuiltinModel(WORLDS).check("any", GAME)
    BuiltinModel(WORLDS, skill="asker").check("asker", GAME)
    with pytest.raises(NotFound, match="policy 'mine' does not play 'groceries'"):
        BuiltinModel(WORLDS, skill="asker").check("mine", Task(world="groceries"))


async def test_other_work_gets_its_turn_between_calls() -> None:
    model, turns = BuiltinModel(WORLDS), 0

    async def other_work() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(other_work())
    for _ in range(10):
        await model.complete(ask("user"))
    beside.cancel()
    assert turns >= 9
