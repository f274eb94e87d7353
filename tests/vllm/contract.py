"""What every backend promises that asks a language model, checked on a real one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from foresight_services.core.conversation import Message
from foresight_services.core.errors import Reason
from foresight_services.core.objective import JsonValue
from foresight_services.core.ports import ChatModel, ChatRequest
from foresight_services.core.task import Task
from foresight_services.core.usage import Ledger
from foresight_services.models.faults import FaultKind, ModelFault

CONVERSATION = (
    Message("user", "Can you help me with two numbers?"),
    Message("assistant", "Which ones?"),
    Message("user", "7 and 42, before lunch."),
)


def ask(text: str = "", *, seed: int = 7, max_tokens: int = 24) -> ChatRequest:
    """Ask the policy to go on with a conversation, or to answer `text`."""
    conversation = (Message("user", text),) if text else CONVERSATION
    return ChatRequest("policy", Task(), conversation, seed, max_tokens, Ledger())


def assert_same(some: Sequence[str], others: Sequence[str]) -> None:
    """Assert that two lists of replies come from the same weights at the same seeds.

    How requests are batched changes sums in their last bits, and that may, once in ten thousand
    tokens, tip a draw that is as good as a tie; other weights change every reply.
    """
    assert len(some) == len(others)
    same = sum(one == other for one, other in zip(some, others, strict=True))
    assert same >= 0.9 * len(some), f"only {same} of {len(some)} replies are the same"


class InFlight:
    """Futures of `model` that are always in flight: a seed whose future ended is asked again."""

    def __init__(self, model: ChatModel, count: int, max_tokens: int) -> None:
        self._said: list[list[str]] = [[] for _ in range(count)]
        self._stop = False
        self._all = asyncio.gather(*(self._keep(model, seed, max_tokens) for seed in range(count)))

    async def _keep(self, model: ChatModel, seed: int, max_tokens: int) -> None:
        while not self._stop:
            reply = await model.complete(ask(seed=seed, max_tokens=max_tokens))
            self._said[seed].append(reply.text)

    def ended(self) -> list[int]:
        """Return how many futures of each seed have ended."""
        return [len(said) for said in self._said]

    async def stop(self, ended: list[int]) -> list[list[str]]:
        """Stop; return what each seed said from what was in flight at `ended` on."""
        self._stop = True
        await self._all
        return [said[first:] for said, first in zip(self._said, ended, strict=True)]


def assert_all_same(said: Sequence[Sequence[str]], alone: Sequence[str]) -> None:
    """Assert that whatever each seed said is what it says alone."""
    assert all(said)
    expected = [single for replies, single in zip(said, alone, strict=True) for _ in replies]
    assert_same([reply for replies in said for reply in replies], expected)


class ChatModelContract:
    """The suite; a subclass gives the fixture `model`."""

    async def test_equal_requests_give_equal_replies(self, model: ChatModel) -> None:
        first = await model.complete(ask())
        again = await model.complete(ask())
        assert (again.text, again.finish) == (first.text, first.finish)

    async def test_other_seeds_give_other_replies(self, model: ChatModel) -> None:
        seeds = (0, 1, 2, 2**31, 2**63 + 5, 2**64 - 1)
        replies = [(await model.complete(ask(seed=seed))).text for seed in seeds]
        assert len(set(replies)) == len(seeds)

    async def test_calls_at_once_do_not_disturb_each_other(self, model: ChatModel) -> None:
        requests = [ask(f"Number {seed % 5}?", seed=seed) for seed in range(10)]
        at_once = await asyncio.gather(*(model.complete(request) for request in requests))
        one_by_one = [await model.complete(request) for request in requests]
        assert_same([reply.text for reply in at_once], [reply.text for reply in one_by_one])

    async def test_several_choices_come_from_one_call(self, model: ChatModel) -> None:
        single = await model.complete(ask())
        reply = await model.complete(replace(ask(), choices=4))
        assert len({reply.text, *reply.others}) == 4
        assert reply.text == single.text
        assert reply.prompt_tokens == single.prompt_tokens
        assert reply.completion_tokens > 2 * single.completion_tokens
        assert (await model.complete(replace(ask(), choices=4))).others == reply.others

    async def test_a_reply_ends_before_a_stop_text(self, model: ChatModel) -> None:
        whole = await model.complete(ask())
        stop = whole.text.split()[3]
        reply = await model.complete(replace(ask(), stop=("(never said)", stop)))
        assert reply.finish == "stop"
        assert reply.text.strip()
        assert reply.text == whole.text[: whole.text.index(stop)]

    async def test_a_reply_keeps_to_its_limit(self, model: ChatModel) -> None:
        whole = await model.complete(ask(max_tokens=24))
        reply = await model.complete(ask(max_tokens=6))
        assert (reply.completion_tokens, reply.finish) == (6, "length")
        assert whole.text.startswith(reply.text.rstrip("\N{REPLACEMENT CHARACTER}"))

    async def test_usage_tells_what_the_prefix_cache_had(self, model: ChatModel) -> None:
        # Words of its own, which no other test has left in the cache of this backend.
        text = f"{type(self).__name__} " * 40
        first = await model.complete(ask(text))
        again = await model.complete(ask(text, seed=8))
        assert first.cached_tokens < 32
        assert again.prompt_tokens == first.prompt_tokens > 100
        # Whole blocks are found again; the last one has to be read in any case.
        assert first.prompt_tokens - 64 <= again.cached_tokens < first.prompt_tokens

    async def test_a_prompt_is_sent_in_place_of_the_conversation(self, model: ChatModel) -> None:
        prompt = (Message("system", "Be brief."), Message("user", "And now?"))
        asked = await model.complete(replace(ask(), prompt=prompt))
        assert asked.text == (await model.complete(replace(ask(), conversation=prompt))).text
        assert asked.text != (await model.complete(ask())).text

    async def test_a_reply_follows_its_schema(self, model: ChatModel) -> None:
        schema: Mapping[str, JsonValue] = {
            "type": "object",
            "properties": {
                "mood": {"enum": ["curious", "impatient"]},
                "done": {"type": "boolean"},
            },
            "required": ["mood", "done"],
            "additionalProperties": False,
        }
        for seed in range(5):
            asked = replace(ask(seed=seed, max_tokens=200), schema=schema)
            said = json.loads((await model.complete(asked)).text)
            assert said.keys() == {"mood", "done"}
            assert said["mood"] in ("curious", "impatient")
            assert isinstance(said["done"], bool)

    @pytest.mark.parametrize("words", [1100, 60_000])
    async def test_a_conversation_that_does_not_fit_is_told_apart(
        self, model: ChatModel, words: int
    ) -> None:
        with pytest.raises(ModelFault) as told:
            await model.complete(ask("kora " * words))
        assert told.value.kind is FaultKind.CONTEXT
        assert told.value.reason is Reason.CONTEXT_EXHAUSTED
        assert not told.value.retryable
        assert "kora kora" not in told.value.message
        await model.complete(ask())

    async def test_a_reply_gets_the_room_that_is_left(self, model: ChatModel) -> None:
        fits = ask("kora " * 950, max_tokens=500)
        reply = await model.complete(fits)
        assert 960 < reply.prompt_tokens < 1024
        assert reply.completion_tokens <= 1024 - reply.prompt_tokens
