"""Every answer tells how far each candidate is behind the best one, by paired differences."""

from __future__ import annotations

from typing import Any

import pytest

from foresight_services.core.estimator import paired_difference
from foresight_services.core.result import CandidateResult
from tests.fakes.kept import Told, told
from tests.fakes.noisy import CANDIDATES, Noisy, adaptive, by_index, value_of
from tests.fakes.reward import DrivenSimulator, failed, make_rewards, worth

PLAIN: dict[str, Any] = {"samples_max": 6}
TARGET: dict[str, Any] = {"samples_max": 40, "sampling": {"target_stderr": 0.06}}
TOTAL: dict[str, Any] = {"samples_max": 40, "sampling": {"target_stderr": 0.02, "total": 30}}
BEST: dict[str, Any] = {"samples_max": 40, "sampling": {"decide": "best"}}


def standing(answer: Told) -> list[CandidateResult]:
    assert answer.summary is not None
    return [answer.summary.standing(result) for result in by_index(answer)]


@pytest.mark.parametrize("asked", [PLAIN, TARGET, TOTAL, BEST])
async def test_all_others_are_behind_the_best(asked: dict[str, Any]) -> None:
    answer = await Noisy().ask(**asked)
    assert answer.summary is not None and answer.summary.best == 2
    results = standing(answer)
    assert results[2].behind_best is None
    limits = answer.summary.objective_range
    for index in (0, 1):
        n = min(results[index].n_ok, results[2].n_ok)
        expected = paired_difference(
            [value_of(2, k) for k in range(n)],
            [value_of(index, k) for k in range(n)],
            value_range=None if limits is None else (limits.low, limits.high),
        )
        assert results[index].behind_best == expected
        assert expected is not None and expected.n == n


async def test_it_is_kept_with_the_rewards_and_with_the_answer() -> None:
    service = Noisy()
    first = await service.ask(**PLAIN, request_id="r")
    assert service.store is not None
    for result in standing(first):
        record = await service.rewards.stored(result.reward_id)
        assert record.result.behind_best == result.behind_best
    there = Noisy(cache=service.cache)
    await service.store.close()
    for texts in (True, False):
        named = await there.ask(**PLAIN, request_id="r", texts=texts)
        assert [one.behind_best for one in standing(named)] == [
            one.behind_best for one in standing(first)
        ]
        assert named.summary is not None and named.summary.best == 2
    whole = await there.ask(**PLAIN, texts=False)
    assert whole.kept is not None
    form: Any = whole.kept.form
    assert [one.HasField("behind_best") for one in form.results] == [True, True, False]
    assert (form.best, len(form.leads)) == (2, 0)
    assert not there.user.requests


async def test_a_single_candidate_is_the_best() -> None:
    answer = await Noisy().ask(**PLAIN, candidates=CANDIDATES[:1])
    assert answer.summary is not None
    assert (answer.summary.best, answer.summary.leads) == (0, (None,))


async def ask(*futures: Any) -> Told:
    simulator = DrivenSimulator()
    simulator.put(*futures)
    simulator.end()
    asked = adaptive(samples_max=2, candidates=CANDIDATES[:2])
    return await told(make_rewards(simulator).compute(asked))


async def test_indices_that_only_one_has_do_not_count() -> None:
    answer = await ask(worth(0.5, 0, 0), worth(0.25, 0, 1), worth(1.0, 1, 0), failed(1, 1))
    behind, best = standing(answer)
    assert answer.summary is not None and answer.summary.best == 1
    assert best.behind_best is None and behind.behind_best is not None
    assert (behind.behind_best.mean, behind.behind_best.n) == (0.5, 1)
    assert behind.behind_best.stderr is None


async def test_without_a_common_index_there_is_no_difference() -> None:
    answer = await ask(worth(0.5, 0, 0), failed(0, 1), failed(1, 0), worth(1.0, 1, 1))
    assert answer.summary is not None and answer.summary.best == 1
    assert [one.behind_best for one in standing(answer)] == [None, None]


async def test_where_nothing_succeeds_nobody_is_best() -> None:
    answer = await ask(*(failed(c, k) for k in range(2) for c in range(2)))
    assert answer.summary is not None
    assert (answer.summary.best, answer.summary.leads) == (None, ())
