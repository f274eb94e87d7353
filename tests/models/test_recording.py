"""Recording and replaying calls of models: replies, failures, costs, order, and what is missing."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from foresight_services.core.budget import Account, Budget, Cost
from foresight_services.core.conversation import Message
from foresight_services.core.errors import (
    DeadlinePassed,
    DomainError,
    InvalidInput,
    LimitReached,
    Precondition,
    Reason,
    Upstream,
)
from foresight_services.core.ports import ChatModel, ChatReply, ChatRequest
from foresight_services.core.task import Task
from foresight_services.core.usage import Ledger
from foresight_services.models.budgeted import BudgetedModel
from foresight_services.models.faults import FaultKind, ModelFault
from foresight_services.models.hedging import HedgedModel, HedgeSettings
from foresight_services.models.metered import MeteredModel
from foresight_services.models.pricing import Price
from foresight_services.models.recorded_call import Failed, name_call
from foresight_services.models.recording import Mode, Recording, open_recording
from foresight_services.models.replaying import NOT_RECORDED
from foresight_services.models.retrying import RetryingModel, RetrySettings
from tests.fakes.asking import ask
from tests.fakes.telemetry import RecordingTelemetry
from tests.fakes.virtual_time import LoopClock, virtual_time
from tests.fakes.waiting import eventually

PRICE = Price(input=10.0, output=20.0)
ENOUGH = Budget(10**9)


class Unasked:
    """A backend that a replay must not ask."""

    async def complete(self, request: ChatRequest) -> ChatReply:
        raise AssertionError("a backend was asked")


class Answers:
    """Gives replies and failures in turn; implements the port `ChatModel`."""

    def __init__(self, *answers: ChatReply | Exception) -> None:
        self._left = list(answers)

    async def complete(self, request: ChatRequest) -> ChatReply:
        answer = self._left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


class Opened:
    """Recordings of one file, one after the other, and models on record."""

    def __init__(self, path: Path) -> None:
        self.path = path

    async def run(self, mode: Mode, work: Callable[[Recording], Any]) -> Any:
        """Return what `work` returns while the file is open for `mode`."""
        recording = await open_recording(self.path, mode, LoopClock())
        try:
            return await work(recording)
        finally:
            await recording.aclose()

    async def record(self, model: ChatModel, *requests: ChatRequest) -> list[Any]:
        return await self.run("record", lambda r: outcomes(r.around(model, name="m"), *requests))

    async def replay(self, *requests: ChatRequest, mode: Mode = "replay") -> list[Any]:
        return await self.run(mode, lambda r: outcomes(r.around(Unasked(), name="m"), *requests))

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.path.read_text().splitlines()]


async def outcomes(model: ChatModel, *requests: ChatRequest) -> list[ChatReply | Exception]:
    """Return what becomes of the calls, made one after the other."""
    found: list[ChatReply | Exception] = []
    for request in requests:
        try:
            found.append(await model.complete(request))
        except Exception as error:
            found.append(error)
    return found


@pytest.fixture
def opened(tmp_path: Path) -> Opened:
    return Opened(tmp_path / "calls.jsonl")


REPLIES = (
    ChatReply("Good morning. Ünïcödé, \u2028, \ud800 and \x00.", 12, 5),
    ChatReply("cut", 12, 5, cached_tokens=8, finish="length", others=("two", "")),
)

FAILURES = (
    *(ModelFault(kind, "m", f"was {kind}", retry_after_seconds=2.5) for kind in FaultKind),
    LimitReached(Reason.BUDGET_EXHAUSTED, "no more", metadata={"budget": "max_tokens"}),
    DeadlinePassed(),
    Precondition(Reason.MODEL_REJECTED, "not here"),
)


@pytest.mark.parametrize("reply", REPLIES)
async def test_a_reply_comes_back_as_it_was(opened: Opened, reply: ChatReply) -> None:
    assert await opened.record(Answers(reply), ask()) == [reply]
    assert await opened.replay(ask()) == [reply]


@pytest.mark.parametrize("error", FAILURES, ids=lambda error: str(error))
async def test_a_failure_comes_back_as_it_was(opened: Opened, error: DomainError) -> None:
    await opened.record(Answers(error), ask())
    (found,) = await opened.replay(ask())
    # Of a backend's own kinds of fault what the port tells is kept.
    wanted = ModelFault if isinstance(error, ModelFault) else type(error)
    assert type(found) is wanted
    assert Failed.of(found) == Failed.of(error)


async def test_a_defect_is_told_without_its_details(opened: Opened) -> None:
    await opened.record(Answers(KeyError("my secret")), ask())
    (found,) = await opened.replay(ask())
    assert isinstance(found, DomainError)
    assert found.reason is Reason.INTERNAL
    assert "my secret" not in opened.path.read_text()


async def test_a_replay_asks_nobody_for_what_is_missing(opened: Opened) -> None:
    await opened.record(Answers(REPLIES[0]), ask())
    first, second, other = await opened.replay(ask(), ask(), ask(seed=8))
    assert first == REPLIES[0]
    for error, problem in (
        (second, "all 1 recorded ones have been replayed (calls.jsonl)"),
        (other, "it was not recorded (calls.jsonl)"),
    ):
        assert isinstance(error, Upstream)
        assert not isinstance(error, ModelFault), "so that no decorator tries it again"
        assert error.reason is Reason.MODEL_FAILED
        assert error.metadata["kind"] == NOT_RECORDED
        assert problem in error.message
        assert "grandma" not in error.message
    assert "as the user, with 6 messages and seed 8" in str(other)


async def test_what_is_missing_is_asked_for_and_recorded_where_that_is_wanted(
    opened: Opened,
) -> None:
    async def play(model: ChatModel, *requests: ChatRequest) -> list[Any]:
        return await opened.run(
            "replay_or_record", lambda r: outcomes(r.around(model, name="m"), *requests)
        )

    one, two, three = (ChatReply(text, 1, 1) for text in ("one", "two", "three"))
    assert await play(Answers(one), ask()) == [one]
    assert await play(Answers(two, three), ask(), ask(), ask(seed=8)) == [one, two, three]
    assert await play(Unasked(), ask(seed=8), ask(), ask()) == [three, one, two]
    assert await opened.replay(ask(), ask(), ask(seed=8)) == [one, two, three]


async def test_equal_calls_are_replayed_in_the_order_in_which_they_began(opened: Opened) -> None:
    """So that each caller gets its own reply, though those who began first were answered last."""
    replies = [ChatReply(text, 1, 1) for text in "abc"]
    held: list[asyncio.Future[ChatReply]] = []

    class Held:
        async def complete(self, request: ChatRequest) -> ChatReply:
            held.append(asyncio.get_running_loop().create_future())
            return await held[-1]

    async def at_once(recording: Recording) -> list[ChatReply]:
        model = recording.around(Held(), name="m")
        calls = [asyncio.create_task(model.complete(ask())) for _ in replies]
        await eventually(lambda: len(held) == 3 or all(call.done() for call in calls))
        for index in range(len(held) - 1, -1, -1):
            held[index].set_result(replies[index])
            await calls[index]
        return await asyncio.gather(*calls)

    assert await opened.run("record", at_once) == replies
    assert [line["reply"]["text"] for line in opened.lines[1:]] == ["c", "b", "a"]
    held.clear()
    assert await opened.run("replay", at_once) == replies
    assert held == []


async def test_runs_of_one_file_are_replayed_one_after_the_other(opened: Opened) -> None:
    one, two = ChatReply("one", 1, 1), ChatReply("two", 1, 1)
    await opened.record(Answers(one), ask())
    await opened.record(Answers(two), ask())
    assert await opened.replay(ask(), ask()) == [one, two]


async def test_a_call_that_was_cancelled_has_no_reply(opened: Opened) -> None:
    begun = asyncio.Event()

    class Never:
        async def complete(self, request: ChatRequest) -> ChatReply:
            begun.set()
            await asyncio.Event().wait()
            raise AssertionError

    async def cancelled(recording: Recording) -> None:
        model = recording.around(recording.backend(Never()), name="m")
        call = asyncio.create_task(model.complete(ask()))
        await begun.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    await opened.run("record", cancelled)
    assert [attempt["outcome"] for attempt in opened.lines[1]["attempts"]] == ["cancelled"]
    (error,) = await opened.replay(ask())
    assert isinstance(error, Upstream)
    assert "it was cancelled before its reply" in error.message
    assert await opened.replay(mode="replay_or_record") == []


OTHERS: tuple[dict[str, Any], ...] = (
    {"role": "policy"},
    {"seed": 8},
    {"max_tokens": 51},
    {"choices": 2},
    {"stop": ("\n",)},
    {"stop": ("\n", "x")},
    {"schema": {"type": "object"}},
    {"schema": {"type": "array"}},
    {"conversation": ()},
    {"prompt": (Message("user", "hi"),)},
    {"prompt": (Message("system", "hi"),)},
    {"prompt": (Message("user", "h"), Message("user", "i"))},
    {"task": Task(goal="another")},
    {"task": Task(world="groceries")},
)
"""Differences that can change a reply."""


def test_whatever_determines_a_reply_is_in_the_key() -> None:
    keys = [name_call(ask(**fields), model="m").key for fields in ({}, *OTHERS)]
    keys += [name_call(ask(), model=model, version=v).key for model, v in (("n", 0), ("m", 3))]
    assert len(set(keys)) == len(keys)


def test_nothing_else_is_in_the_key() -> None:
    prompt = (Message("user", "hi"),)
    request = ask(prompt=prompt, schema={"a": 1, "b": {"c": 2, "d": 3}})
    same = replace(
        request,
        deadline=5.0,
        ledger=Ledger(),
        persona="p",
        system_prompt=True,
        proactive=True,
        conversation=(),
        task=Task(goal="already in the prompt"),
        schema={"b": {"d": 3, "c": 2}, "a": 1},
    )
    assert name_call(request, model="m") == name_call(same, model="m")


class Dressed:
    """A backend with retries, hedges, budget, recording and meter around it, as in a service."""

    def __init__(self, recording: Recording, backend: ChatModel, clock: LoopClock) -> None:
        self.telemetry = RecordingTelemetry()
        model = backend
        if not recording.offline:
            model = BudgetedModel(recording.backend(backend), price=PRICE)
            model = HedgedModel(
                model,
                settings=HedgeSettings(min_calls=1, window_calls=8, max_share=1.0),
                clock=clock,
            )
            model = RetryingModel(
                model, settings=RetrySettings(), clock=clock, rng=random.Random(3)
            )
        model = recording.around(model, name="m", price=PRICE)
        self.model = MeteredModel(model, clock=clock, telemetry=self.telemetry, price=PRICE)


class Troubled:
    """Fails, stalls and cuts off, as the draws of `rng` have it; replies are never the same."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._calls = 0

    async def complete(self, request: ChatRequest) -> ChatReply:
        self._calls += 1
        draw = self._rng.random()
        if draw < 0.3:
            kinds = (FaultKind.SERVER_ERROR, FaultKind.MALFORMED, FaultKind.CONTEXT)
            raise ModelFault(self._rng.choice(kinds), "m", "trouble")
        await asyncio.sleep(30.0 if draw < 0.5 else self._rng.uniform(0.1, 1.0))
        return ChatReply(f"call {self._calls}", 20 + self._calls % 7, self._calls % 5 + 1)


