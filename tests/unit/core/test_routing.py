"""One evaluation by several evaluators: who scores what, and that each fails alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foresight_services.core.budget import NO_LIMIT, Budget, divide
from foresight_services.core.errors import (
    Failure,
    Family,
    InvalidInput,
    Precondition,
    Reason,
    Upstream,
    Violation,
)
from foresight_services.core.future import EvaluationSetup, Extracted, Wanted
from foresight_services.core.objective import MetricSpec
from foresight_services.core.ports import EvaluationSession, Evaluator
from foresight_services.core.routing import SECONDS_TO_OPEN, Remote, RoutedEvaluator, owners
from foresight_services.core.usage import Ledger, ModelUsage
from tests.fakes.evaluation import (
    StubExtractor,
    StubMetric,
    evaluation_setup,
    item,
    make_evaluation,
)
from tests.fakes.virtual_time import LoopClock, settle

DOWN = Upstream(Reason.SERVICE_UNAVAILABLE, "is down", metadata={"service": "evaluator"})


class Watched:
    """An evaluator that tells what it was asked; implements the port `Evaluator`."""

    def __init__(self, *metrics: StubMetric, refuse: Exception | None = None) -> None:
        self._inner = make_evaluation(*metrics)
        self.refuse = refuse
        self.setups: list[EvaluationSetup] = []
        self.deadlines: list[float | None] = []
        self.open_now = 0

    @asynccontextmanager
    async def open(
        self, setup: EvaluationSetup, *, deadline: float | None = None
    ) -> AsyncIterator[EvaluationSession]:
        """Open a session, or raise the refusal."""
        self.setups.append(setup)
        self.deadlines.append(deadline)
        if self.refuse is not None:
            raise self.refuse
        async with self._inner.open(setup, deadline=deadline) as session:
            self.open_now += 1
            try:
                yield session
            finally:
                self.open_now -= 1


class Unopened:
    """An evaluator that never accepts a setup; implements the port `Evaluator`."""

    @asynccontextmanager
    async def open(
        self, setup: EvaluationSetup, *, deadline: float | None = None
    ) -> AsyncIterator[EvaluationSession]:
        """Wait for ever."""
        await asyncio.Event().wait()
        raise AssertionError
        yield


def routed(
    local: Evaluator,
    remotes: Mapping[str, tuple[Evaluator, tuple[str, ...]]],
    local_names: tuple[str, ...] = (),
) -> RoutedEvaluator:
    return RoutedEvaluator(
        local,
        {name: Remote(evaluator, metrics) for name, (evaluator, metrics) in remotes.items()},
        local_names=local_names,
        clock=LoopClock(),
    )


async def test_each_metric_is_scored_where_it_belongs_and_told_in_the_order_of_the_setup() -> None:
    local = Watched(StubMetric("a", 0.1), StubMetric("d", 0.4))
    one, two = Watched(StubMetric("b", 0.2)), Watched(StubMetric("c", 0.3, None, "7"))
    # A metric of this process that an operator moves out is no longer scored here.
    evaluator = routed(local, {"one": (one, ("b",)), "two": (two, ("c",))}, ("a", "b", "d"))
    async with evaluator.open(evaluation_setup("c", "a", "b", "d")) as session:
        assert [info.name for info in session.metrics] == ["c", "a", "b", "d"]
        assert session.metrics[0].version == "7"
        result = await session.score(item(1, 2))
    assert result.id == item(1, 2).id
    assert [(s.name, s.outcome) for s in result.scores] == [
        ("c", 0.3),
        ("a", 0.1),
        ("b", 0.2),
        ("d", 0.4),
    ]
    assert [spec.name for spec in local.setups[0].metrics] == ["a", "d"]
    assert [len(each.setups) for each in (local, one, two)] == [1, 1, 1]


async def test_an_evaluator_without_metrics_in_the_setup_is_not_asked() -> None:
    local, other = Watched(StubMetric("a", 0.1)), Watched(refuse=DOWN)
    async with routed(local, {"other": (other, ("b",))}).open(evaluation_setup("a")) as session:
        assert [s.outcome for s in (await session.score(item())).scores] == [0.1]
    assert other.setups == []


async def test_costs_and_artifacts_are_those_of_all() -> None:
    def judged(item, ledger: Ledger) -> float:
        ledger.record("judge", ModelUsage(1, 10, 2, dollars=0.5))
        return 0.5

    answer, essay = Wanted("answer"), Wanted("essay")
    texts = {"answer": "42", "essay": "Once"}
    local = make_evaluation(StubMetric("a", judged, wants=answer), extractor=StubExtractor(texts))
    metrics = StubMetric("b", judged, wants=answer), StubMetric("c", 0.5, wants=essay)
    other = make_evaluation(*metrics, extractor=StubExtractor(texts))
    evaluator = routed(local, {"other": (other, ("b", "c"))})
    async with evaluator.open(evaluation_setup("a", "b", "c")) as session:
        result = await session.score(item())
    assert dict(result.usage.models) == {"judge": ModelUsage(2, 20, 4, dollars=1.0)}
    assert result.artifacts == (Extracted(answer, "42"), Extracted(essay, "Once"))


async def test_everybody_is_opened_and_asked_at_once(clock: LoopClock) -> None:
    async def slow(item, ledger) -> float:
        await asyncio.sleep(5)
        return 0.5

    local, other = Watched(StubMetric("a", slow)), Watched(StubMetric("b", slow))
    start = clock.now()
    evaluator = routed(local, {"other": (other, ("b",)), "hung": (Unopened(), ("c", "d"))})
    async with evaluator.open(evaluation_setup("a", "b", "c")) as session:
        assert clock.now() == pytest.approx(start + SECONDS_TO_OPEN)
        result = await session.score(item())
    assert clock.now() == pytest.approx(start + SECONDS_TO_OPEN + 5)
    assert result.usage.seconds == pytest.approx(5)
    assert [s.outcome for s in result.scores[:2]] == [0.5, 0.5]
    late = result.scores[2].outcome
    assert isinstance(late, Failure)
    assert (late.family, late.reason) == (Family.UPSTREAM, Reason.SERVICE_UNAVAILABLE)
    assert late.message == "evaluator 'hung': was not ready for the setup in time"


async def test_one_that_never_opens_leaves_time_for_the_others(clock: LoopClock) -> None:
    local, deadline = Watched(StubMetric("a", 0.5)), clock.now() + 10
    evaluator = routed(local, {"hung": (Unopened(), ("b",))})
    async with evaluator.open(evaluation_setup("a", "b"), deadline=deadline) as session:
        assert clock.now() == pytest.approx(deadline - 5)
        assert (await session.score(item())).scores[0].outcome == 0.5
    assert local.deadlines == [deadline]


@pytest.mark.parametrize(
    ("error", "reason", "message"),
    [
        (DOWN, Reason.SERVICE_UNAVAILABLE, "is down"),
        (RuntimeError("a secret"), Reason.INTERNAL, "internal error"),
    ],
    ids=["down", "defect"],
)
async def test_one_that_is_down_fails_its_own_scores_only(
    error: Exception, reason: Reason, message: str
) -> None:
    local, other = Watched(StubMetric("a", 0.5)), Watched(refuse=error)
    evaluator = routed(local, {"other": (other, ("b", "c"))})
    setup = evaluation_setup(metrics=(MetricSpec("b", label="bee"), *map(MetricSpec, "ac")))
    async with evaluator.open(setup) as session:
        assert [(i.name, i.metric, i.range) for i in session.metrics[::2]] == [
            ("bee", "b", None),
            ("c", "c", None),
        ]
        first, second = await asyncio.gather(session.score(item()), session.score(item(1)))
    for result in (first, second):
        bee, a, c = result.scores
        assert a.outcome == 0.5
        for title, found in (("bee", bee), ("c", c)):
            assert found.name == title
            assert isinstance(found.outcome, Failure)
            assert found.outcome.reason is reason
            assert found.outcome.message.startswith(f"evaluator 'other': {message}")
            assert found.outcome.metadata["evaluator"] == "other"
            assert found.outcome.metadata["metric"] == title
            assert "secret" not in found.outcome.message


async def test_one_that_breaks_off_fails_what_it_has_not_scored() -> None:
    class Broken:
        """An evaluator that ends after one conversation."""

        @asynccontextmanager
        async def open(
            self, setup: EvaluationSetup, *, deadline: float | None = None
        ) -> AsyncIterator[EvaluationSession]:
            async with make_evaluation(StubMetric("b", 0.2)).open(setup) as session:
                score = session.score
                answered = False

                async def once(item):
                    nonlocal answered
                    if answered:
                        raise DOWN
                    answered = True
                    return await score(item)

                session.score = once  # type: ignore[method-assign]
                yield session

    evaluator = routed(Watched(StubMetric("a", 0.5)), {"other": (Broken(), ("b",))})
    async with evaluator.open(evaluation_setup("a", "b")) as session:
        results = [await session.score(item(sample=sample)) for sample in range(3)]
    assert [result.scores[0].outcome for result in results] == [0.5, 0.5, 0.5]
    assert results[0].scores[1].outcome == 0.2
    for result in results[1:]:
        failed = result.scores[1].outcome
        assert isinstance(failed, Failure)
        assert failed.message == "evaluator 'other': is down"
        assert dict(failed.metadata) == {
            "service": "evaluator",
            "evaluator": "other",
            "metric": "b",
        }


async def test_what_is_wrong_is_told_at_once_by_its_place_in_the_whole_setup() -> None:
    refusal = InvalidInput(
        (
            Violation("prefix", "is wrong"),
            Violation("metrics[1].parameters.x", "is wrong too"),
            Violation("metrics[9].name", "is none of its metrics"),
        )
    )
    local = Watched(
        refuse=InvalidInput((Violation("prefix", "is wrong"), Violation("metrics[0]", "bad")))
    )
    evaluator = routed(local, {"other": (Watched(refuse=refusal), ("b", "d"))})
    with pytest.raises(InvalidInput) as refused:
        async with evaluator.open(evaluation_setup("b", "a", "d")):
            pytest.fail("opened")
    assert [(v.field, v.description) for v in refused.value.violations] == [
        ("prefix", "is wrong"),
        ("metrics[1]", "bad"),
        ("metrics[2].parameters.x", "is wrong too"),
        ("metrics[9].name", "is none of its metrics"),
    ]


async def test_an_unknown_name_is_compared_with_the_metrics_of_all() -> None:
    local = make_evaluation(StubMetric("success", 1.0))
    other = Watched(StubMetric("politeness", 1.0))
    evaluator = routed(local, {"other": (other, ("politeness",))}, ("success",))
    with pytest.raises(InvalidInput) as refused:
        async with evaluator.open(evaluation_setup("success", "politness", "politeness")):
            pytest.fail("opened")
    assert [(v.field, v.description) for v in refused.value.violations] == [
        (
            "metrics[1].name",
            "unknown 'politness'; did you mean 'politeness'? (known: politeness, success)",
        )
    ]
    assert other.open_now == 0


@pytest.mark.parametrize("where", ["local", "other"])
async def test_what_an_evaluator_lacks_is_told_as_it_is(where: str) -> None:
    lacks = Precondition(Reason.METRIC_UNAVAILABLE, "needs a GPU", metadata={"metric": "x"})
    evaluators = {
        "local": Watched(StubMetric("a", 0.5)),
        "other": Watched(StubMetric("b", 0.5)),
    }
    evaluators[where].refuse = lacks
    evaluator = routed(evaluators["local"], {"other": (evaluators["other"], ("b",))})
    with pytest.raises(Precondition) as refused:
        async with evaluator.open(evaluation_setup("a", "b")):
            pytest.fail("opened")
    assert refused.value is lacks
    assert {name: one.open_now for name, one in evaluators.items()} == {"local": 0, "other": 0}


async def test_no_metrics_are_for_this_process_to_refuse() -> None:
    local = Watched(refuse=InvalidInput((Violation("metrics", "is empty"),)))
    with pytest.raises(InvalidInput, match="metrics: is empty"):
        async with routed(local, {"other": (Watched(), ("b",))}).open(evaluation_setup()):
            pytest.fail("opened")


async def test_leaving_ends_everybodys_work(clock: LoopClock) -> None:
    running = 0

    async def endless(item, ledger) -> float:
        nonlocal running
        running += 1
        try:
            await asyncio.Event().wait()
        finally:
            running -= 1
        return 0.0

    local, other = Watched(StubMetric("a", endless)), Watched(StubMetric("b", endless))
    evaluator = routed(local, {"other": (other, ("b",))})
    async with evaluator.open(evaluation_setup("a", "b")) as session:
        scoring = asyncio.create_task(session.score(item()))
        await settle()
        assert (running, local.open_now, other.open_now) == (2, 1, 1)
        scoring.cancel()
        with pytest.raises(asyncio.CancelledError):
            await scoring
        assert running == 0
    assert (local.open_now, other.open_now) == (0, 0)


async def test_giving_up_while_one_is_opened_closes_the_others(clock: LoopClock) -> None:
    local = Watched(StubMetric("a", 0.5))
    evaluator = routed(local, {"hung": (Unopened(), ("b",))})

    async def use() -> None:
        async with evaluator.open(evaluation_setup("a", "b")):
            pytest.fail("opened")

    using = asyncio.create_task(use())
    await settle()
    assert local.open_now == 1
    using.cancel()
    with pytest.raises(asyncio.CancelledError):
        await using
    assert local.open_now == 0


def shares(evaluators: tuple[Watched, ...], calls: tuple[int, ...], turns: int) -> list[Budget]:
    """Return the share that each takes of the budget that it was told last."""
    return [
        divide(one.setups[-1].budget, turns=turns, judge_calls=own).evaluator
        for one, own in zip(evaluators, calls, strict=True)
    ]


@given(
    tokens=st.integers(1_000, 10**9),
    dollars=st.floats(0.01, 1e4),
    calls=st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9)),
    turns=st.integers(0, 64),
)
def test_all_shares_together_keep_to_the_budget(
    tokens: int, dollars: float, calls: tuple[int, int, int], turns: int
) -> None:
    budget = Budget(tokens, dollars)
    evaluators = tuple(
        Watched(StubMetric(name, 0.5, judge_calls=own))
        for name, own in zip("abc", calls, strict=True)
    )
    local, one, two = evaluators

    async def opened() -> int:
        evaluator = routed(local, {"one": (one, ("b",)), "two": (two, ("c",))})
        setup = evaluation_setup("a", "b", "c", budget=budget, horizon_messages=turns)
        async with evaluator.open(setup) as session:
            return sum(info.judge_calls for info in session.metrics)

    assert asyncio.run(opened()) == sum(calls)
    given = divide(budget, turns=turns, judge_calls=sum(calls))
    taken = shares(evaluators, calls, turns)
    # Whoever asks no judge is left a share that pays for nothing.
    spendable = [share for share, own in zip(taken, calls, strict=True) if own]
    in_all = given.simulator.max_tokens * bool(turns) + sum(s.max_tokens for s in spendable)
    assert in_all <= tokens
    assert sum(s.max_dollars for s in spendable) <= given.evaluator.max_dollars * (1 + 1e-9)
    for share, own in zip(taken, calls, strict=True):
        if own:
            exact = tokens * own / max(1, turns + sum(calls))
            assert exact - 2 <= share.max_tokens <= exact


async def test_one_that_is_down_takes_no_share_and_is_not_tried_twice() -> None:
    local, other = Watched(StubMetric("a", 0.5, judge_calls=2)), Watched(refuse=DOWN)
    evaluator = routed(local, {"other": (other, ("b",))})
    setup = evaluation_setup("a", "b", budget=Budget(600), horizon_messages=4)
    async with evaluator.open(setup) as session:
        (_, failed) = (await session.score(item())).scores
    assert isinstance(failed.outcome, Failure)
    assert shares((local,), (2,), 4) == [Budget(200)]
    assert len(other.setups) == 1


@pytest.mark.parametrize("budget", [NO_LIMIT, Budget(600)], ids=["no limit", "limit"])
async def test_one_alone_is_told_the_whole_budget_and_opened_once(budget: Budget) -> None:
    other = Watched(StubMetric("b", 0.5, judge_calls=2))
    evaluator = routed(Watched(), {"other": (other, ("b",))})
    async with evaluator.open(evaluation_setup("b", budget=budget)):
        assert [setup.budget for setup in other.setups] == [budget]


def test_a_metric_has_one_remote_evaluator() -> None:
    assert owners({"one": ("a", "b"), "two": ("c",)}) == {"a": "one", "b": "one", "c": "two"}
    remotes = {"one": ("a", "b", "a"), "two": ("b",)}
    with pytest.raises(InvalidInput) as refused:
        owners(remotes)
    assert {v.field: v.description for v in refused.value.violations} == {
        "evaluator.remotes.one.metrics[2]": "'a' is scored by 'one' already; name it once",
        "evaluator.remotes.two.metrics[0]": "'b' is scored by 'one' already; name it once",
    }
    with pytest.raises(InvalidInput):
        routed(Watched(), {"one": (Watched(), ("a",)), "two": (Watched(), ("a",))})
