"""Requests in which outcomes decide how many futures there are."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from foresight_services.core.baseline import spread
from foresight_services.core.budget import Budget
from foresight_services.core.errors import Failure, Reason, Upstream
from foresight_services.core.ports import ChatRequest
from foresight_services.core.result import Reward
from foresight_services.core.task import Task
from tests.fakes.chat import Gates
from tests.fakes.kept import Told, told
from tests.fakes.noisy import Noisy, adaptive, by_index, numbers, value_of
from tests.fakes.reward import DrivenSimulator, failed, make_rewards, worth
from tests.fakes.virtual_time import LoopClock, settle

TARGET: dict[str, Any] = {"sampling": {"target_stderr": 0.06}}
BEST: dict[str, Any] = {"sampling": {"decide": "best", "confidence": 0.95}}
RANKING: dict[str, Any] = {"sampling": {"decide": "ranking", "total": 50, "window": 2}}
TOTAL: dict[str, Any] = {"sampling": {"target_stderr": 0.02, "total": 30}}

ALL = pytest.mark.parametrize("asked", [TARGET, BEST, RANKING, TOTAL])


def counts(answer: Told) -> list[int]:
    return [one.n_requested for one in by_index(answer)]


@ALL
async def test_indices_are_asked_in_order_and_all_of_them_count(asked: dict[str, Any]) -> None:
    answer = await Noisy().ask(**asked)
    for result in by_index(answer):
        assert [f.scored.id.sample for f in result.futures] == list(range(result.n_requested))
        assert result.n_ok == result.n_requested >= 3
        assert result.status == "complete"
        values = [value_of(result.index, sample) for sample in range(result.n_ok)]
        assert isinstance(result.outcome, Reward)
        assert result.outcome.estimate.mean == pytest.approx(sum(values) / len(values))


async def test_a_target_is_met_candidate_by_candidate() -> None:
    answer = await Noisy(means=(0.5, 0.5, 0.5)).ask(**TARGET)
    for result in by_index(answer):
        assert isinstance(result.outcome, Reward)
        stderr = result.outcome.estimate.stderr
        assert stderr is not None and stderr <= 0.06
        assert 3 < result.n_requested < 40
    alone = await Noisy(means=(0.5,)).ask(**TARGET, candidates=("one",))
    assert counts(alone) == counts(answer)[:1]
    assert answer.summary is not None and answer.summary.decision is None
    assert [one.behind_best for one in answer.results] == [None, None, None]


async def test_the_best_is_named_with_the_leads_of_the_others() -> None:
    answer = await Noisy().ask(**BEST)
    assert answer.summary is not None
    decision = answer.summary.decision
    assert decision is not None
    assert (decision.aim, decision.best, decision.method) == ("best", 2, "product")
    assert decision.ranking == (2, 1, 0)
    assert decision.confidence >= 0.95
    results = by_index(answer)
    assert results[2].behind_best is None
    for result in results[:2]:
        common = range(min(result.n_ok, results[2].n_ok))
        gaps = [value_of(2, k) - value_of(result.index, k) for k in common]
        lead = result.behind_best
        assert lead is not None and lead.n == len(gaps)
        assert lead.mean == pytest.approx(sum(gaps) / len(gaps))
        assert lead.stderr is not None
    assert sum(counts(answer)) < 60


async def test_a_total_bounds_the_group() -> None:
    assert sum(counts(await Noisy().ask(**TOTAL))) == 30


@ALL
async def test_the_answer_does_not_depend_on_who_comes_first(
    asked: dict[str, Any], clock: LoopClock
) -> None:
    answers = [numbers(await Noisy(delays=seed).ask(**asked)) for seed in range(4)]
    assert all(answer == answers[0] for answer in answers)
    assert answers[0] == numbers(await Noisy().ask(**asked))


@ALL
async def test_the_same_again_is_found_and_the_same(asked: dict[str, Any]) -> None:
    # Without the store, a request takes its course again over the futures that are remembered.
    service = Noisy(store=False)
    first = await service.ask(**asked)
    calls = len(service.user.requests)
    again = await service.ask(**asked)
    assert len(service.user.requests) == calls
    assert numbers(again) == numbers(first)
    assert again.summary is not None
    assert again.summary.cache.futures.found == sum(counts(first))


async def test_a_sample_shares_its_draws_over_all_candidates() -> None:
    service = Noisy()
    answer = await service.ask(**BEST, task=Task(world="w"))
    drawn: dict[int, set[str]] = {}
    for result in answer.results:
        for future in result.futures:
            assert future.scored.simulated is not None
            drawn.setdefault(future.scored.id.sample, set()).add(future.scored.simulated.goal)
    assert all(len(goals) == 1 for goals in drawn.values())
    assert len(set.union(*drawn.values())) == len(drawn) > 3
    # And the seeds of the turns: of one sample index there is one, whoever the candidate is.
    assert len({request.seed for request in service.user.requests}) == len(drawn)
    plain = await Noisy().ask(samples_max=3, task=Task(world="w"))
    for fixed, result in zip(by_index(plain), by_index(answer), strict=True):
        assert [f.scored.simulated for f in fixed.futures] == [
            f.scored.simulated for f in result.futures[:3]
        ]


async def test_who_attaches_late_gets_the_same_answer(clock: LoopClock) -> None:
    gates = Gates()
    turns = 0

    def say(request: ChatRequest) -> Any:
        nonlocal turns
        turns += 1
        # The first futures of all go through, and some that were asked for after them.
        said = f"u{request.seed}"
        return gates.say(said, after="gate") if turns > 11 else said

    service = Noisy(answer=say)
    early = asyncio.create_task(service.ask(**BEST))
    await settle()
    assert turns > 9 and not early.done()
    late = asyncio.create_task(service.ask(**BEST))
    await settle()
    gates.open("gate")
    first, second = await asyncio.gather(early, late)
    assert numbers(first) == numbers(second)
    assert turns == sum(counts(first))
    assert second.summary is not None and not second.summary.usage.models


async def test_a_named_answer_is_given_again_with_its_decision() -> None:
    service = Noisy()
    first = await service.ask(**BEST, request_id="r")
    assert service.store is not None
    await service.store.close()
    there = Noisy(cache=service.cache)
    again = await there.ask(**BEST, request_id="r")
    assert again.ids == first.ids
    assert numbers(again) == numbers(first)
    assert not there.user.requests


async def test_a_whole_answer_is_kept_with_its_decision() -> None:
    service = Noisy()
    first = await service.ask(**BEST, texts=False)
    again = await service.ask(**BEST, texts=False)
    assert first.kept is None and again.kept is not None
    form: Any = again.kept.form
    assert first.summary is not None and first.summary.decision is not None
    assert form.decision.best == first.summary.decision.best
    assert [one.n_requested for one in form.results] == counts(first)
    assert form.results[0].HasField("behind_best")
    # Another confidence is another question.
    other: dict[str, Any] = {"sampling": {**BEST["sampling"], "confidence": 0.8}}
    assert (await service.ask(**other, texts=False)).kept is None


async def test_a_kept_reward_is_read_and_rescored_with_all_its_futures() -> None:
    service = Noisy()
    first = by_index(await service.ask(**BEST))[1]
    record = await service.rewards.stored(first.reward_id)
    asked = record.group.request
    assert (asked.samples_max, asked.samples_min) == (40, 2)
    assert (asked.sampling.decide, asked.sampling.confidence, asked.sampling.window) == (
        "best",
        0.95,
        3,
    )
    assert record.result.behind_best == first.behind_best
    assert len(record.result.futures) == first.n_requested
    from foresight_services.core.rescoring import RescoreQuery

    (again,) = (await told(service.rewards.rescore(RescoreQuery(first.reward_id)))).results
    assert again.n_ok == again.n_requested == first.n_requested
    assert isinstance(again.outcome, Reward) and again.outcome.complete
    assert len(service.user.requests) > 0


async def test_at_the_deadline_there_is_what_was_asked_for_until_then(clock: LoopClock) -> None:
    def say(request: ChatRequest) -> Any:
        return asyncio.sleep(1.0, f"u{request.seed}")

    service = Noisy(answer=say)
    answer = await service.ask(**RANKING, seconds=5.5)
    assert answer.summary is not None and answer.summary.decision is not None
    assert 9 < sum(one.n_ok for one in answer.results) < sum(counts(answer))
    for result in by_index(answer):
        assert [f.scored.id.sample for f in result.futures] == list(range(result.n_requested))
        assert result.status == "partial"
    await settle()
    assert not service.user.in_flight


async def test_the_prompts_of_the_policy_are_spread_over_the_indices() -> None:
    service = Noisy()
    await service.ask(**TARGET, horizon_messages=3, system_prompt_share=0.5, proactive_share=0.25)
    by_seed = {request.seed: request for request in service.policy.requests}
    assert len(by_seed) > 4
    for name, share in (("system_prompt", 0.5), ("proactive", 0.25)):
        prompted = sum(getattr(request, name) for request in by_seed.values())
        assert abs(prompted - share * len(by_seed)) <= 1


@pytest.mark.parametrize(("count", "among"), [(0, 8), (8, 8), (3, 8), (2, 7), (1, 3)])
def test_indices_that_are_spread(count: int, among: int) -> None:
    chosen = [spread(index, count, among) for index in range(among)]
    assert sum(chosen) == count
    for n in range(1, among + 1):
        assert abs(sum(chosen[:n]) - n * count / among) < 1


async def test_a_simulation_that_ends_early_ends_the_sampling(clock: LoopClock) -> None:
    simulator = DrivenSimulator()
    rewards = make_rewards(simulator)
    asking = asyncio.create_task(told(rewards.compute(adaptive(**TARGET, candidates=("one",)))))
    await settle()
    simulator.put(*(worth(value, 0, k) for k, value in enumerate((0.1, 0.9, 0.4))))
    await settle()
    assert len(simulator.requests) > 1
    down = Upstream(Reason.MODEL_FAILED, "down")
    for _ in simulator.requests:
        simulator.put(down)
    (result,) = (await asking).results
    assert (result.n_ok, result.status) == (3, "partial")
    assert result.n_requested == sum(len(request.futures) for request in simulator.requests)
    assert [request.follow_up for request in simulator.requests[:2]] == [False, True]
    failures = [f.objective for f in result.futures if isinstance(f.objective, Failure)]
    assert {failure.reason for failure in failures} == {Reason.MODEL_FAILED}


async def test_what_always_fails_is_not_tried_to_the_end(clock: LoopClock) -> None:
    simulator = DrivenSimulator()
    asking = asyncio.create_task(
        told(make_rewards(simulator).compute(adaptive(**TARGET, candidates=("one",))))
    )
    await settle()
    simulator.put(*(failed(0, k) for k in range(3)))
    simulator.end()
    (result,) = (await asking).results
    assert (result.n_ok, result.n_requested) == (0, 3)
    assert isinstance(result.outcome, Failure)
    assert result.outcome.reason is Reason.TOO_FEW_FUTURES


async def test_plain_sampling_is_one_simulation_without_an_account() -> None:
    simulator = DrivenSimulator()
    order = [(c, k) for k in range(2) for c in range(3)]
    random.Random(1).shuffle(order)
    simulator.put(*(worth(0.5, c, k) for c, k in order))
    simulator.end()
    asked = adaptive(samples_max=2, budget=Budget(max_tokens=100), system_prompt_share=0.5)
    answer = await told(make_rewards(simulator).compute(asked))
    (request,) = simulator.requests
    assert [(f.candidate, f.sample) for f in request.futures] == [
        (c, k) for k in range(2) for c in range(3)
    ]
    assert (request.shared, request.system_prompt_samples) == (None, 1)
    assert answer.summary is not None and answer.summary.decision is None
    assert counts(answer) == [2, 2, 2]
