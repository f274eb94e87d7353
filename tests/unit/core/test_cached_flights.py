"""Many who want the same at once: one works, all get it, whoever leaves and whoever dies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from foresight_services.core.budget import Budget
from foresight_services.core.cache_use import CacheUse, Origins
from foresight_services.core.errors import Failure, InvalidInput, Reason, Upstream, Violation
from foresight_services.core.future import (
    ConversationScores,
    EvaluationItem,
    EvaluationSetup,
    Future,
    SimulationRequest,
)
from foresight_services.core.message_request import MessageRequest, SampledMessage
from foresight_services.core.ports import ChatRequest, EvaluationSession
from foresight_services.core.result import CandidateResult, GroupSummary
from foresight_services.core.single_flight import LEASE_SECONDS
from foresight_services.core.task import PolicyRef
from foresight_services.core.usage import Ledger, ModelUsage
from tests.fakes.caching import (
    Replica,
    cached_evaluator,
    cached_simulator,
    identified,
    memory_cache,
    replica,
    seeded,
)
from tests.fakes.chat import Gates, ScriptedChat
from tests.fakes.evaluation import evaluation_setup, item, make_evaluation
from tests.fakes.reward import query
from tests.fakes.simulation import make_simulation, simulation_request
from tests.fakes.virtual_time import LoopClock, settle


class Gated:
    """A user and a judge that answer when the test lets them, and count."""

    def __init__(self) -> None:
        self.gates = Gates()
        self.user = ScriptedChat(self._say)
        self.asked = 0
        self.judging = 0
        self.metric = identified("worth", self._score, judge_calls=1)

    async def _say(self, request: ChatRequest) -> str:
        await self.gates["user"].wait()
        return seeded(request)

    async def _score(self, item: EvaluationItem, ledger: Ledger) -> float:
        self.asked += 1
        self.judging += 1
        try:
            await self.gates["judge"].wait()
        finally:
            self.judging -= 1
        ledger.record("judge", ModelUsage(1, 10, 1))
        return 0.5

    @property
    def calls(self) -> tuple[int, int]:
        """Calls of the user and of the judge."""
        return len(self.user.requests), self.asked


async def ask(one: Replica, *, deadline: float | None = None, **fields: Any) -> Any:
    """Return the one candidate's result and the summary."""
    events = [event async for event in one.rewards.compute(query(**fields), deadline=deadline)]
    (result,) = (event for event in events if isinstance(event, CandidateResult))
    (summary,) = (event for event in events if isinstance(event, GroupSummary))
    return result, summary


async def test_a_hundred_at_once_cost_what_one_costs(clock: LoopClock) -> None:
    gated = Gated()
    one = replica(memory_cache(), gated.metric, user=gated.user)
    asking = [asyncio.create_task(ask(one)) for _ in range(100)]
    await settle()
    assert gated.calls == (2, 0)
    gated.gates.open("user", "judge")
    answers = await asyncio.gather(*asking)
    assert gated.calls == (4, 2)
    assert len({result.outcome.estimate.mean for result, _ in answers}) == 1
    uses = [summary.cache for _, summary in answers]
    assert uses.count(CacheUse(Origins(computed=2), Origins(computed=2))) == 1
    assert uses.count(CacheUse(Origins(shared=2), Origins(shared=2))) == 99
    # All that it cost is charged, to one of them.
    spent = [usage.calls for _, s in answers for role, usage in s.usage.models.items()]
    assert sum(spent) == 4 + 4 + 2
    assert sum(not summary.usage.models for _, summary in answers) == 99


async def test_a_hundred_over_three_replicas_cost_what_one_costs(clock: LoopClock) -> None:
    gated, store = Gated(), memory_cache()
    replicas = [replica(store, gated.metric, user=gated.user) for _ in range(3)]
    asking = [asyncio.create_task(ask(replicas[index % 3])) for index in range(100)]
    await settle()
    gated.gates.open("user", "judge")
    answers = await asyncio.gather(*asking)
    assert gated.calls == (4, 2)
    assert all(result.n_ok == 2 for result, _ in answers)
    computed = [s.cache.futures.computed for _, s in answers]
    assert sum(computed) == 2