async def futures(
    opened: Opened, mode: Mode, *, backend: ChatModel, budget: Budget, order: list[int]
) -> dict[int, Any]:
    """Make six calls of each future, futures at once; return by future what came of them."""

    async def work(recording: Recording) -> dict[int, Any]:
        with virtual_time() as clock:
            before = clock.now()
            found = await played(recording, clock)
            if recording.offline:
                assert clock.now() == before, "a replay waits for nothing"
            return found

    async def played(recording: Recording, clock: LoopClock) -> dict[int, Any]:
        dressed = Dressed(recording, backend, clock)
        account = Account(budget, calls_per_future=6)

        async def future(index: int) -> tuple[Any, ...]:
            with account.future((index, 0)) as purse:
                ledger = Ledger(purse)
                found = await outcomes(
                    dressed.model,
                    *(ask(seed=100 * index + n, ledger=ledger) for n in range(6)),
                )
            said = [Failed.of(x) if isinstance(x, Exception) else x for x in found]
            return said, ledger.of("user")

        done = await asyncio.gather(*(future(index) for index in order))
        calls = sorted(dressed.telemetry.calls.items())
        return dict(zip(order, done, strict=True)) | {-1: (account.spent.tokens, calls)}

    found: dict[int, Any] = await opened.run(mode, work)
    return found


