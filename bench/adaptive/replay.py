"""Plays tables of futures through the core's sampling, and compares what comes of it."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from bench.adaptive.groups import Table
from foresight_services.core.allocation import SamplePlan, Sampling
from foresight_services.core.decision import decide
from foresight_services.core.estimator import estimate

TIE: Final = 1e-9
"""Candidates whose exact rewards differ by no more are equally right."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one group came to."""

    counts: tuple[int, ...]
    """Futures of every candidate."""
    calls: int
    """Model calls."""
    ranking: tuple[int, ...]
    """Candidates, best first, by the core's decision."""
    confidence: float
    """Chance that the decision is right, as reported."""

    def right(self, truth: Sequence[float], aim: str, slack: float = 0.0) -> bool:
        """Tell whether the decision is; equal candidates may come in any order.

        The best may be worse by `slack`; a ranking may not.
        """
        if aim == "best":
            return truth[self.ranking[0]] >= max(truth) - slack - TIE
        order = [truth[c] for c in self.ranking]
        return all(a >= b - TIE for a, b in zip(order, order[1:], strict=False))


def play(table: Table, plan: SamplePlan) -> Outcome:
    """Run one group as the service would, futures ending in the order of their start."""
    sampling = Sampling(plan, len(table.truth), table.range)
    running = deque(sampling.begin())
    values: list[list[float]] = [[] for _ in table.truth]
    calls = 0
    while running:
        which = running.popleft()
        value = table.values[which.candidate][which.sample]
        values[which.candidate].append(value)
        calls += table.calls[which.candidate][which.sample]
        running.extend(sampling.ended(which, value))
    if not sampling.complete:
        raise RuntimeError("the sampling has stalled")
    decision = decide(values, plan.aim or "best", plan.tolerance, table.range)
    if decision is None:
        raise RuntimeError("a group without values")
    counts = tuple(map(len, values))
    return Outcome(counts, calls, decision.ranking, decision.confidence)


def without_common_draws(table: Table, rng: random.Random) -> Table:
    """Return the table with each candidate's futures in an order of its own."""
    values, calls = [], []
    for row, cost in zip(table.values, table.calls, strict=True):
        order = rng.sample(range(len(row)), len(row))
        values.append(tuple(row[k] for k in order))
        calls.append(tuple(cost[k] for k in order))
    return replace(table, values=tuple(values), calls=tuple(calls))


def first_candidates(table: Table, count: int) -> Table:
    """Return the group of the first `count` candidates."""
    return replace(
        table,
        truth=table.truth[:count],
        values=table.values[:count],
        calls=table.calls[:count],
    )


def gap(table: Table) -> float:
    """Return by how much the best candidate is better than the second."""
    second, best = sorted(table.truth)[-2:]
    return best - second


def summary(tables: Sequence[Table], plan: SamplePlan, slack: float = 0.0) -> dict[str, float]:
    """Return how often decisions are right up to `slack`, their cost, their own confidence."""
    aim = plan.aim or "best"
    outcomes = [play(table, plan) for table in tables]
    n = len(tables)
    pairs = list(zip(tables, outcomes, strict=True))
    return {
        "right": sum(o.right(t.truth, aim, slack) for t, o in pairs) / n,
        "loss": sum(max(t.truth) - t.truth[o.ranking[0]] for t, o in pairs) / n,
        "calls": sum(o.calls for o in outcomes) / n,
        "futures": sum(sum(o.counts) for o in outcomes) / n,
        "confidence": sum(o.confidence for o in outcomes) / n,
    }


def bias_of_means(tables: Sequence[Table], plan: SamplePlan) -> dict[str, float]:
    """Return the mean error of rewards, and how often 95 % intervals hold, by who won."""
    errors: dict[str, list[float]] = {"best": [], "others": []}
    held: dict[str, list[bool]] = {"best": [], "others": []}
    for table in tables:
        outcome = play(table, plan)
        for c, count in enumerate(outcome.counts):
            found = estimate(table.values[c][:count], value_range=table.range)
            who = "best" if c == outcome.ranking[0] else "others"
            errors[who].append(found.mean - table.truth[c])
            if found.interval is not None:
                low, high = found.interval.low - TIE, found.interval.high + TIE
                held[who].append(low <= table.truth[c] <= high)
    every = errors["best"] + errors["others"]
    return {
        "bias": sum(every) / len(every),
        "bias_best": sum(errors["best"]) / len(errors["best"]),
        "bias_others": sum(errors["others"]) / len(errors["others"]),
        "bias_stderr": _error_of_mean(every),
        "coverage": sum(held["best"] + held["others"]) / len(every),
        "coverage_best": sum(held["best"]) / len(errors["best"]),
    }


def _error_of_mean(values: Sequence[float]) -> float:
    mean = sum(values) / len(values)
    return (sum((x - mean) ** 2 for x in values) / len(values)) ** 0.5 / len(values) ** 0.5
