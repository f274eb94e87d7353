"""A request that is asked for again: attached to while it runs, answered from the store after."""

from __future__ import annotations

import asyncio
import gc
from dataclasses import replace
from typing import Any

import pytest

from foresight_services.core.errors import InvalidInput, Reason
from foresight_services.core.idempotency import Played, Run, name_of
from foresight_services.core.objective import MetricSpec
from foresight_services.core.policies import PolicyRegistry
from foresight_services.core.policy_store import MemoryPolicyStore
from foresight_services.core.ports import ChatRequest
from foresight_services.core.published import PolicySource, SourceKind
from foresight_services.core.request import RewardRequest, resolve
from foresight_services.core.task import PolicyRef
from foresight_services.reward.codec import encode_result, encode_summary
from tests.fakes.chat import Gates
from tests.fakes.kept import Service
from tests.fakes.reward import query
from tests.fakes.virtual_time import LoopClock, settle

ONE = (4, 4, 2)
"""Calls of user, policy and judge for two futures of four messages."""


def at(gates: Gates) -> Any:
    """Return what a user says who waits at one gate in every turn."""
    return lambda _: gates.say("u", after="gate")


async def test_a_stored_answer_is_given_again_as_it_was_and_costs_nothing() -> None:
    service = Service()
    first = await service.ask(request_id="r", candidates=("Sure.", "No."))
    assert service.calls == (8, 8, 4)
    again = await service.ask(request_id="r", candidates=("Sure.", "No."))
    assert service.calls == (8, 8, 4)
    assert again.ids == first.ids
    assert first.summary is not None and again.summary is not None
    # How far one is behind the other is known at the end of the first answer only.
    sent = [
        [
            encode_result(answer.summary.standing(one), include_futures=True)
            for one in answer.results
        ]
        for answer in (first, again)
        if answer.summary is not None
    ]
    assert sent[0] == sent[1]
    assert all(one.behind_best is None for one in first.results)
    assert encode_summary("r", first.summary) == encode_summary("r", again.summary)


async def test_a_stored_answer_is_found_by_another_replica() -> None:
    here = Service()
    first = await here.ask(request_id="r")
    await here.store.close()
    there = Service(here.cache)
    again = await there.ask(request_id="r")
    assert again.ids == first.ids
    assert there.calls == (0, 0, 0)


async def test_a_retry_attaches_to_the_running_request(clock: LoopClock) -> None:
    gates = Gates()
    service = Service(answer=at(gates))
    asked = [asyncio.create_task(service.ask(request_id="r")) for _ in range(5)]
    await settle()
    gates.open("gate")
    answers = await asyncio.gather(*asked)
    assert service.calls == ONE
    assert {tuple(answer.ids) for answer in answers} == {tuple(answers[0].ids)}
    assert all(answer.results == answers[0].results for answer in answers)


async def test_one_who_comes_late_is_told_all(clock: LoopClock) -> None:
    gates = Gates()
    seeds: list[int] = []

    def answer(request: ChatRequest) -> Any:
        seeds.append(request.seed)
        return "u" if request.seed == seeds[0] else gates.say("u", after="gate")

    service = Service(answer=answer)
    early = asyncio.create_task(service.ask(request_id="r", horizon_messages=1))
    await settle()
    assert service.worth.asked == 1
    late = asyncio.create_task(service.ask(request_id="r", horizon_messages=1))
    await settle()
    gates.open("gate")
    assert len((await late).events) == len((await early).events) == 4
    assert service.calls == (2, 0, 2)


async def test_without_an_id_equal_requests_share_their_work_while_it_runs(
    clock: LoopClock,
) -> None:
    gates = Gates()
    service = Service(answer=at(gates))
    asked = [asyncio.create_task(service.ask(job="run")) for _ in range(3)]
    await settle()
    gates.open("gate")
    answers = await asyncio.gather(*asked)
    assert service.calls == ONE
    counts = [answer.summary.cache.futures for answer in answers if answer.summary]
    assert sorted((one.computed, one.shared) for one in counts) == [(0, 2), (0, 2), (2, 0)]
    # What one of them paid, the others did not; the operator is told once.
    calls = [sum(m.calls for m in answer.results[0].usage.models.values()) for answer in answers]
    assert sorted(calls) == [0, 0, 10]
    assert len({tuple(answer.ids) for answer in answers}) == 3


