"""First user turns that several futures draw by one call: who shares, at what cost, what fails."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import replace

import pytest

from foresight_services.core.budget import Budget
from foresight_services.core.errors import DomainError, Failure, Reason, Upstream
from foresight_services.core.future import Future, FutureId, SimulatedFuture, SimulationRequest
from foresight_services.core.opening_turns import MOST_CHOICES, OpeningTurns, opening_seed
from foresight_services.core.ports import ChatReply, ChatRequest
from foresight_services.core.task import Task
from foresight_services.core.usage import Ledger
from foresight_services.models.budgeted import BudgetedModel
from foresight_services.models.metered import MeteredModel
from foresight_services.models.sharing import SharingModel
from tests.fakes.chat import Gates, ScriptedChat
from tests.fakes.simulation import make_simulation, simulation_request
from tests.fakes.telemetry import RecordingTelemetry
from tests.fakes.virtual_time import LoopClock, settle


def seeded(request: ChatRequest) -> str:
    return f"u {request.seed}"


async def played(
    user: ScriptedChat, request: SimulationRequest, *, max_futures: int = 1000
) -> dict[FutureId, Future]:
    simulation = make_simulation(
        user=SharingModel(user), policy=ScriptedChat("a"), max_futures=max_futures
    )
    return {future.id: future async for future in simulation.simulate(request)}


def said_first(future: Future) -> str:
    assert isinstance(future.outcome, SimulatedFuture), future.outcome
    return future.outcome.messages[0].content


def openings(user: ScriptedChat) -> list[ChatRequest]:
    """Return the calls that asked for first turns."""
    return [asked for asked in user.requests if len(asked.conversation) == 2]


async def test_futures_of_a_candidate_share_one_call_and_others_do_not() -> None:
    user = ScriptedChat(seeded)

    futures = await played(user, simulation_request(samples=5, candidates=("A", "B"), seed=9))

    assert [(asked.choices, asked.seed) for asked in openings(user)] == [
        (5, opening_seed(9, 0)),
        (5, opening_seed(9, 0)),
    ]
    assert {asked.conversation[1].content for asked in openings(user)} == {"A", "B"}
    for which, future in futures.items():
        assert said_first(future) == f"u {opening_seed(9, which.sample)}"
    # Every later turn is a call of its own.
    assert len(user.requests) == 2 + 10
    assert {asked.choices for asked in user.requests if asked not in openings(user)} == {1}


@pytest.mark.parametrize("parts", [[5], [3, 2], [1, 4], [1, 1, 1, 1, 1]])
async def test_futures_are_equal_however_they_are_asked_for(parts: Sequence[int]) -> None:
    whole = await played(ScriptedChat(seeded), simulation_request(samples=5))

    found: dict[FutureId, Future] = {}
    for part in parts:
        user, first = ScriptedChat(seeded), len(found)
        asked = tuple(FutureId(0, sample) for sample in range(first, first + part))
        found |= await played(user, simulation_request(futures=asked))
        assert [call.choices for call in openings(user)] == [part]

    assert {which: future.outcome for which, future in found.items()} == {
        which: future.outcome for which, future in whole.items()
    }


@pytest.mark.parametrize(
    ("samples", "choices"),
    [
        ((0, 1, 3, 4, 5, 9), [2, 3, 1]),
        ((4, 2, 0), [1, 1, 1]),
        ((2, 1, 0), [3]),
        (tuple(range(2 * MOST_CHOICES + 1)), [MOST_CHOICES, MOST_CHOICES, 1]),
    ],
)
async def test_samples_that_follow_each_other_share_up_to_a_bound(
    samples: Sequence[int], choices: list[int]
) -> None:
    user = ScriptedChat(seeded)
    asked = tuple(FutureId(0, sample) for sample in samples)

    futures = await played(user, simulation_request(futures=asked))

    assert sorted(call.choices for call in openings(user)) == sorted(choices)
    for which, future in futures.items():
        assert said_first(future) == f"u {opening_seed(0, which.sample)}"


async def test_users_who_want_different_things_share_nothing() -> None:
    user = ScriptedChat(seeded)

    await played(user, simulation_request(task=Task(world="w"), samples=3))

    assert [call.choices for call in openings(user)] == [1, 1, 1]


def test_only_neighbours_that_are_told_the_same_form_a_run() -> None:
    personas = "aabbbac"
    futures = [FutureId(0, sample) for sample in range(len(personas))]

    turns = OpeningTurns(futures, lambda one, other: personas[one] == personas[other])

    shared = [turns.of(which) is not None for which in futures]
    assert shared == [True, True, True, True, True, False, False]


async def test_a_future_that_waits_for_a_place_has_its_first_turn_drawn_already() -> None:
    user = ScriptedChat(seeded)

    futures = await played(user, simulation_request(samples=5), max_futures=1)

    assert [call.choices for call in openings(user)] == [5]
    assert len({said_first(future) for future in futures.values()}) == 5


async def test_a_shared_call_is_in_the_bill_of_the_future_that_made_it_alone() -> None:
    user = ScriptedChat("two words")

    futures = await played(user, simulation_request(samples=3, horizon_messages=1))

    bills = [future.usage.models.get("user") for future in futures.values()]
    paid = [bill for bill in bills if bill is not None]
    assert len(paid) == 1
    assert (paid[0].calls, paid[0].prompt_tokens, paid[0].completion_tokens) == (1, 2, 6)
    assert all(future.usage.messages == 1 for future in futures.values())


async def test_a_failed_call_fails_who_waits_for_it_and_who_comes_later_asks_alone() -> None:
    failure = Upstream(Reason.MODEL_FAILED, "overloaded", metadata={"role": "user"})
    calls = 0

    async def answer(request: ChatRequest) -> str:
        nonlocal calls
        calls += 1
        await asyncio.sleep(0)
        if calls == 1:
            raise failure
        return seeded(request)

    user = ScriptedChat(answer)
    futures = await played(user, simulation_request(samples=5, horizon_messages=1), max_futures=3)

    outcomes = [futures[FutureId(0, sample)].outcome for sample in range(5)]
    assert outcomes[:3] == [failure.failure] * 3
    assert [call.choices for call in openings(user)] == [5, 1, 1]
    for sample in (3, 4):
        assert said_first(futures[FutureId(0, sample)]) == f"u {opening_seed(0, sample)}"
    assert (
        sum(future.usage.models["user"].calls for future in futures.values() if future.usage.models)
        == 2
    )


async def test_a_defect_of_the_model_is_every_waiting_futures_own_failure() -> None:
    def answer(request: ChatRequest) -> str:
        raise RuntimeError("a secret of the adapter")

    futures = await played(ScriptedChat(answer), simulation_request(samples=3))

    reasons = {f.outcome.reason for f in futures.values() if isinstance(f.outcome, Failure)}
    assert (reasons, len(futures)) == ({Reason.INTERNAL}, 3)


async def test_a_model_that_gives_fewer_choices_is_asked_for_the_rest() -> None:
    class Stingy(ScriptedChat):
        async def complete(self, request: ChatRequest) -> ChatReply:
            given = min(request.choices, 2)
            return await super().complete(replace(request, choices=given))

    user = Stingy(seeded)
    futures = await played(user, simulation_request(samples=4))

    assert [call.choices for call in openings(user)] == [2, 1, 1]
    for which, future in futures.items():
        assert said_first(future) == f"u {opening_seed(0, which.sample)}"


async def draws(
    model: SharingModel, clock: LoopClock, samples: int, base: int = 0
) -> list[asyncio.Task[ChatReply]]:
    """Start the first turns of some samples, in their order."""
    futures = [FutureId(0, sample) for sample in range(samples)]
    turns = OpeningTurns(futures, lambda one, other: True)
    asked = simulation_request()
    tasks = []
    for which in futures:
        request = ChatRequest(
            "user",
            asked.task,
            asked.prefix,
            (base + which.sample) % 2**64,
            100,
            Ledger(),
            shared=turns.of(which),
        )
        tasks.append(asyncio.create_task(model.complete(request)))
    await settle()
    return tasks


async def test_where_who_asks_is_cancelled_another_one_asks(clock: LoopClock) -> None:
    gates = Gates()
    user = ScriptedChat(lambda request: gates.say(seeded(request), after="gate"))
    first, *others = await draws(SharingModel(user), clock, 3)

    first.cancel()
    await settle()
    assert (user.cancelled, user.in_flight) == (1, 1)
    gates.open("gate")

    assert [(await task).text for task in others] == ["u 1", "u 2"]
    assert [asked.choices for asked in user.requests] == [3, 3]
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_who_waits_and_is_cancelled_disturbs_no_other(clock: LoopClock) -> None:
    gates = Gates()
    user = ScriptedChat(lambda request: gates.say(seeded(request), after="gate"))
    first, second, third = await draws(SharingModel(user), clock, 3)

    second.cancel()
    await settle()
    gates.open("gate")

    assert [(await task).text for task in (first, third)] == ["u 0", "u 2"]
    assert (len(user.requests), user.cancelled) == (1, 0)
    with pytest.raises(asyncio.CancelledError):
        await second


async def test_seeds_wrap_around_as_the_models_do(clock: LoopClock) -> None:
    user = ScriptedChat(seeded)

    tasks = await draws(SharingModel(user), clock, 2, base=2**64 - 1)

    assert [(await task).text for task in tasks] == [f"u {2**64 - 1}", "u 0"]


async def test_at_the_deadline_the_call_ends_once_and_all_of_them_fail(clock: LoopClock) -> None:
    user = ScriptedChat(lambda request: Gates().say("u", after="never"))
    simulation = make_simulation(user=SharingModel(user), policy=ScriptedChat("a"))

    futures = [
        future
        async for future in simulation.simulate(
            simulation_request(samples=4), deadline=clock.now() + 5
        )
    ]

    reasons = [f.outcome.reason for f in futures if isinstance(f.outcome, Failure)]
    assert reasons == [Reason.DEADLINE_EXCEEDED] * 4
    assert (len(user.requests), user.cancelled, user.in_flight) == (1, 1, 0)


async def test_closing_the_iterator_ends_the_call(clock: LoopClock) -> None:
    gates = Gates()
    user = ScriptedChat(lambda request: gates.say("u", after=request.conversation[1].content))
    simulation = make_simulation(user=SharingModel(user), policy=ScriptedChat("a"))
    gates.open("fast")

    request = simulation_request(samples=3, candidates=("slow", "fast"))
    async with aclosing(simulation.simulate(request)) as futures:
        await anext(futures)

    assert (user.cancelled, user.in_flight) == (1, 0)
    assert not asyncio.all_tasks() - {asyncio.current_task()}


def paid(answer: Callable[[ChatRequest], str]) -> tuple[ScriptedChat, MeteredModel]:
    """Return a model whose calls are paid for, and what stands before it."""
    model = ScriptedChat(answer)
    guarded = BudgetedModel(model)
    return model, MeteredModel(guarded, clock=LoopClock(), telemetry=RecordingTelemetry())


async def test_money_that_does_not_do_for_all_goes_to_some(clock: LoopClock) -> None:
    # One call reserves 300 to 400 tokens and takes 4; five at once would reserve 5 times as much.
    user, guarded = paid(seeded)
    simulation = make_simulation(user=SharingModel(guarded), policy=ScriptedChat("a"))
    request = simulation_request(samples=5, horizon_messages=1, budget=Budget(max_tokens=500))

    futures = [future async for future in simulation.simulate(request)]

    assert [call.choices for call in user.requests] == [1] * 5
    assert all(isinstance(future.outcome, SimulatedFuture) for future in futures)
    assert sum(future.usage.cost.tokens for future in futures) <= 500


async def test_a_shared_call_is_paid_out_of_one_purse(clock: LoopClock) -> None:
    user, guarded = paid(seeded)
    simulation = make_simulation(user=SharingModel(guarded), policy=ScriptedChat("a"))
    request = simulation_request(samples=5, horizon_messages=1, budget=Budget(max_tokens=100_000))

    futures = [future async for future in simulation.simulate(request)]

    assert [call.choices for call in user.requests] == [5]
    assert [future.charged for future in futures] == [None] * 5


async def test_an_exhausted_budget_refuses_each_for_itself(clock: LoopClock) -> None:
    user, guarded = paid(seeded)
    simulation = make_simulation(user=SharingModel(guarded), policy=ScriptedChat("a"))
    request = simulation_request(samples=3, horizon_messages=1, budget=Budget(max_tokens=10))

    futures = [future async for future in simulation.simulate(request)]

    reasons = [f.outcome.reason for f in futures if isinstance(f.outcome, Failure)]
    assert reasons == [Reason.BUDGET_EXHAUSTED] * 3
    assert user.requests == []


def test_the_reason_of_a_shared_failure_is_each_ones_own_error() -> None:
    """No two futures hold one exception, whose traceback would grow with each of them."""

    async def run() -> Sequence[object]:
        def fail(request: ChatRequest) -> str:
            raise Upstream(Reason.CONTEXT_EXHAUSTED, "too long", metadata={"model": "m"})

        async def late(request: ChatRequest) -> str:
            await asyncio.sleep(0)
            return fail(request)

        futures = [FutureId(0, sample) for sample in range(3)]
        turns = OpeningTurns(futures, lambda one, other: True)
        model, asked = SharingModel(ScriptedChat(late)), simulation_request()
        return await asyncio.gather(
            *(
                model.complete(
                    ChatRequest(
                        "user",
                        asked.task,
                        asked.prefix,
                        which.sample,
                        9,
                        Ledger(),
                        shared=turns.of(which),
                    )
                )
                for which in futures
            ),
            return_exceptions=True,
        )

    errors = asyncio.run(run())
    assert len({id(error) for error in errors}) == 3
    assert all(isinstance(error, DomainError) for error in errors)
    assert {error.reason for error in errors if isinstance(error, DomainError)} == {
        Reason.CONTEXT_EXHAUSTED
    }