@pytest.mark.parametrize("budget", [ENOUGH, Budget(8_000), Budget(max_dollars=0.04)])
async def test_meters_ledgers_and_budgets_see_the_same_numbers(
    opened: Opened, budget: Budget
) -> None:
    backend = Troubled(random.Random(5))
    order = list(range(12))
    recorded = await futures(opened, "record", backend=backend, budget=budget, order=order)
    usages = [usage for index, (_, usage) in recorded.items() if index >= 0]
    assert sum(usage.retries for usage in usages) > 0
    assert sum(usage.hedges for usage in usages) > 0
    reasons = {
        said.failure.reason
        for index, (replies, _) in recorded.items()
        if index >= 0
        for said in replies
        if isinstance(said, Failed)
    }
    short = {Reason.BUDGET_EXHAUSTED} if budget != ENOUGH else set()
    assert reasons == {Reason.CONTEXT_EXHAUSTED} | short
    outcomes_of = {a["outcome"] for line in opened.lines[1:] for a in line["attempts"]}
    assert outcomes_of == {"ok", "cancelled", "server_error", "malformed", "context"}

    random.Random(1).shuffle(order)
    replayed = await futures(opened, "replay", backend=Unasked(), budget=budget, order=order)
    assert replayed == recorded


async def test_a_smaller_budget_is_kept_in_a_replay(opened: Opened) -> None:
    await opened.record(Answers(*(ChatReply("x", 20, 5) for _ in range(4))), *map(seeded, range(4)))
    account = Account(Budget(max_tokens=60))
    with account.future((0, 0)) as purse:
        ledger = Ledger(purse)
        found = await opened.replay(*(replace(seeded(n), ledger=ledger) for n in range(4)))
    assert [isinstance(each, LimitReached) for each in found] == [False, False, True, True]
    assert account.spent == Cost(50)