async def test_without_an_id_a_finished_request_is_computed_as_things_are_now() -> None:
    service = Service()
    await service.ask()
    await service.ask()
    assert service.calls == tuple(2 * calls for calls in ONE)


@pytest.mark.parametrize("mode", ["bypass", "read_only", "refresh"])
async def test_without_an_id_who_wants_no_cache_shares_nothing(clock: LoopClock, mode: str) -> None:
    gates = Gates()
    service = Service(answer=at(gates))
    asked = [asyncio.create_task(service.ask(cache=mode)) for _ in range(2)]
    await settle()
    gates.open("gate")
    await asyncio.gather(*asked)
    assert service.calls == tuple(2 * calls for calls in ONE)


async def test_whoever_asks_after_a_version_was_published_is_not_attached_to_an_older_one(
    clock: LoopClock,
) -> None:
    gates = Gates()
    policies = PolicyRegistry(store=MemoryPolicyStore(), now_ns=lambda: 0)
    service = Service(answer=at(gates), policies=policies)
    source = PolicySource(SourceKind.ENDPOINT, "http://one/v1")
    await policies.publish(PolicyRef("policy", 1), source)
    old = asyncio.create_task(service.ask())
    await settle()
    other = PolicySource(SourceKind.ENDPOINT, "http://two/v1")
    await policies.publish(PolicyRef("policy", 2), other)
    new = asyncio.create_task(service.ask())
    await settle()
    gates.open("gate")
    versions = [
        {f.scored.simulated.policy.version for f in answer.results[0].futures if f.scored.simulated}
        for answer in (await old, await new)
    ]
    assert versions == [{1}, {2}]


@pytest.mark.parametrize("running", [True, False], ids=["running", "stored"])
async def test_another_content_under_the_same_id_is_refused(
    clock: LoopClock, running: bool
) -> None:
    gates = Gates()
    service = Service(answer=at(gates))
    first = asyncio.create_task(service.ask(request_id="r"))
    await settle()
    if not running:
        gates.open("gate")
        await first
    with pytest.raises(InvalidInput) as refused:
        await service.ask(request_id="r", candidates=("Other.",))
    assert [violation.field for violation in refused.value.violations] == ["request_id"]
    gates.open("gate")
    await first
    assert service.calls == ONE


async def test_ids_of_two_jobs_are_two_ids() -> None:
    service = Service()
    await service.ask(request_id="r", job="one")
    await service.ask(request_id="r", job="two", candidates=("Other.",))
    assert service.calls == tuple(2 * calls for calls in ONE)


async def test_a_default_that_is_written_out_is_the_same_content() -> None:
    service = Service()
    first = await service.ask(request_id="r")
    again = await service.ask(request_id="r", horizon_messages=4, max_message_tokens=1024)
    assert again.ids == first.ids


async def test_a_retry_with_more_time_gets_no_answer_that_was_cut_short(clock: LoopClock) -> None:
    gates = Gates()
    seeds: list[int] = []

    def answer(request: ChatRequest) -> Any:
        seeds.append(request.seed)
        return "u" if request.seed == seeds[0] else gates.say("u", after="gate")

    service = Service(answer=answer)
    brief = asyncio.create_task(service.ask(request_id="r", horizon_messages=1, seconds=10))
    patient = asyncio.create_task(service.ask(request_id="r", horizon_messages=1, seconds=1000))
    cut = await brief
    assert (cut.results[0].n_ok, cut.results[0].status) == (1, "partial")
    gates.open("gate")
    whole = await patient
    assert (whole.results[0].n_ok, whole.results[0].status) == (2, "complete")
    assert service.calls == (2, 0, 2)
    assert cut.ids != whole.ids
    # Each is kept as it was told.
    assert (await service.store.get(cut.ids[0])).result.n_ok == 1
    assert (await service.store.get(whole.ids[0])).result.n_ok == 2


