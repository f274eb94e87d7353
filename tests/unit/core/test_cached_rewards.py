"""What asking again costs, in calls of models."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest

from foresight_services.core.cache_use import CacheUse, Origin, Origins
from foresight_services.core.errors import InvalidInput, Reason, Upstream
from foresight_services.core.future import EvaluationItem
from foresight_services.core.objective import MetricSpec
from foresight_services.core.policies import PolicyRegistry
from foresight_services.core.policy_store import MemoryPolicyStore
from foresight_services.core.ports import ChatRequest
from foresight_services.core.published import PolicySource, SourceKind
from foresight_services.core.result import CandidateResult, GroupSummary, Reward
from foresight_services.core.task import PolicyRef
from foresight_services.core.usage import Ledger, ModelUsage
from tests.fakes.caching import Replica, identified, memory_cache, replica
from tests.fakes.chat import ScriptedChat
from tests.fakes.reward import query
from tests.fakes.virtual_time import LoopClock


class Judge:
    """Counts what it is asked; an answer depends on the conversation alone."""

    def __init__(self, name: str = "worth", identity: str = "", value: float = 0.5) -> None:
        self.asked = 0
        self.metric = identified(name, self._score)
        if identity:
            self.metric.info = replace(self.metric.info, identity=identity)
        self._value = value

    def _score(self, item: EvaluationItem, ledger: Ledger) -> float:
        self.asked += 1
        ledger.record("judge", ModelUsage(1, 10, 1))
        return self._value


def user_calls(one: Replica) -> int:
    assert isinstance(one.user, ScriptedChat)
    return len(one.user.requests)


async def ask(one: Replica, **fields: Any) -> tuple[list[CandidateResult], GroupSummary]:
    results, summary = [], None
    async for event in one.rewards.compute(query(**fields)):
        match event:
            case CandidateResult():
                results.append(event)
            case GroupSummary():
                summary = event
    assert summary is not None
    return results, summary


CALLS_PER_FUTURE = 2
"""A horizon of 4 messages has two turns of the user."""


async def test_the_same_request_again_makes_no_calls(clock: LoopClock) -> None:
    judge = Judge()
    one = replica(memory_cache(), judge.metric)
    first, cold = await ask(one, candidates=("a", "b"), samples_max=3)
    assert (user_calls(one), judge.asked) == (6 * CALLS_PER_FUTURE, 6)
    second, warm = await ask(one, candidates=("a", "b"), samples_max=3)
    assert (user_calls(one), judge.asked) == (6 * CALLS_PER_FUTURE, 6)
    assert cold.cache == CacheUse(Origins(computed=6), Origins(computed=6))
    assert warm.cache == CacheUse(Origins(found=6), Origins(found=6))
    by_index = {result.index: result for result in first}
    for result in second:
        cause = by_index[result.index]
        assert result.outcome == cause.outcome
        assert not result.usage.models
        assert result.usage.messages == 0
        for now, then in zip(result.futures, cause.futures, strict=True):
            assert now.scored.simulated == then.scored.simulated
            assert now.scored.scores == then.scored.scores
            # What it cost is remembered, and charged to nobody.
            assert now.scored.cost is not None
            assert now.scored.cost.models == then.scored.usage.models
            assert then.scored.cost is None
    assert one.telemetry.cache == {
        (kind, origin): 6
        for kind, origin in itertools.product(("future", "score"), ("computed", "found"))
    }


async def test_more_samples_simulate_the_new_ones_alone(clock: LoopClock) -> None:
    judge = Judge()
    one = replica(memory_cache(), judge.metric)
    await ask(one, samples_max=3)
    before = user_calls(one), judge.asked
    _, summary = await ask(one, samples_max=5)
    assert user_calls(one) - before[0] == 2 * CALLS_PER_FUTURE
    assert judge.asked - before[1] == 2
    assert summary.cache.futures == Origins(computed=2, found=3)
    _, summary = await ask(one, samples_max=4)
    assert summary.cache.futures == Origins(found=4)


async def test_an_added_candidate_costs_its_own_futures_alone(clock: LoopClock) -> None:
    judge = Judge()
    one = replica(memory_cache(), judge.metric)
    await ask(one, candidates=("a",))
    _, summary = await ask(one, candidates=("b", "a"))
    assert summary.cache == CacheUse(Origins(2, 2), Origins(2, 2))


async def test_candidates_that_say_the_same_are_simulated_once(clock: LoopClock) -> None:
    judge = Judge()
    one = replica(memory_cache(), judge.metric)
    results, summary = await ask(one, candidates=("a", "a"))
    assert user_calls(one) == 2 * CALLS_PER_FUTURE
    assert summary.cache.futures == Origins(computed=2, shared=2)
    assert results[0].outcome == results[1].outcome


async def test_new_weights_labels_and_profiles_cost_nothing(clock: LoopClock) -> None:
    judge = Judge()
    one = replica(memory_cache(), judge.metric)
    (first,), _ = await ask(one)
    before = user_calls(one), judge.asked
    (second,), summary = await ask(one, metrics=(MetricSpec("worth", 3.0),))
    assert (user_calls(one), judge.asked) == before
    assert isinstance(first.outcome, Reward)
    assert isinstance(second.outcome, Reward)
    assert second.outcome.estimate.mean == 3 * first.outcome.estimate.mean
    assert summary.cache == CacheUse(Origins(found=2), Origins(found=2))


async def test_an_added_metric_costs_its_own_scores_alone(clock: LoopClock) -> None:
    old, new = Judge(), Judge("other")
    one = replica(memory_cache(), old.metric, new.metric)
    await ask(one)
    before = user_calls(one)
    both = (MetricSpec("other"), MetricSpec("worth"))
    (result,), summary = await ask(one, metrics=both)
    assert (user_calls(one), old.asked, new.asked) == (before, 2, 2)
    assert summary.cache == CacheUse(Origins(found=2), Origins(computed=2, found=2))
    assert [metric.name for metric in result.metrics] == ["other", "worth"]


async def test_another_judge_costs_its_scores_alone(clock: LoopClock) -> None:
    store = memory_cache()
    old, new = Judge(value=0.25), Judge(identity="another judge", value=0.75)
    await ask(replica(store, old.metric))
    after = replica(store, new.metric)
    (result,), summary = await ask(after)
    assert user_calls(after) == 0
    assert new.asked == 2
    assert summary.cache == CacheUse(Origins(found=2), Origins(computed=2))
    assert isinstance(result.outcome, Reward)
    assert result.outcome.estimate.mean == 0.75


@pytest.mark.parametrize("fingerprint", ["other", ""])
async def test_another_simulator_simulates_everything(fingerprint: str, clock: LoopClock) -> None:
    store, judge = memory_cache(), Judge()
    await ask(replica(store, judge.metric))
    after = replica(store, judge.metric, fingerprint=fingerprint)
    for _ in range(2):
        await ask(after)
    # One that cannot say what it is simulates every time.
    times = 1 if fingerprint else 2
    assert user_calls(after) == times * 2 * CALLS_PER_FUTURE
    # They said the same, so it was judged once.
    assert judge.asked == 2


async def test_a_new_policy_version_simulates_everything(clock: LoopClock) -> None:
    registry = PolicyRegistry(store=MemoryPolicyStore(), now_ns=itertools.count().__next__)
    calls: list[ChatRequest] = []

    def user(request: ChatRequest) -> str:
        calls.append(request)
        return f"u{len(calls)}"

    judge = Judge()
    one = replica(memory_cache(), judge.metric, answer=user, policies=registry)
    source = PolicySource(SourceKind.LORA_ADAPTER_PATH, "/weights/1")
    await registry.publish(PolicyRef("policy", 1), source)
    await ask(one)
    # The version that is asked for, and the newest one that has the same number, are one.
    _, same = await ask(one, policy=PolicyRef("policy", 1))
    assert same.cache.futures == Origins(found=2)
    source = PolicySource(SourceKind.LORA_ADAPTER_PATH, "/weights/2")
    await registry.publish(PolicyRef("policy", 2), source)
    (result,), summary = await ask(one)
    assert summary.cache == CacheUse(Origins(computed=2), Origins(computed=2))
    versions = {future.scored.simulated.policy.version for future in result.futures}  # type: ignore[union-attr]
    assert versions == {2}
    _, old = await ask(one, policy=PolicyRef("policy", 1))
    assert old.cache.futures == Origins(found=2)


async def test_what_failed_is_never_stored(clock: LoopClock) -> None:
    working = False

    def user(request: ChatRequest) -> str:
        if not working and request.seed % 2:
            raise Upstream(Reason.MODEL_FAILED, "down", metadata={"role": "user"})
        return "u"

    judge = Judge()
    one = replica(memory_cache(), judge.metric, answer=user)
    (first,), _ = await ask(one, samples_max=8)
    failed = 8 - first.n_ok
    assert 0 < failed < 8
    working = True
    (second,), summary = await ask(one, samples_max=8)
    assert second.n_ok == 8
    assert summary.cache.futures == Origins(computed=failed, found=8 - failed)


async def test_what_ends_because_no_context_is_left_is_never_stored(clock: LoopClock) -> None:
    def user(request: ChatRequest) -> str:
        raise Upstream(Reason.CONTEXT_EXHAUSTED, "full", metadata={"role": "user"})

    judge = Judge()
    one = replica(memory_cache(), judge.metric, answer=user)
    for _ in range(2):
        _, summary = await ask(one)
        assert summary.cache.futures == Origins(computed=2)


async def test_a_score_that_failed_is_never_stored(clock: LoopClock) -> None:
    working = False

    def score(item: EvaluationItem, ledger: Ledger) -> float:
        if not working:
            raise Upstream(Reason.METRIC_FAILED, "no verdict", metadata={"metric": "worth"})
        return 1.0

    one = replica(memory_cache(), identified("worth", score), Judge("other").metric)
    both = (MetricSpec("worth"), MetricSpec("other"))
    (first,), _ = await ask(one, metrics=both)
    assert first.n_ok == 0
    working = True
    (second,), summary = await ask(one, metrics=both)
    assert second.n_ok == 2
    assert summary.cache == CacheUse(Origins(found=2), Origins(computed=2, found=2))


async def test_metrics_that_do_not_say_what_they_are_are_scored_every_time(
    clock: LoopClock,
) -> None:
    known, unknown = Judge(), Judge("other")
    unknown.metric.info = replace(unknown.metric.info, identity="")
    one = replica(memory_cache(), known.metric, unknown.metric)
    for _ in range(2):
        _, summary = await ask(one, metrics=(MetricSpec("other"), MetricSpec("worth")))
    assert (known.asked, unknown.asked) == (2, 4)
    assert summary.cache.scores == Origins(computed=2, found=2)


async def test_one_metric_under_two_labels_is_scored_once(clock: LoopClock) -> None:
    judge = Judge()
    one = replica(memory_cache(), judge.metric)
    twice = (MetricSpec("worth"), MetricSpec("worth", -1.0, label="less"))
    (result,), summary = await ask(one, metrics=twice)
    assert judge.asked == 2
    assert summary.cache.scores == Origins(computed=2, shared=2)
    assert [metric.name for metric in result.metrics] == ["worth", "less"]


MODES = {
    # Calls for futures and scores when everything is there; and afterwards by default, when not.
    "default": (Origins(found=2), Origins(found=2)),
    "bypass": (Origins(computed=2), Origins(computed=2)),
    "read_only": (Origins(found=2), Origins(computed=2)),
    "refresh": (Origins(computed=2), Origins(found=2)),
}


@pytest.mark.parametrize("mode", MODES)
async def test_a_request_says_how_it_uses_the_cache(mode: str, clock: LoopClock) -> None:
    when_there, default_after = MODES[mode]
    judge = Judge()
    one = replica(memory_cache(), judge.metric)
    await ask(one)
    _, summary = await ask(one, cache=mode)
    assert summary.cache == CacheUse(when_there, when_there)
    empty = replica(memory_cache(), judge.metric)
    _, summary = await ask(empty, cache=mode)
    assert summary.cache == CacheUse(Origins(computed=2), Origins(computed=2))
    _, summary = await ask(empty)
    assert summary.cache == CacheUse(default_after, default_after)


async def test_refresh_replaces_what_is_there(clock: LoopClock) -> None:
    said = "old"
    judge = Judge()
    one = replica(memory_cache(), judge.metric, answer=lambda request: said)
    await ask(one)
    said = "new"
    for mode in ("refresh", "default"):
        (result,), _ = await ask(one, cache=mode)
        for future in result.futures:
            assert future.scored.simulated is not None
            assert future.scored.simulated.messages[0].content == "new"


async def test_a_mode_that_there_is_not_is_refused(clock: LoopClock) -> None:
    one = replica(memory_cache(), Judge().metric)
    with pytest.raises(InvalidInput, match="cache: .*read_only"):
        await ask(one, cache="readonly")


async def test_what_is_stored_and_is_no_future_is_a_miss(clock: LoopClock) -> None:
    store, judge = memory_cache(), Judge()
    one = replica(store, judge.metric)
    await ask(one)
    keys = [key for key in store._entries if key.namespace == "future"]
    await store.put_many(dict.fromkeys(keys, b"\xff\x00garbage"))
    _, summary = await ask(one)
    assert summary.cache.futures == Origins(computed=2)
    _, summary = await ask(one)
    assert summary.cache.futures == Origins(found=2)


async def test_a_group_is_read_in_one_round_trip(clock: LoopClock) -> None:
    store, judge = memory_cache(), Judge()
    one = replica(store, judge.metric, Judge("other").metric)
    metrics = (MetricSpec("worth"), MetricSpec("other"))
    await ask(one, candidates=("a", "b", "c"), samples_max=4, metrics=metrics)
    reads: list[tuple[str, int]] = []
    read = store.get_many

    async def counted(keys: Any) -> Any:
        reads.append((keys[0].namespace, len(keys)))
        return await read(keys)

    store.get_many = counted  # type: ignore[method-assign]
    _, summary = await ask(one, candidates=("a", "b", "c"), samples_max=4, metrics=metrics)
    assert summary.cache.scores == Origins(found=24)
    assert reads == [("future", 12), ("score", 24)]


async def test_a_simulator_that_changes_meanwhile_stores_nothing_under_the_old_key(
    clock: LoopClock,
) -> None:
    fingerprints = itertools.chain(["old"], itertools.repeat("new"))
    judge = Judge()
    store = memory_cache()
    one = replica(store, judge.metric, fingerprint=lambda policy: next(fingerprints))
    await ask(one)
    assert not [key for key in store._entries if key.namespace == "future"]
    await ask(one)
    assert len([key for key in store._entries if key.namespace == "future"]) == 2


def test_origins_are_counted() -> None:
    mixed = (Origin.FOUND, Origin.SHARED, Origin.FOUND, Origin.COMPUTED)
    assert Origins.of(mixed) == Origins(computed=1, found=2, shared=1)
    assert Origins.of(()) == Origins()
