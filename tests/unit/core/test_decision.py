"""Which candidate is best and how sure that is: exact cases, pairing, calibration."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foresight_services.core.comparison import (
    MAX_CORRELATION,
    Spread,
    Values,
    compare,
    spread_of,
    student_t_cdf,
)
from foresight_services.core.decision import decide, leads
from foresight_services.core.interval import student_t_quantile

value = st.floats(-10, 10) | st.none()
groups = st.lists(st.lists(value, min_size=1, max_size=12), min_size=1, max_size=5)


@pytest.mark.parametrize("dof", [1, 2, 3, 8, 41])
@pytest.mark.parametrize("level", [0.5, 0.95, 0.999])
def test_the_distribution_is_students(dof: int, level: float) -> None:
    t = student_t_quantile(level, dof)
    assert student_t_cdf(t, dof) == pytest.approx((1 + level) / 2, abs=1e-12)
    assert student_t_cdf(-t, dof) == pytest.approx((1 - level) / 2, abs=1e-12)


def test_spread_pools_candidates_and_doubts_what_was_not_seen() -> None:
    # Squares 0.5 + 0 about the means, half an observation at 0 and at 1 about their middle.
    spread = spread_of([[0.0, 1.0], [1.0, 1.0]])
    assert spread.variance == pytest.approx((0.5 + 0.25) / 3)
    assert spread.correlation == 0.0
    assert spread_of([[1.0] * 5, [0.0] * 5]).variance == pytest.approx(0.25 / 9)


def test_spread_doubts_the_whole_range_where_that_is_known() -> None:
    assert spread_of([[0.0] * 5, [0.0] * 5], (-1.0, 1.0)).variance == pytest.approx(1.0 / 9)
    # Never less than what was seen.
    assert spread_of([[0.0, 1.0], [1.0, 1.0]], (0.0, 0.5)).variance == pytest.approx(0.25)


def test_nobody_is_sure_of_a_trifle_while_a_rare_success_may_be_to_come() -> None:
    group = [[-0.107, -0.106, -0.107], [-0.101, -0.102, -0.101]]
    trifle = decide(group, "best", 0.02)
    assert trifle is not None and trifle.confidence > 0.99
    known = decide(group, "best", 0.02, (-0.2, 1.0))
    assert known is not None and known.confidence < 0.75
    assert known.ranking == trifle.ranking


def test_correlation_is_that_of_equal_indices() -> None:
    luck = [0.0, 1.0, 0.0, 1.0, 1.0]
    assert spread_of([luck, luck, luck]).correlation == MAX_CORRELATION
    assert spread_of([luck, [1.0 - x for x in luck]]).correlation == 0.0


def test_equal_numbers_compare_by_paired_differences() -> None:
    a, b = [1.0, 2.0, 4.0], [0.5, 1.5, 3.0]
    for correlation in (0.0, 0.5, 0.9):
        found = compare(a, b, Spread(1.0, correlation))
        assert found.difference == pytest.approx(2.0 / 3.0)
        squares = sum((d - 2 / 3) ** 2 for d in (0.5, 0.5, 1.0))
        assert found.stderr == pytest.approx(
            math.sqrt((4 * 2 * (1 - correlation) + squares) / 6 / 3)
        )


def test_values_beyond_the_common_indices_count_as_far_as_draws_do_not_explain_them() -> None:
    a, b = [1.0, 1.0, 0.0, 0.0], [0.5, 0.5]
    assert compare(a, b, Spread(1.0, 0.0)).difference == pytest.approx(0.5 - 0.5)
    assert compare(a, b, Spread(1.0, 0.9)).difference == pytest.approx(0.5 - 0.1 * 0.5)


def test_comparisons_are_antisymmetric() -> None:
    a, b = [1.0, None, 0.5, 0.2], [0.5, 0.1]
    spread = Spread(0.3, 0.4)
    one, other = compare(a, b, spread), compare(b, a, spread)
    assert one.difference == -other.difference
    assert one.chance() == pytest.approx(1 - other.chance())


def test_without_a_common_index_the_means_are_compared() -> None:
    found = compare([1.0, 1.0, None], [None, None, 0.25], Spread(0.1, 0.5))
    assert found.difference == 0.75
    assert found.stderr > 0.0


def test_shared_luck_is_seen_through() -> None:
    luck = [0.0, 1.0, 0.5, 0.9, 0.1, 0.4]
    better = [x + 0.05 for x in luck]
    paired = decide([better, luck], "best")
    apart = decide([better, [luck[-1 - k] for k in range(6)]], "best")
    assert paired is not None and apart is not None
    assert paired.best == apart.best == 0
    assert paired.confidence > apart.confidence


def test_equal_candidates_leave_it_open_and_the_first_comes_first() -> None:
    decision = decide([[0.5, 0.5], [0.5, 0.5]], "best")
    assert decision is not None
    assert (decision.ranking, decision.confidence) == ((0, 1), 0.5)
    tolerant = decide([[0.5, 0.5], [0.5, 0.5]], "best", 0.1)
    assert tolerant is not None and tolerant.confidence == 1.0


def test_a_few_equal_values_are_not_certain() -> None:
    decision = decide([[1.0] * 3, [0.0] * 3], "best")
    assert decision is not None and 0.9 < decision.confidence < 0.9999


def test_a_candidate_without_values_is_not_ranked() -> None:
    decision = decide([[None, None], [0.1, 0.2], [0.3, None]], "ranking")
    assert decision is not None and set(decision.ranking) == {1, 2}
    assert decide([[None], []], "best") is None


def test_one_candidate_is_the_best_for_sure() -> None:
    decision = decide([[0.1, 0.4]], "best")
    assert decision is not None and (decision.best, decision.confidence) == (0, 1.0)


def test_a_ranking_is_as_sure_as_its_neighbours() -> None:
    decision = decide([[0.0, 0.1, 0.0], [1.0, 0.9, 1.0], [0.5, 0.4, 0.6]], "ranking")
    assert decision is not None and decision.ranking == (1, 2, 0)
    doubts = [1 - pair.comparison.chance() for pair in decision.pairs]
    assert decision.confidence == pytest.approx(1 - sum(doubts))


def test_leads_are_paired_and_have_a_standard_error_of_their_own() -> None:
    group: list[Values] = [[0.2, 0.4], [0.3, 0.6, 0.9], [None, None, None]]
    decision = decide(group, "best")
    assert decision is not None and decision.best == 1
    first, own, absent = leads(group, decision, (0.0, 1.0))
    assert own is None and absent is None
    assert first is not None and first.n == 2
    assert first.mean == pytest.approx(0.15)
    assert first.stderr == pytest.approx(0.05)


@given(groups, st.sampled_from(["best", "ranking"]))
def test_confidence_is_a_probability(group: list[Values], aim: str) -> None:
    decision = decide(group, "best" if aim == "best" else "ranking")
    if decision is not None:
        assert 0.0 <= decision.confidence <= 1.0
        assert sorted(decision.ranking) == [
            c for c, values in enumerate(group) if any(x is not None for x in values)
        ]


def test_confidence_is_calibrated_where_candidates_come_from_one_population() -> None:
    # Rewards drawn from a wide population: of decisions at 80 to 95 %, about so many are right.
    rng, right, claimed = random.Random(3), [], []
    for _ in range(1500):
        truth = [rng.gauss(0.0, 1.0) for _ in range(4)]
        luck = [rng.gauss(0.0, 0.5) for _ in range(6)]
        values = [[t + shared + rng.gauss(0.0, 0.6) for shared in luck] for t in truth]
        decision = decide(values, "best")
        assert decision is not None
        if 0.8 <= decision.confidence <= 0.95:
            right.append(truth[decision.best] == max(truth))
            claimed.append(decision.confidence)
    assert len(right) > 200
    assert abs(sum(right) / len(right) - sum(claimed) / len(claimed)) < 0.06