async def test_an_answer_that_was_cut_short_is_not_given_again(clock: LoopClock) -> None:
    gates = Gates()
    service = Service(answer=at(gates))
    cut = await service.ask(request_id="r", seconds=10)
    assert cut.results[0].status == Reason.DEADLINE_EXCEEDED
    gates.open("gate")
    whole = await service.ask(request_id="r", seconds=10)
    assert whole.results[0].status == "complete"


async def test_an_answer_with_a_failure_is_not_given_again() -> None:
    down = True

    def answer(request: ChatRequest) -> str:
        if down:
            raise RuntimeError("the model is down")
        return "u"

    service = Service(answer=answer)
    failed = await service.ask(request_id="r")
    assert failed.results[0].n_ok == 0
    down = False
    assert (await service.ask(request_id="r")).results[0].status == "complete"


async def test_cancelling_one_caller_leaves_the_others(clock: LoopClock) -> None:
    gates = Gates()
    service = Service(answer=at(gates))
    first = asyncio.create_task(service.ask(request_id="r"))
    second = asyncio.create_task(service.ask(request_id="r"))
    await settle()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert service.user.cancelled == 0
    gates.open("gate")
    assert (await second).results[0].status == "complete"
    assert service.calls == ONE


async def test_cancelling_the_last_caller_cancels_the_work(clock: LoopClock) -> None:
    gates = Gates()
    service = Service(answer=at(gates))
    asked = [asyncio.create_task(service.ask(request_id="r")) for _ in range(2)]
    await settle()
    for one in asked:
        one.cancel()
    await asyncio.gather(*asked, return_exceptions=True)
    assert (service.user.cancelled, service.user.in_flight) == (2, 0)
    gates.open("gate")
    # And the next one begins anew.
    assert (await service.ask(request_id="r")).results[0].status == "complete"


async def test_a_run_that_has_ended_holds_its_futures_no_longer(clock: LoopClock) -> None:
    gc.collect()
    gc.disable()
    try:
        await Service().ask(request_id="r")
        await settle()
        assert [one for one in gc.get_objects() if isinstance(one, Run)] == []
    finally:
        gc.enable()


async def test_a_refusal_is_told_to_all_and_kept_by_none(clock: LoopClock) -> None:
    service = Service()
    unknown = (MetricSpec("nothing"),)
    asked = [service.ask(request_id="r", metrics=unknown) for _ in range(2)]
    refusals = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(refusal) for refusal in refusals] == [InvalidInput, InvalidInput]
    assert (await service.ask(request_id="r")).results[0].status == "complete"


def request(**fields: Any) -> RewardRequest:
    return resolve(query(**fields), {})


CHANGES: dict[str, dict[str, Any]] = {
    "candidates": {"candidates": ("Other.",)},
    "seed": {"seed": 1},
    "horizon": {"horizon_messages": 2},
    "samples": {"samples_max": 3},
    "least": {"samples_min": 2},
    "tokens": {"max_message_tokens": 5},
    "policy": {"policy": PolicyRef("policy", 3)},
    "weight": {"metrics": (MetricSpec("worth", 2.0),)},
    "parameter": {"metrics": (MetricSpec("worth", parameters={"a": 1.0}),)},
    "persona": {"personas": ("calm",)},
    "mode": {"cache": "refresh"},
}


@pytest.mark.parametrize("name", CHANGES)
def test_whatever_is_asked_for_is_content(name: str) -> None:
    plain, changed = request(), request(**CHANGES[name])
    assert name_of("r", plain, None).content != name_of("r", changed, None).content
    assert name_of("", plain, None).key != name_of("", changed, None).key


def test_every_field_of_a_request_is_content() -> None:
    given = name_of("r", request(), None)
    assert given == name_of("r", request(horizon_messages=4), None)
    assert given.key == name_of("r", request(seed=9), None).key
    assert given.key != name_of("q", request(), None).key
    played = [Played(PolicyRef("policy", version), None) for version in (1, 2)]
    assert len({name_of("", request(), one).key for one in played}) == 2
    job = replace(request(), job="other")
    assert name_of("r", job, None).key != given.key