async def test_the_first_one_may_leave(clock: LoopClock) -> None:
    gated = Gated()
    one = replica(memory_cache(), gated.metric, user=gated.user)
    first = asyncio.create_task(ask(one))
    await settle()
    second = asyncio.create_task(ask(one))
    await settle()
    first.cancel()
    await settle()
    gated.gates.open("user")
    await settle()
    assert gated.judging == 2
    third = asyncio.create_task(ask(one))
    await settle()
    second.cancel()
    await settle()
    gated.gates.open("judge")
    result, summary = await third
    assert result.n_ok == 2
    assert gated.calls == (4, 2)
    assert gated.user.cancelled == 0
    assert summary.cache.scores == Origins(shared=2)


async def test_what_others_wait_for_keeps_the_session_of_who_left(clock: LoopClock) -> None:
    """As behind a connection, what a session has not scored when it is left is lost."""
    gates, asked, sessions = Gates(), 0, 0

    async def score(item: EvaluationItem, ledger: Ledger) -> float:
        nonlocal asked
        asked += 1
        await gates["judge"].wait()
        return 0.5

    class Connection:
        """Hangs up when it is left."""

        @asynccontextmanager
        async def open(
            self, setup: EvaluationSetup, *, deadline: float | None = None
        ) -> AsyncIterator[EvaluationSession]:
            nonlocal sessions
            closed = asyncio.Event()
            async with evaluation.open(setup) as inner:

                class Session:
                    metrics = inner.metrics

                    async def score(self, item: EvaluationItem) -> ConversationScores:
                        scoring = asyncio.create_task(inner.score(item))
                        hanging_up = asyncio.create_task(closed.wait())
                        try:
                            await asyncio.wait(
                                (scoring, hanging_up), return_when=asyncio.FIRST_COMPLETED
                            )
                            if not scoring.done():
                                raise Upstream(Reason.SERVICE_UNAVAILABLE, "hung up")
                            return scoring.result()
                        finally:
                            scoring.cancel()
                            hanging_up.cancel()

                sessions += 1
                try:
                    yield Session()
                finally:
                    sessions -= 1
                    closed.set()

    evaluation = make_evaluation(identified("worth", score))
    evaluator = cached_evaluator(Connection(), memory_cache())

    async def scored() -> ConversationScores:
        async with evaluator.open(evaluation_setup("worth")) as session:
            return await session.score(item())

    first = asyncio.create_task(scored())
    await settle()
    second = asyncio.create_task(scored())
    await settle()
    assert sessions == 2
    first.cancel()
    await settle()
    assert sessions == 2
    gates.open("judge")
    assert [score.outcome for score in (await second).scores] == [0.5]
    assert asked == 1
    await settle()
    assert sessions == 0


async def test_the_last_one_to_leave_ends_the_work(clock: LoopClock) -> None:
    gated = Gated()
    one = replica(memory_cache(), gated.metric, user=gated.user)
    asking = [asyncio.create_task(ask(one)) for _ in range(5)]
    await settle()
    for left, task in enumerate(asking, start=1):
        task.cancel()
        await settle()
        assert gated.user.in_flight == (0 if left == 5 else 2)
    assert gated.user.cancelled == 2
    # Nothing is left behind that another would wait for.
    gated.gates.open("user", "judge")
    result, summary = await ask(one)
    assert result.n_ok == 2
    assert summary.cache.futures == Origins(computed=2)


async def test_the_last_one_to_leave_ends_the_judging(clock: LoopClock) -> None:
    gated = Gated()
    gated.gates.open("user")
    one = replica(memory_cache(), gated.metric, user=gated.user)
    asking = [asyncio.create_task(ask(one)) for _ in range(3)]
    await settle()
    assert gated.judging == 2
    for task in asking:
        task.cancel()
    await settle()
    assert gated.judging == 0


async def test_everyone_keeps_a_deadline_of_their_own(clock: LoopClock) -> None:
    gated = Gated()
    one = replica(memory_cache(), gated.metric, user=gated.user)
    start = clock.now()
    hasty = asyncio.create_task(ask(one, deadline=start + 10))
    patient = asyncio.create_task(ask(one, deadline=start + 100))
    result, _ = await hasty
    assert isinstance(result.outcome, Failure)
    assert result.outcome.reason is Reason.DEADLINE_EXCEEDED
    assert start + 5 < clock.now() <= start + 10
    assert gated.user.in_flight == 2
    gated.gates.open("user", "judge")
    result, _ = await patient
    assert result.n_ok == 2
    assert gated.calls == (4, 2)
    assert clock.now() < start + 20


