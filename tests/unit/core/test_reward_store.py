"""Kept rewards: what they hold, how long, and what keeping and scoring them anew costs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from foresight_services.core.budget import Budget
from foresight_services.core.cache import CacheKey
from foresight_services.core.errors import InvalidInput, NotFound, NotImplementedHere, Reason
from foresight_services.core.objective import Clamp, MetricSpec, Objective
from foresight_services.core.policies import PolicyRegistry
from foresight_services.core.policy_store import MemoryPolicyStore
from foresight_services.core.ports import ChatRequest
from foresight_services.core.published import PolicySource, SourceKind
from foresight_services.core.request import completed, resolve
from foresight_services.core.result import Reward
from foresight_services.core.reward_store import GroupRecord
from foresight_services.core.task import PolicyRef, Task
from foresight_services.reward.codec import encode_result
from foresight_services.reward.record_codec import ProtoRecordCodec
from tests.fakes.caching import memory_cache
from tests.fakes.chat import Gates
from tests.fakes.kept import Service, Told
from tests.fakes.reward import DrivenSimulator, make_rewards, query
from tests.fakes.virtual_time import LoopClock, settle


class StuckCache:
    """Takes what it is given once its gate is open; implements the port `Cache`."""

    def __init__(self) -> None:
        self.gates = Gates()
        self.stored: dict[CacheKey, bytes] = {}
        self.writes = 0

    async def get_many(self, keys: Sequence[CacheKey]) -> Sequence[bytes | None]:
        """Return what was taken."""
        return [self.stored.get(key) for key in keys]

    async def put_many(self, entries: Mapping[CacheKey, bytes]) -> None:
        """Take it when the gate is open."""
        self.writes += 1
        await self.gates["gate"].wait()
        self.stored.update(entries)


def value(told: Told) -> float:
    (result,) = told.results
    assert isinstance(result.outcome, Reward)
    return result.outcome.estimate.mean


async def test_every_result_is_kept_with_all_that_it_rests_on() -> None:
    service = Service()
    task = Task(goal="the goal", reference="the answer", metadata={"tests": "t"})
    told = await service.ask(
        candidates=("Sure.", "No."), seed=7, task=task, request_id="r", job="run"
    )
    assert len(set(told.ids)) == 2
    await service.store.close()
    for index, reward_id in enumerate(told.ids):
        record = await Service(service.cache).store.get(reward_id)
        request, summary, result = record.group.request, record.group.summary, record.result
        assert (request.task, request.seed, request.job) == (task, 7, "run")
        assert request.candidates[result.index] == ("Sure.", "No.")[index]
        assert (request.horizon_messages, request.samples_max, request.samples_min) == (4, 2, 1)
        assert (summary.profile, summary.profile_version) == ("release", "1")
        assert [(info.name, info.version) for info in summary.metrics] == [("worth", "1")]
        found = next(one for one in told.results if one.index == index)
        assert told.summary is not None
        found = told.summary.standing(found)
        assert (found.behind_best is None) == (index == told.summary.best)
        sent, kept = encode_result(found, include_futures=True), result
        assert encode_result(kept, include_futures=True) == sent
        scored = kept.futures[1].scored
        assert scored.simulated is not None
        assert [message.content for message in scored.simulated.messages] == ["u", "a", "u", "a"]
        assert scored.simulated.policy == PolicyRef("policy", 7)
        assert [said.raw for said in scored.scores[0].verdicts] == ["raw reply"]
        assert {role: model.calls for role, model in scored.usage.models.items()} == {
            "user": 2,
            "policy": 2,
            "judge": 1,
        }


async def test_what_cached_futures_cost_at_first_is_in_the_ledger() -> None:
    service = Service(remembers=True, identity="judges")
    await service.ask()
    again = await service.ask()
    record = await service.store.get(again.ids[0])
    future = record.result.futures[0].scored
    assert future.usage.models == {}
    assert future.cost is not None
    assert {role: model.calls for role, model in future.cost.models.items()} == {
        "user": 2,
        "policy": 2,
        "judge": 1,
    }


async def test_a_failed_candidate_is_kept_too() -> None:
    def answer(request: ChatRequest) -> str:
        raise RuntimeError("the model is down")

    service = Service(answer=answer)
    told = await service.ask()
    record = await service.store.get(told.ids[0])
    assert record.result.status == Reason.TOO_FEW_FUTURES
    assert "reward_id" not in record.result.outcome.metadata  # type: ignore[union-attr]
    assert encode_result(record.result, include_futures=True) == encode_result(
        told.results[0], include_futures=True
    )


@pytest.mark.parametrize("mode", ["bypass", "read_only"])
async def test_who_wants_no_trace_leaves_none(mode: str) -> None:
    service = Service()
    told = await service.ask(cache=mode, request_id="r")
    await service.store.close()
    assert told.ids == [""]
    assert service.cache.size == 0  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "reward_id", ["", "x", "0" * 32, f"{'0' * 32}-0", f"{'0' * 32}-00", f"{'0' * 31}g-0", "é-0"]
)
async def test_what_is_not_kept_is_not_found(reward_id: str) -> None:
    service = Service()
    with pytest.raises(NotFound) as missing:
        await service.store.get(reward_id)
    assert missing.value.reason is Reason.UNKNOWN_REWARD


async def test_rewards_are_forgotten_when_their_time_is_over(clock: LoopClock) -> None:
    service = Service(memory_cache(ttl_seconds=60.0))
    told = await service.ask()
    await settle()
    assert (await service.store.get(told.ids[0])).result.n_ok == 2
    await asyncio.sleep(61)
    with pytest.raises(NotFound):
        await service.store.get(told.ids[0])


async def test_without_a_store_there_is_no_id_and_no_reward() -> None:
    rewards = make_rewards(DrivenSimulator())
    with pytest.raises(NotImplementedHere):
        await rewards.stored("x")


async def test_a_store_that_hangs_delays_no_answer_and_hides_nothing(clock: LoopClock) -> None:
    cache = StuckCache()
    service = Service(kept_in=cache)
    told = await service.ask(request_id="r")
    await settle()
    assert not cache.stored
    # What waits to be written is found all the same.
    assert (await service.store.get(told.ids[0])).result.reward_id == told.ids[0]
    assert (await service.ask(request_id="r")).ids == told.ids
    cache.gates.open("gate")
    await service.store.close()
    assert len(cache.stored) == 3
    assert (await service.store.get(told.ids[0])).result.reward_id == told.ids[0]


async def test_too_much_that_waits_is_dropped_and_counted(clock: LoopClock) -> None:
    cache = StuckCache()
    service = Service(kept_in=cache, most_waiting=4)
    first = await service.ask(candidates=("A.", "B."))
    assert service.dropped == 0
    second = await service.ask(candidates=("C.", "D."))
    assert service.dropped == 4
    cache.gates.open("gate")
    await service.store.close()
    # What the group shares, its two results, and how far one is behind the other.
    assert len(cache.stored) == 4
    for reward_id in first.ids:
        await service.store.get(reward_id)
    for reward_id in second.ids:
        with pytest.raises(NotFound):
            await service.store.get(reward_id)


async def test_what_waits_is_written_together(clock: LoopClock) -> None:
    cache = StuckCache()
    service = Service(kept_in=cache)
    await service.ask(candidates=("A.", "B.", "C."))
    await service.ask(candidates=("D.", "E.", "F."))
    cache.gates.open("gate")
    await service.store.close()
    assert (len(cache.stored), cache.writes <= 2) == (10, True)


async def test_other_weights_for_kept_futures_cost_nothing() -> None:
    service = Service(remembers=True, identity="judges")
    told = await service.ask()
    before = service.calls
    anew = await service.rescore(told.ids[0], objective=Objective("", (MetricSpec("worth", 3.0),)))
    assert service.calls == before
    assert (value(told), value(anew)) == (0.5, 1.5)
    assert anew.summary is not None
    assert (anew.summary.cache.futures.found, anew.summary.cache.scores.found) == (2, 2)
    assert anew.ids != told.ids
    assert (await service.store.get(anew.ids[0])).group.request.objective.metrics[0].weight == 3.0


async def test_another_metric_for_kept_futures_is_all_that_is_asked() -> None:
    service = Service(remembers=True, identity="judges")
    told = await service.ask()
    before = service.calls
    both = (MetricSpec("worth"), MetricSpec("other", 2.0))
    anew = await service.rescore(told.ids[0], objective=Objective("", both))
    assert (service.calls[:2], service.worth.asked, service.other.asked) == (before[:2], 1, 1)
    assert value(anew) == 1.0


async def test_without_cached_scores_the_judge_is_asked_and_nobody_else() -> None:
    service = Service()
    told = await service.ask()
    await service.rescore(told.ids[0])
    assert (len(service.user.requests), service.worth.asked) == (4, 4)


async def test_an_objective_is_filled_in_from_the_kept_one() -> None:
    service = Service()
    kept = Objective("custom", (MetricSpec("worth", clamp=Clamp(0.0, 0.25)),))
    told = await service.ask(objective=kept)
    assert value(told) == 0.25
    assert value(await service.rescore(told.ids[0])) == 0.25
    profile = Objective("custom", (MetricSpec("worth"),))
    assert value(await service.rescore(told.ids[0], objective=profile)) == 0.5


async def test_one_candidate_of_several_is_scored_anew() -> None:
    service = Service()
    told = await service.ask(candidates=("Sure.", "No.", "Why?"))
    anew = await service.rescore(told.ids[2])
    assert [result.index for result in anew.results] == [0]
    assert (await service.store.get(anew.ids[0])).group.request.candidates == ("Why?",)


async def test_a_future_that_failed_stays_failed() -> None:
    seeds: list[int] = []

    def answer(request: ChatRequest) -> str:
        seeds.append(request.seed)
        if request.seed == seeds[0]:
            raise RuntimeError("the model is down")
        return "u"

    service = Service(answer=answer)
    told = await service.ask(samples_min=1)
    assert told.results[0].n_ok == 1
    anew = await service.rescore(told.ids[0])
    assert (anew.results[0].n_ok, anew.results[0].status) == (1, "partial")


async def test_a_policy_that_was_replaced_does_not_keep_its_futures_from_being_scored() -> None:
    policies = PolicyRegistry(store=MemoryPolicyStore(), now_ns=lambda: 0)
    service = Service(policies=policies)
    source = PolicySource(SourceKind.TRL_SERVER, "http://one")
    await policies.publish(PolicyRef("policy", 1), source)
    told = await service.ask(policy=PolicyRef("policy", 1))
    await policies.publish(PolicyRef("policy", 2), source)
    anew = await service.rescore(told.ids[0])
    scored = anew.results[0].futures[0].scored
    assert scored.simulated is not None
    assert scored.simulated.policy == PolicyRef("policy", 1)


async def test_an_objective_that_is_wrong_is_refused_by_field() -> None:
    service = Service()
    told = await service.ask()
    with pytest.raises(InvalidInput) as refused:
        await service.rescore(told.ids[0], objective=Objective("", (MetricSpec("nothing"),)))
    assert [v.field for v in refused.value.violations] == ["objective.metrics[0].name"]


async def test_what_is_not_kept_cannot_be_scored() -> None:
    service = Service()
    with pytest.raises(NotFound):
        await service.rescore(f"{'0' * 32}-0")


@pytest.mark.parametrize("stored", [b"", b"\xff\xff\xff", b"x" * 60])
def test_bytes_that_are_none_of_ours_are_nothing(stored: bytes) -> None:
    codec = ProtoRecordCodec()
    assert codec.decode_group(stored) is None
    assert codec.decode_result(stored) is None
    assert codec.decode_answer(stored) is None


SPECS: dict[str, dict[str, Any]] = {
    "plain": {},
    "simulation": {
        "seed": 2**64 - 1,
        "policy": PolicyRef("guesser", 3),
        "personas": ("calm", "brief"),
        "system_prompt_share": 0.29,
        "proactive_share": 1 / 3,
        "samples_max": 100,
    },
    "costs": {"budget": Budget(10, 0.5), "job": "run", "cache": "refresh", "request_id": "r"},
    "objective": {
        "objective": Objective(
            "custom",
            (
                MetricSpec(
                    "a", -2.5, "answer", {"x": [1.0, None, "y"]}, "b", True, Clamp(None, 1.0)
                ),
            ),
            Clamp(-1.0),
        )
    },
}


@pytest.mark.parametrize("name", SPECS)
async def test_a_kept_request_resolves_to_what_was_served(name: str) -> None:
    asked = query(**SPECS[name])
    served = resolve(asked, {})
    record = completed(asked, served)
    told = await Service().ask()
    codec = ProtoRecordCodec()
    assert told.summary is not None
    kept = codec.decode_group(codec.encode_group(GroupRecord(record, told.summary)))
    assert kept is not None
    assert kept.request == record
    assert resolve(kept.request, {}) == served
