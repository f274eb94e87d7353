"""What every `Evaluator` promises: here, behind a connection, over both, or behind a cache."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest

from foresight_services.core.conversation import Message
from foresight_services.core.errors import (
    DeadlinePassed,
    Failure,
    InvalidInput,
    Reason,
    Upstream,
)
from foresight_services.core.future import (
    ConversationScores,
    EvaluationItem,
    EvaluationSetup,
    Extracted,
    FutureId,
    MetricInfo,
    Score,
    Verdict,
    Wanted,
)
from foresight_services.core.objective import MetricSpec, Range
from foresight_services.core.ports import Evaluator, MetricCatalog
from foresight_services.core.routing import Remote, RoutedEvaluator
from foresight_services.core.task import Task
from foresight_services.core.usage import Ledger, ModelUsage
from foresight_services.metrics import messages, success, token_amount
from foresight_services.metrics.catalog import Catalog
from foresight_services.metrics.judging.ruled import RuledJudge
from foresight_services.metrics.tokenizers import Tokenizers
from foresight_services.metrics.tools import Tools
from tests.fakes.caching import cached_evaluator, memory_cache
from tests.fakes.chat import Gates, ScriptedChat
from tests.fakes.evaluation import (
    StubCatalog,
    StubExtractor,
    StubMetric,
    evaluation_setup,
    item,
    make_evaluation,
)
from tests.fakes.servers import remote_evaluator
from tests.fakes.virtual_time import LoopClock
from tests.fakes.waiting import eventually

Reach = Callable[[MetricCatalog], Awaitable[Evaluator]]


SHIPPED = ("success", "messages", "token_amount")


@pytest.fixture(params=["in process", "remote", "routed", "cached", "cached routed"])
async def reach(request: pytest.FixtureRequest) -> AsyncIterator[Reach]:
    """Reach an evaluation directly, over a connection, or some of its metrics each way."""
    async with AsyncExitStack() as stack:
        store = memory_cache()

        async def connect(catalog: MetricCatalog) -> Evaluator:
            evaluation = make_evaluation(catalog=catalog, extractor=EXTRACTOR)
            if request.param == "in process":
                return evaluation
            if request.param == "cached":
                return cached_evaluator(evaluation, store)
            remote = await stack.enter_async_context(remote_evaluator(evaluation))
            if request.param == "remote":
                return remote
            elsewhere = SHIPPED[1:] if isinstance(catalog, Catalog) else ("odd", "free", "endless")
            other = Remote(remote, elsewhere)
            routed = RoutedEvaluator(
                evaluation, {"other": other}, local_names=SHIPPED, clock=LoopClock()
            )
            return cached_evaluator(routed, store) if "cached" in request.param else routed

        yield connect


def catalog_of(chat: ScriptedChat) -> MetricCatalog:
    """Return three of the metrics that ship, judged by `chat`."""
    tools = Tools(judge=RuledJudge(chat), token_counters=Tokenizers({}))
    definitions = (messages.DEFINITION, success.DEFINITION, token_amount.DEFINITION)
    return Catalog(tools=tools, definitions={one.name: one for one in definitions})


def timeless(scores: ConversationScores) -> ConversationScores:
    """Return `scores` without their time, and as if they had just been computed."""
    usage = replace(scores.cost or scores.usage, seconds=0.0)
    return replace(scores, usage=usage, cost=None, origins=())


EXTRACTOR = StubExtractor({"answer": "42 — 🙂"})


def judged(item: EvaluationItem, ledger: Ledger) -> Score:
    """Score by everything that is known of a conversation."""
    rng = random.Random(repr(replace(item, metrics=None)))
    a, b, c, d, e, f = (rng.randrange(2**40) for _ in range(6))
    ledger.record("judge", ModelUsage(a, b, c, d, e, f, dollars=rng.random()))
    if rng.random() < 0.2:
        raise Upstream(Reason.METRIC_FAILED, "kein Urteil — 🙂", metadata={"metric": "judged"})
    said = Verdict(rng.random(), "wéil 🙂", '{"judged": 1}')
    return Score(rng.random(), rng.choice((None, 0.5)), (said,) * rng.randrange(3), {"pärt": 0.1})


RICH = evaluation_setup(
    task=Task("p", "d", "g", "goal", "rèference", "w", {"key": "välue"}),
    prefix=(Message("system", "s"), Message("user", "tell me 🙂")),
    candidates=("one", "twö"),
    metrics=(MetricSpec("judged", -0.1), *map(MetricSpec, ("odd", "free", "lost"))),
)
METRICS = (
    StubMetric("judged", judged, wants=Wanted("answer"), judge_calls=2, identity="jüdged"),
    # Neither a number in its range nor any number at all.
    StubMetric("odd", lambda item, ledger: 7.0 if item.id.sample % 2 else math.nan),
    StubMetric("free", 0.1 + 0.2, None, "3", identity="free"),
    StubMetric("lost", 1.0, wants=Wanted("essay", "a title")),
)
ITEMS = [
    EvaluationItem(FutureId(c, s), f"göal {s}", (Message("user", f"{s} 言葉\n"),) * (s % 3))
    for c in range(2)
    for s in range(25)
]


async def evaluate(
    evaluator: Evaluator, setup: EvaluationSetup
) -> tuple[tuple[MetricInfo, ...], list[ConversationScores]]:
    """Score all items at once."""
    async with evaluator.open(setup) as session:
        scores = await asyncio.gather(*(session.score(one) for one in ITEMS))
        # A metric without a name of its own has its label's.
        infos = tuple(replace(info, metric=info.metric or info.name) for info in session.metrics)
        return infos, [timeless(one) for one in scores]


async def test_equal_conversations_get_equal_scores_wherever_they_are_judged(
    reach: Reach,
) -> None:
    catalog = StubCatalog(*METRICS)
    expected = await evaluate(make_evaluation(catalog=catalog, extractor=EXTRACTOR), RICH)
    found = await evaluate(await reach(catalog), RICH)
    assert found == expected
    assert await evaluate(await reach(catalog), RICH) == expected
    infos, scores = found
    assert [info.name for info in infos] == ["judged", "odd", "free", "lost"]
    assert (infos[0].range, infos[0].judge_calls) == (Range(0.0, 1.0), 2)
    assert (infos[2].range, infos[2].version) == (None, "3")
    assert [one.id for one in scores] == [one.id for one in ITEMS]
    outcomes = [one.scores[0].outcome for one in scores]
    assert any(isinstance(o, Failure) for o in outcomes)
    assert any(isinstance(o, float) for o in outcomes)
    assert all(isinstance(one.scores[1].outcome, Failure) for one in scores)
    assert {one.scores[2].outcome for one in scores} == {0.1 + 0.2}
    assert {tuple(score.verdicts != () for score in one.scores) for one in scores} >= {
        (True, False, False, False)
    }
    for one in scores:
        answer, essay = one.artifacts
        assert answer == Extracted(Wanted("answer"), "42 — 🙂")
        assert essay.outcome == one.scores[3].outcome
        assert isinstance(essay.outcome, Failure)


async def test_scores_come_as_they_are_known(reach: Reach) -> None:
    gates = Gates()

    async def when_open(item: EvaluationItem, ledger: Ledger) -> float:
        await gates[item.id.sample].wait()
        return item.id.sample / 10

    evaluator = await reach(StubCatalog(StubMetric("gated", when_open)))
    async with evaluator.open(evaluation_setup("gated")) as session:
        waiting = [asyncio.create_task(session.score(item(sample=s))) for s in range(3)]
        for sample in (2, 0, 1):
            gates.open(sample)
            assert (await waiting[sample]).scores[0].outcome == sample / 10


WRONG_SETUPS = [
    evaluation_setup("success", candidates=(), prefix=()),
    evaluation_setup("success", horizon_messages=-1, max_message_tokens=0),
    evaluation_setup(),
    evaluation_setup(
        metrics=(
            MetricSpec("sucess"),
            MetricSpec("messages", artifact="answer"),
            MetricSpec("token_amount", parameters={"scope": ["all"]}),
            MetricSpec("token_amount", parameters={"scope": {"a": None, "b": [True, 1.0]}}),
            MetricSpec("token_amount", parameters={"scope": math.nan, "tokenizer": math.inf}),
        )
    ),
]


@pytest.mark.parametrize("setup", WRONG_SETUPS)
async def test_a_refused_setup_is_the_same_error(setup: EvaluationSetup, reach: Reach) -> None:
    catalog = catalog_of(ScriptedChat("{}"))
    with pytest.raises(InvalidInput) as expected:
        async with make_evaluation(catalog=catalog, extractor=EXTRACTOR).open(setup):
            pass
    evaluator = await reach(catalog)
    with pytest.raises(InvalidInput) as found:
        async with evaluator.open(setup):
            pytest.fail("opened")
    assert found.value.violations == expected.value.violations


async def test_some_of_the_metrics_may_be_asked_for(reach: Reach) -> None:
    catalog = StubCatalog(*METRICS)
    async with make_evaluation(catalog=catalog, extractor=EXTRACTOR).open(RICH) as session:
        expected = [await session.score(one) for one in ITEMS]
    evaluator = await reach(catalog)
    async with evaluator.open(RICH) as session:
        for metrics in ((2,), (0, 2, 3), (1,), (0, 1, 2, 3)):
            asked = (session.score(replace(one, metrics=metrics)) for one in ITEMS)
            for found, full in zip(await asyncio.gather(*asked), expected, strict=True):
                assert found.scores == tuple(full.scores[index] for index in metrics)
        # One conversation may be asked about several times at once.
        one, full = ITEMS[0], expected[0]
        parts = [session.score(replace(one, metrics=(index,))) for index in (3, 0, 2, 1)]
        for index, found in zip((3, 0, 2, 1), await asyncio.gather(*parts), strict=True):
            assert found.scores == (full.scores[index],)


async def test_the_metrics_that_ship_agree(reach: Reach) -> None:
    catalog = catalog_of(ScriptedChat(lambda r: f'{{"success": 0.{len(r.task.goal)}}}'))
    specs = (
        MetricSpec("success"),
        MetricSpec("messages"),
        MetricSpec("token_amount", parameters={"scope": "future"}),
    )
    setup = replace(RICH, metrics=specs)
    expected = await evaluate(make_evaluation(catalog=catalog, extractor=EXTRACTOR), setup)
    assert await evaluate(await reach(catalog), setup) == expected


async def test_leaving_the_session_stops_every_judgement(reach: Reach) -> None:
    running = 0

    async def endless(item: EvaluationItem, ledger: Ledger) -> float:
        nonlocal running
        running += 1
        try:
            await asyncio.Event().wait()
        finally:
            running -= 1
        return 0.0

    evaluator = await reach(StubCatalog(StubMetric("endless", endless)))
    async with evaluator.open(evaluation_setup("endless")) as session:
        waiting = [asyncio.create_task(session.score(item(sample=s))) for s in range(3)]
        await eventually(lambda: running == 3)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    await eventually(lambda: running == 0)


async def test_giving_one_conversation_up_leaves_the_others(reach: Reach) -> None:
    gates = Gates()

    async def when_open(item: EvaluationItem, ledger: Ledger) -> float:
        await gates[item.id.sample].wait()
        return 0.5

    evaluator = await reach(StubCatalog(StubMetric("gated", when_open)))
    async with evaluator.open(evaluation_setup("gated")) as session:
        given_up = asyncio.create_task(session.score(item(sample=0)))
        kept = asyncio.create_task(session.score(item(sample=1)))
        await asyncio.sleep(0)
        given_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await given_up
        gates.open(1)
        assert (await kept).scores[0].outcome == 0.5


async def test_at_the_deadline_no_score_is_a_number(reach: Reach) -> None:
    async def endless(item: EvaluationItem, ledger: Ledger) -> float:
        await asyncio.Event().wait()
        return 0.0

    evaluator = await reach(StubCatalog(StubMetric("endless", endless)))
    deadline = LoopClock().now() + 0.3
    async with evaluator.open(evaluation_setup("endless"), deadline=deadline) as session:
        # Behind a connection the deadline may end the stream before the score's failure arrives.
        try:
            outcome = (await session.score(item())).scores[0].outcome
        except DeadlinePassed as error:
            outcome = error.failure
    assert isinstance(outcome, Failure)
    assert outcome.reason is Reason.DEADLINE_EXCEEDED
