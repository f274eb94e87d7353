"""Requests with a baseline: what the policy would have said itself, and the lift over it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from foresight_services.core.baseline import spread
from foresight_services.core.cache_use import CacheMode, Origin
from foresight_services.core.interval import student_t_quantile
from foresight_services.core.lift import lift
from foresight_services.core.ports import ChatRequest
from foresight_services.core.request import resolve
from foresight_services.core.rescoring import RescoreQuery
from foresight_services.core.result import Reward
from foresight_services.core.sampling_query import first_of
from foresight_services.reward.codec import encode_result
from tests.fakes.chat import Gates
from tests.fakes.kept import told
from tests.fakes.lifted import (
    ALL_MEANS,
    ask,
    baseline,
    draws,
    is_draw,
    lifted,
    lifts,
    of_seed,
    one_of_two,
    values,
)
from tests.fakes.noisy import CANDIDATES, by_index, numbers, value_of
from tests.fakes.reward import query
from tests.fakes.virtual_time import LoopClock, settle

TARGET: dict[str, Any] = {"sampling": {"target_stderr": 0.06}}
BEST: dict[str, Any] = {"sampling": {"decide": "best"}}
TOTAL: dict[str, Any] = {"sampling": {"target_stderr": 0.02, "total": 30}}


async def test_each_candidate_has_its_lift_over_what_the_policy_says() -> None:
    service = lifted()
    answer = await ask(service)
    rows = baseline(answer)
    assert [row.index for row in rows] == [0, 1, 2, 3]
    assert sorted(row.response for row in rows) == sorted(f"r{d.seed}" for d in draws(service))
    assert len({row.response for row in rows}) == 4
    for position, row in enumerate(rows):
        assert row.status == "complete" and row.n_ok == row.n_requested == 6
        assert values(row) == [value_of(3 + position, k, ALL_MEANS) for k in range(6)]
        assert row.usage.models["policy"].calls == 1 + 6 and row.usage.messages == 1 + 12
    for result, found in zip(by_index(answer), lifts(answer), strict=True):
        assert found == lift(values(result), [values(row) for row in rows])
        assert found is not None and found.stderr is not None and found.interval is not None
        means = [sum(value_of(c, k, ALL_MEANS) for k in range(6)) / 6 for c in (3, 4, 5, 6)]
        assert found.baseline == pytest.approx(sum(means) / 4)
        assert isinstance(result.outcome, Reward)
        assert found.value == pytest.approx(result.outcome.estimate.mean - found.baseline)
        reach = student_t_quantile(0.95, 3) * found.stderr
        assert (found.interval.low, found.interval.high) == pytest.approx(
            (found.value - reach, found.value + reach)
        )
        assert (found.responses, found.interval.method) == (4, "student_t")
    assert answer.summary is not None
    assert answer.summary.usage.models["policy"].calls == 7 * 6 + 4
    assert answer.summary.cache.futures.computed == 7 * 6


async def test_without_one_nothing_is_drawn() -> None:
    service = lifted()
    answer = await ask(service, baseline=None)
    assert not draws(service) and baseline(answer) == ()
    assert lifts(answer) == [None] * 3
    plain = resolve(query(), {})
    assert plain.baseline is None


async def test_a_response_that_came_twice_is_simulated_once_and_counts_twice() -> None:
    service = lifted(policy=one_of_two)
    for seed in range(20):
        answer = await ask(service, seed=seed, cache="bypass", request_id="")
        rows = baseline(answer)
        said = [row.response for row in rows]
        if len(set(said)) == 2 and said.count(said[0]) != 2:
            break
    else:
        raise AssertionError("no seed gives one response more often")
    assert answer.summary is not None
    assert answer.summary.usage.messages == (3 + 2) * 6 * 2 + 4
    first = {text: said.index(text) for text in said}
    for row in rows:
        of_first = rows[first[row.response]]
        assert values(row) == values(of_first) and row.outcome == of_first.outcome
        origins = {future.scored.origin for future in row.futures}
        if row is of_first:
            assert origins == {Origin.COMPUTED}
        else:
            assert origins == {Origin.SHARED} and row.usage.messages == 1
    every = lift(values(by_index(answer)[0]), [values(row) for row in rows])
    assert lifts(answer)[0] == every and every is not None and every.responses == 4
    once = lift(values(by_index(answer)[0]), [values(rows[k]) for k in first.values()])
    assert once is not None and once.baseline != every.baseline


async def test_draws_are_named_by_the_seed_and_by_nothing_else() -> None:
    base = [row.response for row in baseline(await ask(lifted(), seed=3))]
    for fields in (
        {"samples_max": 4},
        {"horizon_messages": 1},
        {"candidates": CANDIDATES[:1]},
        TARGET,
        {"request_id": "r"},
    ):
        assert [r.response for r in baseline(await ask(lifted(), seed=3, **fields))] == base
    more = [row.response for row in baseline(await ask(lifted(), seed=3, baseline=5))]
    assert more[:4] == base
    assert not {*base} & {row.response for row in baseline(await ask(lifted(), seed=4))}
    # And none of them is what a future draws.
    service = lifted()
    await ask(service, seed=3)
    seeds = [request.seed for request in service.policy.requests]
    assert len({d.seed for d in draws(service)} & {s for s in seeds}) == 4
    assert len(set(seeds)) == 6 + 4


async def test_the_policy_is_prompted_as_in_the_futures() -> None:
    service = lifted()
    await ask(service, baseline=8, system_prompt_share=0.5, proactive_share=0.25)
    drawn = draws(service)
    assert sum(request.system_prompt for request in drawn) == 4
    assert sum(request.proactive for request in drawn) == 2
    assert len(drawn) == 8
    chosen = [spread(index, 2, 8) for index in range(8)]
    assert sum(chosen) == 2


@pytest.mark.parametrize("share", [0.0, 1.0])
async def test_a_share_of_all_or_none_is_that_of_every_draw(share: float) -> None:
    service = lifted()
    await ask(service, baseline=2, proactive_share=share)
    assert {request.proactive for request in draws(service)} == {bool(share)}


@pytest.mark.parametrize("texts", [True, False])
@pytest.mark.parametrize("name", ["", "r"])
async def test_the_same_again_costs_nothing_and_is_the_same(texts: bool, name: str) -> None:
    service = lifted()
    first = await ask(service, request_id=name)
    assert service.store is not None
    await service.store.close()
    calls, asked = len(service.policy.requests), service.asked
    there = lifted(cache=service.cache)
    again = await ask(there, texts=texts, request_id=name)
    assert (len(there.policy.requests), there.asked) == (0, 0)
    assert (len(service.policy.requests), service.asked) == (calls, asked)
    if texts or name:
        assert numbers(again) == numbers(first)
    else:
        assert again.kept is not None
        form: Any = again.kept.form
        assert [one.reward.lift.value for one in form.results] == [
            one.value for one in lifts(first) if one is not None
        ]
        assert [one.response for one in form.baseline] == [r.response for r in baseline(first)]
        assert not form.usage.models and not any(one.usage.models for one in form.baseline)
        assert form.cache.futures.found == 7 * 6
        assert form.cache.futures.computed == 0


async def test_draws_are_remembered_where_the_server_keeps_to_no_seed() -> None:
    said = 0

    def other_each_time(request: ChatRequest) -> str:
        nonlocal said
        said += 1
        return f"r{said}" if is_draw(request) else "a"

    service = lifted(policy=other_each_time, store=False)
    first = await ask(service)
    again = await ask(service)
    assert [row.response for row in baseline(again)] == [r.response for r in baseline(first)]
    assert again.summary is not None and not again.summary.usage.models
    assert lifts(again) == lifts(first)
    fresh = await ask(service, cache=CacheMode.REFRESH.value)
    assert not {r.response for r in baseline(fresh)} & {r.response for r in baseline(first)}


async def test_who_attaches_gets_the_same_and_pays_nothing(clock: LoopClock) -> None:
    gates = Gates()

    def say(request: ChatRequest) -> Any:
        return gates.say(of_seed(request), after="draw" if is_draw(request) else "turn")

    service = lifted(policy=say)
    gates.open("draw")
    early = asyncio.create_task(ask(service))
    await settle()
    late = asyncio.create_task(ask(service))
    await settle()
    gates.open("turn")
    first, second = await asyncio.gather(early, late)
    assert numbers(first) == numbers(second)
    assert len(draws(service)) == 4
    assert second.summary is not None and not second.summary.usage.models
    assert {f.scored.origin for row in baseline(second) for f in row.futures} == {Origin.SHARED}


async def test_a_target_holds_for_every_response_on_its_own() -> None:
    answer = await ask(lifted(), **TARGET, samples_max=40)
    alone = by_index(await lifted().ask(**TARGET, samples_max=40))
    assert [r.n_requested for r in by_index(answer)] == [r.n_requested for r in alone]
    for row in baseline(answer):
        assert isinstance(row.outcome, Reward)
        stderr = row.outcome.estimate.stderr
        assert stderr is not None and stderr <= 0.06
        assert 3 < row.n_requested < 40


async def test_responses_are_no_contestants_of_a_decision() -> None:
    answer = await ask(lifted(), **BEST, samples_max=40)
    alone = await lifted().ask(**BEST, samples_max=40)
    assert answer.summary is not None and alone.summary is not None
    assert answer.summary.decision == alone.summary.decision
    assert [r.n_requested for r in by_index(answer)] == [r.n_requested for r in by_index(alone)]
    assert [row.n_requested for row in baseline(answer)] == [first_of(None, 40)] * 4
    assert all(row.behind_best is None for row in baseline(answer))


async def test_a_total_does_not_count_the_baseline() -> None:
    answer = await ask(lifted(), **TOTAL, samples_max=40)
    assert sum(result.n_requested for result in by_index(answer)) == 30
    assert all(row.n_requested > 10 for row in baseline(answer))


@pytest.mark.parametrize("asked", [{}, BEST])
async def test_prompts_of_an_index_are_those_of_the_candidates(asked: dict[str, Any]) -> None:
    service = lifted()
    await ask(service, **asked, samples_max=8, horizon_messages=3, proactive_share=0.5)
    by_seed: dict[int, set[bool]] = {}
    for request in service.policy.requests:
        if not is_draw(request):
            by_seed.setdefault(request.seed, set()).add(request.proactive)
    assert all(len(prompted) == 1 for prompted in by_seed.values())
    assert {True, False} == set.union(*by_seed.values())


async def test_a_kept_reward_has_its_lift_and_a_rescored_one_none() -> None:
    service = lifted()
    answer = await ask(service)
    result = by_index(answer)[0]
    assert answer.summary is not None
    kept = await service.rewards.stored(result.reward_id)
    assert kept.group.request.baseline == 4
    assert encode_result(kept.result, include_futures=True) == encode_result(
        answer.summary.standing(result), include_futures=True
    )
    calls = len(service.policy.requests)
    again = await told(service.rewards.rescore(RescoreQuery(result.reward_id)))
    assert len(service.policy.requests) == calls
    assert baseline(again) == () and lifts(again) == [None]