async def test_at_a_deadline_what_is_there_counts(clock: LoopClock) -> None:
    gates = Gates()

    async def say(request: ChatRequest) -> str:
        await gates[len(chat.requests) > 1].wait()
        return seeded(request)

    chat = ScriptedChat(say)
    simulator = cached_simulator(
        make_simulation(user=chat, policy=ScriptedChat("a")), memory_cache()
    )
    gates.open(False)
    request = simulation_request(samples=2, horizon_messages=1)
    futures = [f async for f in simulator.simulate(request, deadline=clock.now() + 5)]
    reasons = [f.outcome.reason for f in futures if isinstance(f.outcome, Failure)]
    assert len(futures) == 2
    assert reasons == [Reason.DEADLINE_EXCEEDED]
    assert chat.in_flight == 0


async def test_a_budget_that_ends_is_the_owners_alone(clock: LoopClock) -> None:
    """The first caller cannot pay; those who waited for it go on with their own money."""

    class Poor:
        """Fails whoever has a budget."""

        def __init__(self) -> None:
            self.requests: list[SimulationRequest] = []
            self.gate = asyncio.Event()
            self._simulation = make_simulation(user=ScriptedChat(seeded), policy=ScriptedChat("a"))

        async def fingerprint(self, policy: PolicyRef, *, deadline: float | None = None) -> str:
            return "fake"

        async def simulate(
            self, request: SimulationRequest, *, deadline: float | None = None
        ) -> AsyncGenerator[Future, None]:
            self.requests.append(request)
            await self.gate.wait()
            async with aclosing(self._simulation.simulate(request)) as futures:
                async for future in futures:
                    if request.budget.limited:
                        error = Upstream(Reason.BUDGET_EXHAUSTED, "no money")
                        future = replace(future, outcome=error.failure)
                    yield future

        def sample_messages(
            self, request: MessageRequest, *, deadline: float | None = None
        ) -> AsyncGenerator[SampledMessage, None]:
            return self._simulation.sample_messages(request, deadline=deadline)

    poor = Poor()
    simulator = cached_simulator(poor, memory_cache())

    async def collect(budget: Budget) -> list[Future]:
        request = simulation_request(samples=3, budget=budget)
        return [future async for future in simulator.simulate(request)]

    first = asyncio.create_task(collect(Budget(1)))
    await settle()
    others = [asyncio.create_task(collect(Budget())) for _ in range(10)]
    await settle()
    poor.gate.set()
    assert all(isinstance(future.outcome, Failure) for future in await first)
    for answers in await asyncio.gather(*others):
        assert not [future for future in answers if isinstance(future.outcome, Failure)]
    # One of the ten took off again for all of them, with everything that had failed.
    assert [len(request.futures) for request in poor.requests] == [3, 3]


async def test_a_model_that_is_down_is_asked_for_all_at_once(clock: LoopClock) -> None:
    gates = Gates()

    async def say(request: ChatRequest) -> str:
        await gates["down"].wait()
        raise Upstream(Reason.MODEL_FAILED, "down", metadata={"role": "user"})

    chat = ScriptedChat(say)
    one = replica(memory_cache(), identified("worth", 0.5), user=chat)
    asking = [asyncio.create_task(ask(one)) for _ in range(20)]
    await settle()
    gates.open("down")
    for result, _ in await asyncio.gather(*asking):
        assert isinstance(result.outcome, Failure)
    assert len(chat.requests) == 2


class Refusing:
    """Refuses everything with one error; implements the port `Simulator`."""

    def __init__(self, error: Exception) -> None:
        self._error = error
        self.requests = 0

    async def fingerprint(self, policy: PolicyRef, *, deadline: float | None = None) -> str:
        return "fake"

    async def simulate(
        self, request: SimulationRequest, *, deadline: float | None = None
    ) -> AsyncGenerator[Future, None]:
        self.requests += 1
        await asyncio.sleep(1)
        raise self._error
        yield

    async def sample_messages(
        self, request: MessageRequest, *, deadline: float | None = None
    ) -> AsyncGenerator[SampledMessage, None]:
        raise self._error
        yield


@pytest.mark.parametrize(
    ("error", "requests"),
    [
        (Upstream(Reason.SERVICE_UNAVAILABLE, "gone"), 1),
        # What is invalid may be no part of the key, so everyone tries.
        (InvalidInput((Violation("budget", "is odd"),)), 2),
    ],
)
async def test_what_is_refused_as_a_whole_is_told_to_all(
    error: Exception, requests: int, clock: LoopClock
) -> None:
    refusing = Refusing(error)
    simulator = cached_simulator(refusing, memory_cache())

    async def collect() -> list[Future]:
        return [future async for future in simulator.simulate(simulation_request(samples=2))]

    answers = await asyncio.gather(collect(), collect(), return_exceptions=True)
    assert [type(answer) for answer in answers] == [type(error)] * 2
    assert refusing.requests == requests


