"""Whole answers: found again by the same request, and by no other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import fields, replace
from typing import Any

import pytest
import pytest_asyncio

from foresight.v1 import reward_service_pb2 as pb
from foresight_services.core.allocation import SamplePlan
from foresight_services.core.baseline import BaselinePlan
from foresight_services.core.budget import Budget
from foresight_services.core.cache_use import CacheMode, CacheUse, Origin, Origins
from foresight_services.core.conversation import Message
from foresight_services.core.errors import DeadlinePassed, InvalidInput, Reason, Upstream
from foresight_services.core.idempotency import Played
from foresight_services.core.kept_answers import STANDING_SECONDS, answer_key, identities_of
from foresight_services.core.objective import Clamp, MetricSpec, Objective
from foresight_services.core.policies import PolicyRegistry
from foresight_services.core.policy_store import MemoryPolicyStore
from foresight_services.core.ports import ChatRequest
from foresight_services.core.published import PolicySource, PublishedPolicy, SourceKind
from foresight_services.core.request import RewardRequest, resolve
from foresight_services.core.task import PolicyRef, Task
from tests.fakes.caching import seeded
from tests.fakes.kept import Service
from tests.fakes.reward import query
from tests.fakes.virtual_time import virtual_time

ONE = (4, 4, 2)
"""Calls of user, policy and judge for two futures of four messages."""

REQUEST = resolve(query(), {})
PLAYED = Played(PolicyRef("policy", 3), None)

OTHERS: dict[str, Any] = {
    "task": Task(goal="another goal"),
    "prefix": (Message("user", "Hello?"),),
    "candidates": ("Sure!",),
    "objective": Objective("release", (MetricSpec("worth", weight=2.0),)),
    "horizon_messages": 5,
    "samples_min": 2,
    "samples_max": 3,
    "plan": SamplePlan(most=2, aim="best"),
    "seed": 1,
    "max_message_tokens": 7,
    "system_prompt_samples": 1,
    "proactive_samples": 1,
    "personas": ("busy",),
    "baseline": BaselinePlan(2),
}
"""Another value of every field that is part of a key."""

BESIDE: dict[str, Any] = {
    "policy": PolicyRef("policy", 9),
    "budget": Budget(max_tokens=9),
    "job": "job-1",
    "cache": CacheMode.REFRESH,
}
"""Another value of every field that is not."""


def key(request: RewardRequest = REQUEST, **other: Any) -> Any:
    given = {"played": PLAYED, "fingerprint": "f", "identities": ("a", "b"), **other}
    return answer_key(request, **given)


def test_every_field_of_a_request_is_in_its_key_or_is_known_not_to_matter() -> None:
    assert {field.name for field in fields(RewardRequest)} == {*OTHERS, *BESIDE}
    assert not {*OTHERS} & {*BESIDE}


@pytest.mark.parametrize("name", OTHERS)
def test_another_request_has_another_key(name: str) -> None:
    assert key(replace(REQUEST, **{name: OTHERS[name]})) != key()


@pytest.mark.parametrize("name", BESIDE)
def test_what_does_not_change_the_answer_does_not_change_the_key(name: str) -> None:
    assert key(replace(REQUEST, **{name: BESIDE[name]})) == key()


@pytest.mark.parametrize(
    "other",
    [
        {"played": Played(PolicyRef("policy", 4), None)},
        {"fingerprint": "g"},
        {"identities": ("b", "a")},
        {"identities": ("a", "c")},
    ],
    ids=str,
)
def test_what_answers_is_part_of_the_key(other: dict[str, Any]) -> None:
    assert key(**other) != key()


def test_a_version_that_was_published_again_has_another_key() -> None:
    source = PolicySource(SourceKind.LORA_ADAPTER_PATH, "/weights")
    keys = {
        key(played=Played(PLAYED.ref, PublishedPolicy(PLAYED.ref, source, at))) for at in (1, 2)
    }
    assert len(keys | {key()}) == 3


def test_a_weight_within_the_objective_is_part_of_the_key() -> None:
    changed = [
        replace(REQUEST, objective=Objective("custom", (spec,)))
        for spec in (
            MetricSpec("worth"),
            MetricSpec("worth", normalise=True),
            MetricSpec("worth", clamp=Clamp(0.0, 1.0)),
            MetricSpec("worth", parameters={"votes": 3.0}),
        )
    ]
    assert len({key(one) for one in changed}) == 4


@pytest.mark.parametrize("other", [{"fingerprint": ""}, {"identities": ("a", "")}], ids=str)
def test_what_does_not_tell_what_determines_it_has_no_key(other: dict[str, Any]) -> None:
    assert key(**other) is None


@pytest_asyncio.fixture
async def service() -> AsyncIterator[Service]:
    made = Service(remembers=True, identity="x", answer=seeded)
    yield made
    await made.store.close()


def form(kept: Any) -> pb.ComputeRewardsResponse:
    assert isinstance(kept.form, pb.ComputeRewardsResponse)
    return kept.form


async def test_the_same_again_is_one_answer_that_costs_nothing(service: Service) -> None:
    candidates = ("Sure.", "No.")
    first = await service.ask(texts=False, candidates=candidates)
    again = await service.ask(texts=False, candidates=candidates)
    assert first.kept is None and again.kept is not None
    assert len(again.events) == 1
    assert service.calls == (8, 8, 4)
    assert again.kept.use == CacheUse(Origins(found=4), Origins(found=4))
    results = {one.index: one for one in first.results}
    for result in form(again.kept).results:
        before = results[result.candidate_index]
        assert result.reward.reward_id == before.reward_id
        assert result.reward.value == before.outcome.estimate.mean  # type: ignore[union-attr]
        assert not result.usage.models
        for future, then in zip(result.futures, before.futures, strict=True):
            assert future.origin == pb.ORIGIN_FOUND
            assert not future.usage.models and not future.messages and not future.goal
            assert future.cost.messages == then.scored.usage.messages == 4
    assert service.telemetry.cache["future", Origin.FOUND] == 4
    assert service.telemetry.cache["score", Origin.FOUND] == 4
    assert [status for status, _ in service.telemetry.rewards] == ["complete"] * 4


async def test_whoever_wants_texts_gets_them(service: Service) -> None:
    await service.ask(texts=False)
    again = await service.ask()
    assert again.kept is None
    assert [f.scored.simulated for f in again.results[0].futures if f.scored.simulated] != []
    assert service.calls == ONE


async def test_another_replica_finds_it(service: Service) -> None:
    await service.ask(texts=False)
    await service.store.close()
    there = Service(service.cache, remembers=True, identity="x", answer=seeded)
    assert (await there.ask(texts=False)).kept is not None
    assert there.calls == (0, 0, 0)


@pytest.mark.parametrize("mode", ["refresh", "bypass"])
async def test_who_wants_no_old_answer_gets_none(service: Service, mode: str) -> None:
    await service.ask(texts=False)
    assert (await service.ask(texts=False, cache=mode)).kept is None
    assert service.calls == tuple(2 * calls for calls in ONE)


async def test_read_only_takes_an_answer_and_leaves_none(service: Service) -> None:
    for _ in range(2):
        assert (await service.ask(texts=False, cache="read_only")).kept is None
    await service.ask(texts=False)
    assert (await service.ask(texts=False, cache="read_only")).kept is not None


async def test_a_refreshed_answer_takes_the_place_of_the_old_one(service: Service) -> None:
    old = await service.ask(texts=False)
    new = await service.ask(texts=False, cache="refresh")
    again = await service.ask(texts=False)
    assert old.ids != new.ids
    assert [one.reward.reward_id for one in form(again.kept).results] == new.ids


async def test_a_published_version_is_another_answer() -> None:
    registry = PolicyRegistry(store=MemoryPolicyStore(), now_ns=lambda: 0)
    service = Service(remembers=True, identity="x", policies=registry)
    for version in (1, 2):
        source = PolicySource(SourceKind.LORA_ADAPTER_PATH, f"/weights/{version}")
        await registry.publish(PolicyRef("policy", version), source)
        assert (await service.ask(texts=False)).kept is None
        assert (await service.ask(texts=False)).kept is not None
    # The older one can still be asked for.
    assert (await service.ask(texts=False, policy=PolicyRef("policy", 1))).kept is not None


async def test_other_judges_give_another_answer_from_the_same_futures(service: Service) -> None:
    await service.ask(texts=False)
    await service.store.close()
    other = Service(service.cache, remembers=True, identity="y", answer=seeded)
    assert (await other.ask(texts=False)).kept is None
    assert other.calls == (0, 0, 2)


async def test_metrics_that_tell_nothing_of_themselves_are_not_kept() -> None:
    service = Service(remembers=True)
    for _ in range(2):
        assert (await service.ask(texts=False)).kept is None


async def test_a_simulator_that_was_replaced_on_the_way_leaves_nothing_under_a_wrong_key() -> None:
    told = iter(["old", *["new"] * 100])
    service = Service(remembers=True, identity="x", fingerprint=lambda policy: next(told))
    with virtual_time():
        assert (await service.ask(texts=False)).kept is None
        # What the first one was asked under the old fingerprint was simulated under the new one.
        await asyncio.sleep(2 * STANDING_SECONDS)
        again = await service.ask(texts=False)
        assert again.kept is not None
        await asyncio.sleep(2 * STANDING_SECONDS)
        told = iter(["old"] * 100)
        assert (await service.ask(texts=False)).kept is None


async def test_what_a_simulator_says_of_itself_is_believed_for_a_while() -> None:
    asked = 0

    def fingerprint(policy: PolicyRef) -> str:
        nonlocal asked
        asked += 1
        return "fake"

    service = Service(remembers=True, identity="x", fingerprint=fingerprint)
    with virtual_time():
        await service.ask(texts=False)
        before = asked
        for _ in range(10):
            assert (await service.ask(texts=False)).kept is not None
        assert asked == before
        await asyncio.sleep(2 * STANDING_SECONDS)
        assert (await service.ask(texts=False)).kept is not None
        assert asked == before + 1


async def test_a_partial_answer_is_not_kept() -> None:
    failures = iter(["once"])

    def fail_once(request: ChatRequest) -> str:
        if next(failures, None):
            raise Upstream(Reason.MODEL_FAILED, "down", metadata={"role": "user"})
        return "u"

    service = Service(remembers=True, identity="x", answer=fail_once)
    first = await service.ask(texts=False, samples_min=1)
    assert first.results[0].n_ok == 1
    again = await service.ask(texts=False, samples_min=1)
    assert again.kept is None and again.results[0].n_ok == 2
    assert (await service.ask(texts=False, samples_min=1)).kept is not None


async def test_a_future_without_context_is_not_kept() -> None:
    def full(request: ChatRequest) -> str:
        raise Upstream(Reason.CONTEXT_EXHAUSTED, "full", metadata={"role": "user"})

    service = Service(remembers=True, identity="x", answer=full)
    for _ in range(2):
        told = await service.ask(texts=False)
        assert told.kept is None and told.results[0].n_ok == 2


async def test_an_answer_that_cannot_be_read_is_computed(service: Service) -> None:
    await service.ask(texts=False)
    await service.store.close()
    found = answer_key(
        REQUEST,
        Played(PolicyRef("policy"), None),
        "fake",
        identities_of((service.worth.metric.info,)),
    )
    assert found is not None
    assert await service.store.whole(found) is not None
    await service.cache.put_many({found: b"\xff\xff"})
    assert (await service.ask(texts=False)).kept is None
    assert service.calls == ONE


async def test_a_search_that_fails_is_told_by_the_computation() -> None:
    def broken(policy: PolicyRef) -> str:
        raise DeadlinePassed()

    service = Service(remembers=True, identity="x", fingerprint=broken)
    told = await service.ask(texts=False)
    assert told.kept is None
    assert told.results[0].status == Reason.DEADLINE_EXCEEDED


async def test_an_id_that_was_answered_so_means_that_request(service: Service) -> None:
    await service.ask(texts=False)
    for _ in range(2):
        assert (await service.ask(texts=False, request_id="r")).kept is not None
    with pytest.raises(InvalidInput) as refused:
        await service.ask(texts=False, request_id="r", seed=5)
    assert [one.field for one in refused.value.violations] == ["request_id"]
    assert (await service.ask(texts=False, request_id="other")).kept is not None
