"""Objectives bound to ranges, chosen by a test or drawn."""

from __future__ import annotations

import random
from collections.abc import Sequence

from foresight_services.core.aggregation import Aggregation, Row
from foresight_services.core.objective import NO_CLAMP, Clamp, MetricSpec, Objective, Range
from foresight_services.core.profiles import PROFILES

UNIT = Range(0.0, 1.0)
NAMES = ("accuracy", "bleu", "interactivity", "helpfulness", "token_amount")


def bound(
    profile: str,
    *specs: MetricSpec,
    ranges: Sequence[Range | None] | None = None,
    clamp: Clamp = NO_CLAMP,
) -> Aggregation:
    """Return the arithmetic of an objective that has no violations, by default without ranges."""
    objective = Objective(profile, specs, clamp)
    assert not list(PROFILES[profile].violations(objective))
    return PROFILES[profile].bind(objective, [None] * len(specs) if ranges is None else ranges)


def spec(name: str, weight: float = 1.0, **fields: object) -> MetricSpec:
    """Return a metric with its weight."""
    return MetricSpec(name, weight, **fields)  # type: ignore[arg-type]


def drawn(profile: str, rng: random.Random) -> tuple[list[MetricSpec], list[Range], list[Row]]:
    """Return random metrics, their ranges, and scores, the ends of the ranges too."""
    specs: list[MetricSpec] = []
    ranges: list[Range] = []
    for index in range(rng.randint(1, 6)):
        name = rng.choice(NAMES)
        weight = rng.choice((0.0, 1.0, rng.uniform(-3.0, 3.0)))
        if profile == "paper" and name == "token_amount":
            weight = -abs(weight)
        wishes: dict[str, object] = {}
        if profile == "custom":
            clamp = Clamp(
                rng.choice((None, rng.uniform(-2.0, 0.0))),
                rng.choice((None, rng.uniform(0.0, 2.0))),
            )
            wishes = {"normalise": rng.random() < 0.5, "clamp": clamp}
        specs.append(spec(name, weight, label=f"metric {index}", **wishes))
        low = 0.0 if name == "token_amount" else rng.choice((0.0, rng.uniform(-2.0, 2.0)))
        ranges.append(Range(low, low + rng.uniform(0.1, 3.0)))
    rows: list[Row] = [
        [rng.choice((r.low, r.high, rng.uniform(r.low, r.high))) for r in ranges] for _ in range(20)
    ]
    return specs, ranges, rows