def seeded(seed: int) -> ChatRequest:
    return ask(seed=seed)


async def test_only_its_owner_can_read_a_recording_and_no_setting_is_in_it(
    opened: Opened,
) -> None:
    await opened.record(Answers(REPLIES[0]), ask())
    assert opened.path.stat().st_mode & 0o777 == 0o600
    line = opened.lines[1]
    assert sorted(line["request"]) == [
        *("choices", "goal", "max_tokens", "messages", "model", "role", "schema", "seed"),
        *("stop", "version", "world"),
    ]


@pytest.mark.parametrize("mode", ["record", "replay", "replay_or_record"])
async def test_a_file_that_cannot_be_used_is_told_in_one_line(tmp_path: Path, mode: Mode) -> None:
    with pytest.raises(InvalidInput) as refused:
        await open_recording(tmp_path / "none" / "calls.jsonl", mode, LoopClock())
    (violation,) = refused.value.violations
    assert violation.field == "recording.path"
    wanted = f"{tmp_path}/none/calls.jsonl: cannot be used: No such file or directory"
    assert violation.description == wanted


async def test_a_changed_request_is_found_and_a_changed_reply_is_replayed(opened: Opened) -> None:
    await opened.record(Answers(ChatReply("recorded", 3, 1)), ask())
    text = opened.path.read_text()
    opened.path.write_text(text.replace('recorded"', 'changed"', 2))
    (reply,) = await opened.replay(ask())
    assert reply.text == "changed"
    opened.path.write_text(text.replace('"seed":7', '"seed":8'))
    with pytest.raises(InvalidInput, match="line 2: is no recorded call: its key is not the"):
        await opened.replay(ask())


@pytest.mark.parametrize(
    ("part", "broken", "problem"),
    [
        ('"prompt_tokens":3', '"prompt_tokens":"3"', "'prompt_tokens' is of the wrong type"),
        ('"completion_tokens":1', '"x":1', "'completion_tokens' is missing"),
        ('"reply":', '"answer":', "'reply' is missing"),
        ('"finish":"stop"', '"finish":"end"', "its reply is none"),
        ('"position":0', '"position":true', "'position' is of the wrong type"),
        ('"hedges":0', '"hedges":null', "'hedges' is of the wrong type"),
        ('"hedges":0', '"hedge":0', "'hedge' is unknown"),
        ('"charge":null', '"charge":{"tokens":1.5}', "'tokens' is of the wrong type"),
        ('"reply":{', '"failure":{"family":"odd","x":{', "is no recorded call: "),
    ],
)
async def test_a_line_that_is_no_call_is_named(
    opened: Opened, part: str, broken: str, problem: str
) -> None:
    await opened.record(Answers(ChatReply("fine", 3, 1)), ask())
    text = opened.path.read_text()
    assert part in text
    text = text.replace(part, broken, 1)
    if broken.endswith("{"):
        text = text.replace('"others":[]}', '"others":[]}}', 1)
    opened.path.write_text(text)
    with pytest.raises(InvalidInput) as refused:
        await opened.replay(ask())
    description = refused.value.violations[0].description
    assert description.startswith(f"{opened.path}, line 2: is no recorded call: ")
    assert problem in description
    assert "\n" not in description
