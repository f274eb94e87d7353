"""What every `Simulator` promises of single messages: here, behind a connection, or a cache."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace
from typing import Any

import pytest

from foresight_services.core.budget import Budget, Cost
from foresight_services.core.cache_use import CacheMode, Origin
from foresight_services.core.conversation import Message
from foresight_services.core.errors import (
    DeadlinePassed,
    DomainError,
    Failure,
    InvalidInput,
    LimitReached,
    NotFound,
    Reason,
    Upstream,
)
from foresight_services.core.message_request import MessageKind, MessageRequest, SampledMessage
from foresight_services.core.ports import ChatRequest, Simulator
from foresight_services.core.simulation import Simulation
from foresight_services.core.task import PolicyRef, Task
from tests.fakes.caching import cached_simulator, memory_cache
from tests.fakes.chat import Gates, ScriptedChat
from tests.fakes.servers import remote_simulator
from tests.fakes.simulation import make_simulation, simulation_request
from tests.fakes.virtual_time import LoopClock
from tests.fakes.waiting import eventually

Reach = Callable[[Simulation], Awaitable[Simulator]]

SAID = (Message("user", "Can you help me?"),)
ANSWERED = (*SAID, Message("assistant", "Sure."))

PREFIXES = {
    MessageKind.OPENING_USER: (),
    MessageKind.NEXT_USER: ANSWERED,
    MessageKind.POLICY: SAID,
}
KINDS = pytest.mark.parametrize("kind", PREFIXES)


@pytest.fixture(params=["in process", "remote", "cached", "cached remote"])
async def reach(request: pytest.FixtureRequest) -> AsyncIterator[Reach]:
    """Reach a simulation directly, over a connection, through a cache, or through both."""
    async with AsyncExitStack() as stack:
        store = memory_cache()

        async def connect(simulation: Simulation) -> Simulator:
            simulator: Simulator = simulation
            if "remote" in request.param:
                simulator = await stack.enter_async_context(remote_simulator(simulation))
            return cached_simulator(simulator, store) if "cached" in request.param else simulator

        yield connect


def asking(kind: MessageKind = MessageKind.POLICY, **fields: Any) -> MessageRequest:
    given: dict[str, Any] = {
        "task": Task(goal="the goal"),
        "prefix": PREFIXES.get(kind, SAID),
        "kind": kind,
        "max_message_tokens": 100,
        **fields,
    }
    return MessageRequest(**given)


async def collect(
    simulator: Simulator, request: MessageRequest, **options: Any
) -> dict[int, SampledMessage]:
    told = [one async for one in simulator.sample_messages(request, **options)]
    found = {one.index: one for one in told}
    assert len(found) == len(told), "each is told once"
    return found


def timeless(sample: SampledMessage) -> SampledMessage:
    """Return `sample` without its cost, and as if it had just been drawn."""
    usage = replace(sample.usage, seconds=0.0, models={}, messages=0)
    return replace(sample, usage=usage, origin=Origin.COMPUTED)


def chatty(request: ChatRequest) -> str:
    """Say something that depends on everything a user or a policy is given."""
    facts = (
        *(request.role, request.task, request.conversation, request.seed, request.max_tokens),
        *(request.persona, request.system_prompt, request.proactive),
    )
    rng = random.Random(repr(facts))
    if rng.random() < 0.2:
        raise Upstream(Reason.MODEL_FAILED, "söme failure", metadata={"role": request.role})
    return f"{rng.getrandbits(64):x} 言葉 \n "


def chatting() -> Simulation:
    return make_simulation(user=ScriptedChat(chatty), policy=ScriptedChat(chatty))


@KINDS
async def test_equal_requests_give_equal_messages_wherever_they_are_sampled(
    kind: MessageKind, reach: Reach
) -> None:
    simulation = chatting()
    request = asking(kind, count=40, seed=2**64 - 1)
    expected = {k: timeless(one) for k, one in (await collect(simulation, request)).items()}
    assert sorted(expected) == list(range(40))
    assert any(isinstance(one.outcome, Failure) for one in expected.values())
    assert len({one.outcome for one in expected.values() if isinstance(one.outcome, str)}) > 20
    for _ in range(2):
        found = await collect(await reach(simulation), request)
        assert {k: timeless(one) for k, one in found.items()} == expected


@KINDS
async def test_a_message_does_not_depend_on_how_many_there_are(
    kind: MessageKind, reach: Reach
) -> None:
    simulation = chatting()
    many = await collect(await reach(simulation), asking(kind, count=9))
    for request in (asking(kind, count=5), asking(kind, chosen=(7, 2)), asking(kind)):
        found = await collect(await reach(simulation), request)
        assert tuple(sorted(found)) == tuple(sorted(request.indices))
        assert {k: timeless(one) for k, one in found.items()} == {
            k: timeless(many[k]) for k in found
        }


@KINDS
async def test_another_request_gives_other_messages(kind: MessageKind, reach: Reach) -> None:
    simulator = await reach(make_simulation(user=ScriptedChat(told), policy=ScriptedChat(told)))
    base = asking(kind, count=3)
    others = [replace(base, seed=1), replace(base, max_message_tokens=7)]
    if kind is MessageKind.POLICY:
        others += [replace(base, system_prompt=True), replace(base, proactive=True)]
    said = []
    for request in (base, *others):
        found = await collect(simulator, request)
        said += [found[k].outcome for k in range(3)]
    assert len(set(said)) == len(said)


def told(request: ChatRequest) -> str:
    flags = (request.seed, request.max_tokens, request.system_prompt, request.proactive)
    return f"{request.role} {flags}"


@KINDS
async def test_who_speaks_knows_what_their_side_may_know(kind: MessageKind, reach: Reach) -> None:
    user, policy = ScriptedChat("from the user"), ScriptedChat("from the policy")
    simulator = await reach(make_simulation(user=user, policy=policy))
    task = Task(goal="the goal", reference="the answer", guidance="be brief", metadata={"k": "v"})
    request = asking(kind, task=task, proactive=kind is MessageKind.POLICY)
    (sample,) = (await collect(simulator, request)).values()
    asked = (*user.requests, *policy.requests)
    assert len(asked) == 1
    assert asked[0].conversation == PREFIXES[kind]
    if kind is MessageKind.POLICY:
        assert (sample.outcome, sample.policy) == ("from the policy", PolicyRef("policy", 7))
        assert asked[0].task == Task() and asked[0].proactive and not asked[0].system_prompt
        assert (sample.goal, sample.persona) == ("", "")
    else:
        assert (sample.outcome, sample.policy) == ("from the user", None)
        assert asked[0].task == replace(task, reference="", metadata={})
        assert sample.goal == "the goal"


async def test_a_next_message_is_the_first_one_of_the_future(reach: Reach) -> None:
    simulation = make_simulation(user=ScriptedChat(told), policy=ScriptedChat(told))
    futures = simulation_request(
        samples=4, prefix=SAID, candidates=("Sure.",), task=Task(world="w"), seed=5
    )
    first = {
        future.id.sample: (future.outcome.goal, future.outcome.messages[0].content)  # type: ignore[union-attr]
        async for future in simulation.simulate(futures)
    }
    request = asking(MessageKind.NEXT_USER, count=4, task=Task(world="w"), seed=5)
    found = await collect(await reach(simulation), request)
    assert {k: (one.goal, one.outcome) for k, one in found.items()} == first
    assert len({goal for goal, _ in first.values()}) == 4


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"kind": MessageKind.UNKNOWN}, "kind"),
        ({"count": 0}, "count"),
        ({"count": 257}, "count"),
        ({"max_message_tokens": 0}, "max_message_tokens"),
        ({"budget": Budget(max_tokens=-1)}, "budget.max_tokens"),
        ({"chosen": (1, 1024)}, "sample_indices[1]"),
        ({"chosen": (3, 3)}, "sample_indices"),
        ({"chosen": (3,), "count": 1}, "sample_indices"),
        ({"chosen": tuple(range(257))}, "sample_indices"),
        ({"personas": ("busy",)}, "personas"),
        ({"prefix": ()}, "prefix"),
        ({"prefix": ANSWERED}, "prefix[1].role"),
        ({"kind": MessageKind.OPENING_USER, "prefix": SAID}, "prefix"),
        ({"kind": MessageKind.NEXT_USER, "prefix": SAID}, "prefix[0].role"),
        ({"kind": MessageKind.NEXT_USER, "prefix": ()}, "prefix"),
        (
            {"kind": MessageKind.NEXT_USER, "prefix": (Message("assistant", " "),)},
            "prefix[0].content",
        ),
        (
            {"kind": MessageKind.NEXT_USER, "prefix": ANSWERED, "proactive": True},
            "proactive",
        ),
        (
            {"kind": MessageKind.OPENING_USER, "prefix": (), "system_prompt": True},
            "system_prompt",
        ),
        ({"kind": MessageKind.OPENING_USER, "prefix": (), "task": Task()}, "task.goal"),
    ],
    ids=str,
)
async def test_what_is_wrong_is_named(fields: dict[str, Any], field: str, reach: Reach) -> None:
    simulator = await reach(chatting())
    with pytest.raises(InvalidInput) as refused:
        await collect(simulator, asking(**fields))
    assert [violation.field for violation in refused.value.violations] == [field]


async def test_an_unknown_policy_is_not_found(reach: Reach) -> None:
    with pytest.raises(NotFound):
        await collect(await reach(chatting()), asking(policy=PolicyRef("other")))


async def test_a_sample_comes_while_others_are_drawn(reach: Reach) -> None:
    gates, calls = Gates(), 0

    async def slow_first(request: ChatRequest) -> str:
        nonlocal calls
        calls += 1
        if calls == 1:
            await gates["gate"].wait()
            return "slow"
        return "fast"

    simulator = await reach(
        make_simulation(user=ScriptedChat("u"), policy=ScriptedChat(slow_first))
    )
    async with aclosing(simulator.sample_messages(asking(count=2))) as samples:
        assert (await anext(samples)).outcome == "fast"
        gates.open("gate")
        assert (await anext(samples)).outcome == "slow"


async def test_the_deadline_ends_what_is_still_drawn(reach: Reach) -> None:
    gates = Gates()
    policy = ScriptedChat(lambda request: gates.say("never", after="gate"))
    simulator = await reach(make_simulation(user=ScriptedChat("u"), policy=policy))
    try:
        found = await collect(simulator, asking(count=2), deadline=LoopClock().now() + 0.2)
    except DomainError as error:
        # Over a connection the call itself may be what ends first.
        assert isinstance(error, DeadlinePassed)
    else:
        reasons = [one.outcome.reason for one in found.values() if isinstance(one.outcome, Failure)]
        assert reasons == [Reason.DEADLINE_EXCEEDED] * 2
    await eventually(lambda: policy.in_flight == 0)


async def test_closing_it_cancels_what_is_still_drawn(reach: Reach) -> None:
    gates = Gates()
    policy = ScriptedChat(lambda request: gates.say("never", after="gate"))
    simulator = await reach(make_simulation(user=ScriptedChat("u"), policy=policy))
    reader = asyncio.create_task(collect(simulator, asking(count=3)))
    await eventually(lambda: policy.in_flight == 3)
    reader.cancel()
    await asyncio.gather(reader, return_exceptions=True)
    await eventually(lambda: policy.in_flight == 0)


async def test_samples_wait_in_the_line_of_the_futures(reach: Reach) -> None:
    gates = Gates()
    policy = ScriptedChat(lambda request: gates.say("a", after="gate"))
    simulation = make_simulation(
        user=ScriptedChat("u"), policy=policy, max_futures=2, max_waiting_futures=3
    )
    simulator = await reach(simulation)
    with pytest.raises(LimitReached) as refused:
        await collect(simulator, asking(count=6))
    assert refused.value.reason is Reason.LIMIT_REACHED
    reader = asyncio.create_task(collect(simulator, asking(count=5)))
    await eventually(lambda: policy.in_flight == 2)
    assert len(policy.requests) == 2
    gates.open("gate")
    assert len(await reader) == 5


async def test_a_budget_bounds_what_is_drawn(reach: Reach) -> None:
    async def four_tokens(request: ChatRequest) -> str:
        purse = request.ledger.purse
        assert purse is not None
        await purse.reserve(Cost(tokens=4))
        purse.settle(Cost(tokens=4), Cost(tokens=4))
        return "a"

    policy = ScriptedChat(four_tokens)
    simulator = await reach(make_simulation(user=ScriptedChat("u"), policy=policy))
    found = await collect(simulator, asking(count=3, budget=Budget(max_tokens=9)))
    outcomes = [found[k].outcome for k in range(3)]
    assert outcomes[:2] == ["a", "a"]
    assert isinstance(outcomes[2], Failure) and outcomes[2].reason is Reason.BUDGET_EXHAUSTED


@pytest.mark.parametrize("mode", list(CacheMode))
async def test_what_was_drawn_once_is_drawn_again_as_the_mode_says(mode: CacheMode) -> None:
    calls = 0

    def other_each_time(request: ChatRequest) -> str:
        nonlocal calls
        calls += 1
        return f"answer {calls}"

    chat = ScriptedChat(other_each_time)
    simulator = cached_simulator(make_simulation(user=chat, policy=chat), memory_cache())
    first = await collect(simulator, asking(count=2))
    again = await collect(simulator, asking(count=3, cache=mode))
    found = mode in (CacheMode.DEFAULT, CacheMode.READ_ONLY)
    assert (again[0].outcome == first[0].outcome) is found
    assert calls == (3 if found else 5)
    origins = [again[k].origin for k in range(3)]
    assert origins == [Origin.FOUND if found else Origin.COMPUTED] * 2 + [Origin.COMPUTED]
    assert not found or not again[0].usage.models
    last = await collect(simulator, asking(count=3))
    stored = {CacheMode.DEFAULT: 3, CacheMode.REFRESH: 3}.get(mode, 2)
    assert [one.origin for _, one in sorted(last.items())].count(Origin.FOUND) == stored


async def test_what_several_want_at_once_is_drawn_once() -> None:
    gates = Gates()
    policy = ScriptedChat(lambda request: gates.say("a", after="gate"))
    simulation = make_simulation(user=ScriptedChat("u"), policy=policy)
    simulator = cached_simulator(simulation, memory_cache())
    readers = [asyncio.create_task(collect(simulator, asking(count=2))) for _ in range(3)]
    await eventually(lambda: policy.in_flight == 2)
    gates.open("gate")
    answers = await asyncio.gather(*readers)
    assert len(policy.requests) == 2
    origins = sorted(one.origin for answer in answers for one in answer.values())
    assert origins == [Origin.COMPUTED] * 2 + [Origin.SHARED] * 4


async def test_a_failure_is_not_remembered() -> None:
    failing = True

    def say(request: ChatRequest) -> str:
        if failing:
            raise Upstream(Reason.MODEL_FAILED, "down")
        return "a"

    simulation = make_simulation(user=ScriptedChat("u"), policy=ScriptedChat(say))
    simulator = cached_simulator(simulation, memory_cache())
    assert isinstance((await collect(simulator, asking()))[0].outcome, Failure)
    failing = False
    assert (await collect(simulator, asking()))[0].outcome == "a"