class Mortal:
    """A store's connection of one replica, which can be cut as by SIGKILL."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.alive = True

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)

        async def call(*args: Any) -> Any:
            if not self.alive:
                await asyncio.Event().wait()
            return await method(*args)

        return call


async def test_who_dies_is_replaced_within_a_lease_and_what_was_finished_stays(
    clock: LoopClock,
) -> None:
    store = memory_cache()
    gates = Gates()
    dying, living = ScriptedChat("x"), ScriptedChat(seeded)

    async def say(request: ChatRequest) -> str:
        if len(dying.requests) > 6:
            await gates["never"].wait()
        return seeded(request)

    dying = ScriptedChat(say)
    line = Mortal(store)
    metric = identified("worth", 0.5)
    owner, other = replica(line, metric, user=dying), replica(store, metric, user=living)
    doomed = asyncio.create_task(ask(owner, samples_max=5))
    await settle()
    finished = len([key for key in store._entries if key.namespace == "future"])
    assert 0 < finished < 5
    waiters = [asyncio.create_task(ask(other, samples_max=5)) for _ in range(10)]
    await asyncio.sleep(3 * LEASE_SECONDS)
    # As long as the owner lives, it keeps its leases.
    assert not living.requests
    line.alive = False
    killed = clock.now()
    answers = await asyncio.gather(*waiters)
    assert clock.now() - killed <= LEASE_SECONDS + 1
    assert all(result.n_ok == 5 for result, _ in answers)
    assert len(living.requests) == 2 * (5 - finished)
    doomed.cancel()
    await asyncio.gather(doomed, return_exceptions=True)


async def test_who_leaves_lets_another_replica_take_over_at_once(clock: LoopClock) -> None:
    gated, store = Gated(), memory_cache()
    here, there = (replica(store, gated.metric, user=gated.user) for _ in range(2))
    first = asyncio.create_task(ask(here))
    await settle()
    second = asyncio.create_task(ask(there))
    await settle()
    assert len(gated.user.requests) == 2
    gated.gates.open("judge")
    start = clock.now()
    first.cancel()
    await settle()
    assert len(gated.user.requests) == 4
    gated.gates.open("user")
    result, _ = await second
    assert result.n_ok == 2
    assert clock.now() - start < 1


async def test_a_waiters_deadline_holds_while_another_replica_works(clock: LoopClock) -> None:
    gated, store = Gated(), memory_cache()
    here, there = (replica(store, gated.metric, user=gated.user) for _ in range(2))
    first = asyncio.create_task(ask(here))
    await settle()
    start = clock.now()
    result, _ = await ask(there, deadline=start + 10)
    assert isinstance(result.outcome, Failure)
    assert clock.now() <= start + 10
    gated.gates.open("user", "judge")
    result, _ = await first
    assert result.n_ok == 2


async def test_a_store_that_holds_nothing_and_says_otherwise_stops_nobody(
    clock: LoopClock,
) -> None:
    class Lying:
        """Has every key, gives no value and no lease."""

        async def get_many(self, keys: Any) -> list[bytes | None]:
            return [None] * len(keys)

        async def put_many(self, entries: Any) -> None:
            return None

        async def acquire_many(self, keys: Any, owner: str, ttl_seconds: float) -> frozenset[Any]:
            return frozenset()

        async def renew_many(self, keys: Any, owner: str, ttl_seconds: float) -> frozenset[Any]:
            return frozenset()

        async def release_many(self, keys: Any, owner: str) -> None:
            return None

        async def wait_any(self, keys: Any, timeout_seconds: float) -> frozenset[Any]:
            return frozenset(keys)

        async def close(self) -> None:
            return None

    one = replica(Lying(), identified("worth", 0.5))
    result, summary = await ask(one)
    assert result.n_ok == 2
    assert summary.cache.futures == Origins(computed=2)


async def test_nothing_is_left_in_flight(clock: LoopClock) -> None:
    gated = Gated()
    one = replica(memory_cache(), gated.metric, user=gated.user)
    gated.gates.open("user", "judge")
    before = asyncio.all_tasks()
    for samples in (1, 3, 2):
        await ask(one, samples_max=samples)
    await settle()
    assert asyncio.all_tasks() == before
