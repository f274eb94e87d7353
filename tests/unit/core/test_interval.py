"""The intervals, against tables, exact arithmetic, Monte Carlo and exact enumeration."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import combinations_with_replacement

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foresight_services.core.estimator import estimate
from foresight_services.core.interval import (
    MAX_LEVEL,
    Interval,
    gaffke_interval,
    student_t_quantile,
)

UNIT = (0.0, 1.0)
TAIL = 0.025

# scipy 1.17.1: -scipy.stats.t.ppf((1 - level) / 2, dof)
T_LEVELS = (0.5, 0.95, 0.99, 0.999)
T_QUANTILES = {
    1: (1.0, 12.70620473617, 63.65674116287, 636.6192487687),
    3: (0.7648923284043, 3.182446305284, 5.840909309733, 12.92397863669),
    8: (0.7063866126448, 2.306004135204, 3.355387331333, 5.041305433373),
    27: (0.683684979131, 2.05183051648, 2.770682957122, 3.689591713459),
    63: (0.6784039610579, 1.998340542521, 2.6561450251, 3.451768944961),
    1000: (0.674735164607, 1.962339080826, 2.580754698066, 3.300282648424),
}

# scipy 1.17.1: scipy.special.betaincinv(k + 1, n - k, 0.975), the upper Clopper-Pearson bound for
# k successes in n, k = 0 .. n; the lower bound for k is 1 minus the upper bound for n - k.
CLOPPER_PEARSON_UPPER = {
    3: (0.707598226179, 0.905700675950, 0.991596241340, 1.0),
    4: (0.602364635616, 0.805879550317, 0.932414013511, 0.993690536790, 1.0),
    5: (0.521823750105, 0.716417936118, 0.853367200365, 0.947255049474, 0.994949236621, 1.0),
    6: (0.459258126440, 0.641234578998, 0.777221904496, 0.881882751243, 0.956728131707,
        0.995789255486, 1.0),
    7: (0.409616397225, 0.578723197043, 0.709579136263, 0.815948432360, 0.901011721557,
        0.963307433824, 0.996389703138, 1.0),
    8: (0.369416647553, 0.526509670875, 0.650855794413, 0.755136783633, 0.842987229513,
        0.914766585863, 0.968145973750, 0.996840276469, 1.0),
}  # fmt: skip

values_01 = st.lists(st.floats(0.0, 1.0).map(lambda x: round(x, 6)), min_size=1, max_size=12)


def gaffke(
    values: Sequence[float], value_range: tuple[float, float] = UNIT, *, mid_p: bool = False
) -> Interval:
    return gaffke_interval(tuple(sorted(values)), value_range, 0.95, mid_p=mid_p)


@pytest.mark.parametrize("dof", T_QUANTILES)
def test_student_t_quantile_matches_tables(dof: int) -> None:
    computed = [student_t_quantile(level, dof) for level in T_LEVELS]
    assert computed == pytest.approx(T_QUANTILES[dof], rel=1e-11)


def test_student_t_quantile_at_the_largest_level() -> None:
    # dof 1 and 2 have closed forms.
    cauchy = math.tan(math.pi * MAX_LEVEL / 2)
    two = MAX_LEVEL * math.sqrt(2 / (1 - MAX_LEVEL**2))
    computed = [student_t_quantile(MAX_LEVEL, dof) for dof in (1, 2)]
    assert computed == pytest.approx([cauchy, two], rel=1e-8)


def test_quantile_needs_a_degree_of_freedom() -> None:
    with pytest.raises(ValueError, match="degrees of freedom"):
        student_t_quantile(0.95, 0)


@pytest.mark.parametrize("level", [0.0, 1.0, -0.5, math.nan, 0.9999999])
def test_unusable_levels_are_refused(level: float) -> None:
    with pytest.raises(ValueError, match="level"):
        student_t_quantile(level, 5)
    with pytest.raises(ValueError, match="level"):
        gaffke_interval((0.5,), UNIT, level, mid_p=False)


@pytest.mark.parametrize("n", CLOPPER_PEARSON_UPPER)
def test_zero_one_samples_get_the_clopper_pearson_interval(n: int) -> None:
    upper = CLOPPER_PEARSON_UPPER[n]
    for k in range(n + 1):
        interval = gaffke([0.0] * (n - k) + [1.0] * k)
        assert interval.high == pytest.approx(upper[k], abs=1e-9)
        assert interval.low == pytest.approx(1.0 - upper[n - k], abs=1e-9)


@pytest.mark.parametrize("n", [1, 20, 64, 256])
def test_clopper_pearson_at_other_sizes_by_its_defining_equation(n: int) -> None:
    for k in {0, n // 7, n // 2, n - 1}:
        p = gaffke([0.0] * (n - k) + [1.0] * k).high
        at_most_k = math.fsum(math.comb(n, j) * p**j * (1 - p) ** (n - j) for j in range(k + 1))
        assert at_most_k == pytest.approx(TAIL, rel=1e-6)


@pytest.mark.parametrize("n", [32, 64, 256])
def test_mid_p_on_zero_one_samples_solves_lancasters_equation(n: int) -> None:
    def at_most(k: int, p: float) -> float:
        return math.fsum(math.comb(n, j) * p**j * (1 - p) ** (n - j) for j in range(k + 1))

    for k in (1, n // 7, n // 2, n - 1):
        interval = gaffke([0.0] * (n - k) + [1.0] * k, mid_p=True)
        assert interval.method == "gaffke_mid_p"
        upper = (at_most(k, interval.high) + at_most(k - 1, interval.high)) / 2
        lower = 1 - (at_most(k, interval.low) + at_most(k - 1, interval.low)) / 2
        assert (lower, upper) == pytest.approx((TAIL, TAIL), rel=1e-6)


def test_mid_p_lies_within_the_full_doubt() -> None:
    rng = random.Random(5)
    values = [rng.random() for _ in range(40)]
    full, mid = gaffke(values), gaffke(values, mid_p=True)
    assert full.low < mid.low < mid.high < full.high


def exact_survival(knots: Sequence[float], q: float) -> float:
    """Return P(D > q) in rational arithmetic: the divided difference, for distinct knots."""
    t = [Fraction(x) for x in knots]
    total = Fraction(0)
    for j, knot in enumerate(t):
        if knot > Fraction(q):
            others = math.prod((knot - other for i, other in enumerate(t) if i != j), start=1)
            total += (knot - Fraction(q)) ** (len(t) - 1) / others
    return float(total)


@pytest.mark.parametrize("n", [1, 2, 3, 8, 27])
def test_bounds_solve_the_exact_equation_on_distinct_values(n: int) -> None:
    rng = random.Random(n)
    for spread in (1.0, 1e-3):
        values = [0.4 + spread * (rng.random() - 0.4) for _ in range(n)]
        interval = gaffke(values)
        assert exact_survival([*values, 1.0], interval.high) == pytest.approx(TAIL, rel=1e-6)
        assert exact_survival([0.0, *values], interval.low) == pytest.approx(1 - TAIL, rel=1e-6)


@pytest.mark.parametrize(
    "values",
    [
        (0.1, 0.45, 0.8),
        (0.5, 0.5, 0.5),
        (0.0, 0.5, 0.5, 1.0, 1.0),
        (0.02, 0.03, 0.03, 0.03, 0.4, 0.4, 0.97, 1.0),
    ],
)
def test_bounds_are_quantiles_of_dirichlet_means(values: tuple[float, ...]) -> None:
    draws, rng = 40_000, random.Random(11)
    interval = gaffke(values)

    def exceeded(knots: tuple[float, ...], bound: float) -> float:
        hits = 0
        for _ in range(draws):
            weights = [rng.expovariate(1.0) for _ in knots]
            mean = sum(w * t for w, t in zip(weights, knots, strict=True)) / sum(weights)
            hits += mean > bound
        return hits / draws

    noise = 5 * math.sqrt(TAIL * (1 - TAIL) / draws)
    assert exceeded((*values, 1.0), interval.high) == pytest.approx(TAIL, abs=noise)
    assert exceeded((0.0, *values), interval.low) == pytest.approx(1 - TAIL, abs=noise)


@given(values_01, st.floats(1e-3, 1e3), st.floats(-1e3, 1e3))
def test_affine_maps_of_values_and_range_map_the_bounds(
    values: list[float], scale: float, shift: float
) -> None:
    plain = gaffke(values)
    mapped_range = (shift, scale + shift)
    mapped = gaffke([min(shift + scale * x, mapped_range[1]) for x in values], mapped_range)
    slack = 1e-8 * scale + 1e-11 * abs(shift)
    assert mapped.low == pytest.approx(shift + scale * plain.low, abs=slack)
    assert mapped.high == pytest.approx(shift + scale * plain.high, abs=slack)


@given(values_01)
def test_mirrored_values_mirror_the_bounds(values: list[float]) -> None:
    plain, mirrored = gaffke(values), gaffke([-x for x in values], (-1.0, 0.0))
    assert (mirrored.low, mirrored.high) == (-plain.high, -plain.low)


@given(values_01, st.data())
def test_bounds_rise_with_a_value(values: list[float], data: st.DataObject) -> None:
    i = data.draw(st.integers(0, len(values) - 1))
    raised = [*values]
    raised[i] = data.draw(st.floats(values[i], 1.0))
    before, after = gaffke(values), gaffke(raised)
    assert after.low >= before.low - 1e-9
    assert after.high >= before.high - 1e-9


@given(values_01, st.floats(0.0, 2.0), st.floats(0.0, 2.0))
def test_interval_contains_the_mean_and_grows_with_range_and_level(
    values: list[float], below: float, above: float
) -> None:
    interval = gaffke(values)
    assert 0.0 <= interval.low <= math.fsum(values) / len(values) + 1e-9
    assert math.fsum(values) / len(values) - 1e-9 <= interval.high <= 1.0
    wider_range = gaffke(values, (-below, 1.0 + above))
    higher_level = gaffke_interval(tuple(sorted(values)), UNIT, 0.99, mid_p=False)
    for wider in (wider_range, higher_level):
        assert wider.low <= interval.low + 1e-9
        assert wider.high >= interval.high - 1e-9


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("n", [1, 3, 64])
def test_equal_values_still_leave_doubt(value: float, n: int) -> None:
    # With all knots but one equal, the bound is a share 1 - tail^(1/n) of the way to the edge.
    share = 1.0 - TAIL ** (1.0 / n)
    interval = gaffke([value] * n)
    assert interval.low == pytest.approx(value * (1.0 - share), abs=1e-9)
    assert interval.high == pytest.approx(value + (1.0 - value) * share, abs=1e-9)


def test_a_range_of_one_point_gives_that_point() -> None:
    interval = gaffke([2.0, 2.0], (2.0, 2.0))
    assert (interval.low, interval.high) == (2.0, 2.0)


def test_neighbouring_floats_leave_nothing_to_search() -> None:
    below_one = math.nextafter(1.0, 0.0)
    assert below_one <= gaffke([below_one]).high <= 1.0


# Coverage. Distributions with few values are enumerated: their coverage is exact.

Atoms = tuple[tuple[float, float], ...]


def bernoulli(p: float) -> Atoms:
    return ((0.0, 1.0 - p), (1.0, p))


THREE_VALUES: Atoms = ((0.0, 0.2), (0.5, 0.3), (1.0, 0.5))
RARE_FAILURE: Atoms = ((0.0, 0.01), (0.88, 0.495), (0.92, 0.495))
DISCRETE: dict[str, Atoms] = {
    **{f"bernoulli {p}": bernoulli(p) for p in (0.02, 0.1, 0.3, 0.5, 0.9)},
    "two-point": ((0.2, 0.93), (0.95, 0.07)),
    "three values": THREE_VALUES,
    "rare failure": RARE_FAILURE,
}
CONTINUOUS: dict[str, Callable[[random.Random], float]] = {
    "uniform": lambda rng: rng.random(),
    "beta": lambda rng: rng.betavariate(0.3, 0.3),
}  # both with mean 1/2


def covers(values: Sequence[float], mean: float) -> bool:
    interval = estimate(values, value_range=UNIT).interval
    assert interval is not None
    return interval.low <= mean <= interval.high


def exact_coverage(atoms: Atoms, n: int) -> float:
    mean = math.fsum(value * p for value, p in atoms)
    total = 0.0
    for sample in combinations_with_replacement(atoms, n):
        if covers([value for value, _ in sample], mean):
            orders = math.factorial(n)
            for count in Counter(sample).values():
                orders //= math.factorial(count)
            total += orders * math.prod(p for _, p in sample)
    return total


@pytest.mark.parametrize("name", DISCRETE)
def test_small_samples_cover_discrete_means(name: str) -> None:
    for n in range(3, 9):
        assert exact_coverage(DISCRETE[name], n) >= 0.95


@pytest.mark.parametrize("name", CONTINUOUS)
def test_small_samples_cover_continuous_means(name: str) -> None:
    draws, rng = 1500, random.Random(name)
    for n in range(3, 9):
        hits = sum(covers([CONTINUOUS[name](rng) for _ in range(n)], 0.5) for _ in range(draws))
        assert hits / draws >= 0.95 - 4 * math.sqrt(0.95 * 0.05 / draws)


@pytest.mark.parametrize("name", DISCRETE)
def test_64_futures_cover_discrete_means(name: str) -> None:
    # The rarer an outcome, the more there is to doubt; no distribution is under-covered.
    highest = {"rare failure": 0.99, "two-point": 0.98}.get(name, 0.97)
    assert 0.93 <= exact_coverage(DISCRETE[name], 64) <= highest


@pytest.mark.parametrize("name", CONTINUOUS)
def test_64_futures_cover_continuous_means(name: str) -> None:
    draws, rng = 3000, random.Random(name)
    hits = sum(covers([CONTINUOUS[name](rng) for _ in range(64)], 0.5) for _ in range(draws))
    assert 0.93 <= hits / draws <= 0.97


@pytest.mark.parametrize(("n", "method"), [(31, "gaffke"), (32, "gaffke_mid_p")])
def test_larger_samples_get_the_mid_p_interval(n: int, method: str) -> None:
    interval = estimate([0.0, *([1.0] * (n - 1))], value_range=UNIT).interval
    assert interval is not None
    assert interval.method == method
