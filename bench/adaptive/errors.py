"""How far off rewards, differences and lifts are, beside what their standard errors say."""

from __future__ import annotations

import random
from collections.abc import Sequence
from statistics import fmean, median, pvariance
from typing import Final

from bench.adaptive.groups import Table
from bench.adaptive.replay import TIE
from foresight_services.core.allocation import SamplePlan, Sampling
from foresight_services.core.estimator import estimate
from foresight_services.core.lift import lift

TARGETS: Final = (0.2, 0.1, 0.07)
BASELINE: Final = 4
"""Responses of a baseline."""

LIFT_FUTURES: Final = 12


def targets(tables: Sequence[Table], most: int) -> dict[str, dict[str, float]]:
    """Return bias and coverage of stopping at a standard error, beside a fixed number."""
    rows: dict[str, dict[str, float]] = {}
    for target in TARGETS:
        plan = SamplePlan(most, target_stderr=target, window=1)
        for name, window in (("four on their way", 4),):
            counts = [_counts(table, plan, window) for table in tables]
            rows[f"{target}, {name}"] = _errors(tables, counts, target)
        n = round(fmean(n for row in counts for n in row))
        fixed = [tuple(n for _ in table.truth) for table in tables]
        rows[f"{target}, fixed {n}"] = _errors(tables, fixed, target)
    return rows


def _counts(table: Table, plan: SamplePlan, window: int) -> tuple[int, ...]:
    sampling = Sampling(
        SamplePlan(plan.most, target_stderr=plan.target_stderr, window=window),
        len(table.truth),
        table.range,
    )
    running, counts = list(sampling.begin()), [0] * len(table.truth)
    while running:
        which = running.pop(0)
        counts[which.candidate] += 1
        value = table.values[which.candidate][which.sample]
        running.extend(sampling.ended(which, value))
    return tuple(counts)


def _errors(
    tables: Sequence[Table], counts: Sequence[Sequence[int]], target: float
) -> dict[str, float]:
    errors, held, reached, calls, sizes = [], 0, 0, 0, []
    for table, row in zip(tables, counts, strict=True):
        for c, n in enumerate(row):
            found = estimate(table.values[c][:n], value_range=table.range)
            errors.append(found.mean - table.truth[c])
            interval = found.interval
            held += interval is not None and (
                interval.low - TIE <= table.truth[c] <= interval.high + TIE
            )
            reached += found.stderr is not None and found.stderr <= target
            calls += sum(table.calls[c][:n])
            sizes.append(n)
    count = len(errors)
    return {
        "bias": fmean(errors),
        "bias_stderr": (pvariance(errors) / count) ** 0.5,
        "rms_error": fmean(x * x for x in errors) ** 0.5,
        "coverage": held / count,
        "reached": reached / count,
        "futures": fmean(sizes),
        "calls": calls / count,
    }


def differences(tables: Sequence[Table], rng: random.Random) -> dict[str, float]:
    """Return variances of differences between candidates with common draws over those without."""
    ratios, with_draws, without = [], [], []
    for table in tables:
        i, j = rng.sample(range(len(table.truth)), 2)
        x, y = table.values[i], table.values[j]
        paired = pvariance([a - b for a, b in zip(x, y, strict=True)])
        apart = pvariance(x) + pvariance(y)
        if apart > TIE:
            ratios.append(paired / apart)
            with_draws.append(paired)
            without.append(apart)
    return {
        "pairs": len(ratios),
        "median_ratio": median(ratios),
        "ratio_of_means": fmean(with_draws) / fmean(without),
        "share_below_three_quarters": fmean(ratio < 0.75 for ratio in ratios),
    }


def lifts(tables: Sequence[Table], rng: random.Random) -> dict[str, float]:
    """Return how lifts err: the baseline is drawn, with replacement, from the other candidates."""
    errors, variances, unpaired, held = [], [], [], 0
    for table in tables:
        others = range(1, len(table.truth))
        drawn = [rng.choice(others) for _ in range(BASELINE)]
        found = lift(
            table.values[0][:LIFT_FUTURES], [table.values[c][:LIFT_FUTURES] for c in drawn]
        )
        if found is None or found.stderr is None:
            raise RuntimeError("a lift without a standard error")
        error = found.value - (table.truth[0] - fmean(table.truth[c] for c in others))
        errors.append(error)
        variances.append(found.stderr**2)
        held += abs(error) <= 1.96 * found.stderr + TIE
        own = pvariance(table.values[0]) / LIFT_FUTURES
        unpaired.append(
            own + fmean(pvariance(table.values[c]) for c in others) / LIFT_FUTURES / BASELINE
        )
    return {
        "bias": fmean(errors),
        "rms_error": fmean(x * x for x in errors) ** 0.5,
        "rms_stderr": fmean(variances) ** 0.5,
        "rms_stderr_of_independent_futures_alone": fmean(unpaired) ** 0.5,
        "within_1.96_stderr": held / len(errors),
    }
