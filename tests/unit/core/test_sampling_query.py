"""How many futures a caller wants: refused by field where it makes no sense, else made a plan."""

from __future__ import annotations

import math
from typing import Any

import pytest

from foresight_services.core.allocation import SamplePlan
from foresight_services.core.errors import InvalidInput
from foresight_services.core.idempotency import asked_for
from foresight_services.core.request import RewardRequest, completed, resolve
from foresight_services.core.sampling_query import SamplingQuery
from tests.fakes.reward import query

BEST: dict[str, Any] = {"decide": "best"}
TARGET: dict[str, Any] = {"target_stderr": 0.1}

WRONG: list[tuple[str, dict[str, Any], dict[str, Any], set[str]]] = [
    ("no most", TARGET, {"samples_max": None}, {"max"}),
    ("no most for a decision", BEST, {"samples_max": None}, {"max"}),
    ("target of nothing", {"target_stderr": 0.0}, {}, {"target_stderr"}),
    ("target below nothing", {"target_stderr": -1.0}, {}, {"target_stderr"}),
    ("target that is no number", {"target_stderr": math.nan}, {}, {"target_stderr"}),
    ("target without end", {"target_stderr": math.inf}, {}, {"target_stderr"}),
    ("target and decision", TARGET | BEST, {}, {"target_stderr"}),
    ("unknown decision", {"decide": "worst"}, {}, {"decide"}),
    ("certainty", BEST | {"confidence": 1.0}, {}, {"confidence"}),
    ("no confidence", BEST | {"confidence": 0.0}, {}, {"confidence"}),
    ("confidence that is no number", BEST | {"confidence": math.nan}, {}, {"confidence"}),
    ("confidence of a target", TARGET | {"confidence": 0.9}, {}, {"confidence"}),
    ("confidence of nothing", {"confidence": 0.9}, {}, {"confidence"}),
    ("tolerance below nothing", BEST | {"tolerance": -0.1}, {}, {"tolerance"}),
    ("tolerance that is no number", BEST | {"tolerance": math.nan}, {}, {"tolerance"}),
    ("tolerance without end", BEST | {"tolerance": math.inf}, {}, {"tolerance"}),
    ("tolerance of a target", TARGET | {"tolerance": 0.1}, {}, {"tolerance"}),
    ("tolerance of nothing", {"tolerance": 0.1}, {}, {"tolerance"}),
    ("total of plain sampling", {"total": 100}, {}, {"total"}),
    ("no total", BEST | {"total": 0}, {}, {"total"}),
    ("total below the first", BEST | {"total": 5}, {}, {"total"}),
    ("total below the least", BEST | {"total": 15}, {"samples_min": 8}, {"total"}),
    ("total beyond all", BEST | {"total": 262_145}, {}, {"total"}),
    ("window of plain sampling", {"window": 4}, {}, {"window"}),
    ("no window", BEST | {"window": 0}, {}, {"window"}),
    ("window beyond all", TARGET | {"window": 1025}, {}, {"window"}),
    (
        "everything at once",
        {"decide": "x", "confidence": 2.0, "tolerance": -1.0, "window": -1, "total": -1},
        {},
        {"decide", "confidence", "tolerance", "window", "total"},
    ),
]


def asked(sampling: dict[str, Any], **fields: Any) -> RewardRequest:
    given = {"candidates": ("one", "two"), "samples_max": 10, **fields}
    return resolve(query(sampling=SamplingQuery(**sampling), **given), {})


@pytest.mark.parametrize(
    ("sampling", "fields", "wrong"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG]
)
def test_what_makes_no_sense_is_refused_by_field(
    sampling: dict[str, Any], fields: dict[str, Any], wrong: set[str]
) -> None:
    with pytest.raises(InvalidInput) as refused:
        asked(sampling, **fields)
    assert {v.field for v in refused.value.violations} == {f"simulation.samples.{f}" for f in wrong}
    assert all(v.description for v in refused.value.violations)


@pytest.mark.parametrize(
    ("sampling", "fields", "plan", "least"),
    [
        (TARGET, {}, SamplePlan(10, 3, 0.1, window=4), 2),
        (TARGET, {"samples_max": 1}, SamplePlan(1, 1, 0.1, window=4), 1),
        (TARGET, {"samples_min": 5}, SamplePlan(10, 5, 0.1, window=4), 5),
        (TARGET | {"total": 6}, {}, SamplePlan(10, 3, 0.1, total=6, window=2), 2),
        (BEST, {}, SamplePlan(10, 3, aim="best", window=2), 2),
        (
            {"decide": "ranking", "confidence": 0.5, "tolerance": 0.25, "window": 7},
            {"samples_min": 1},
            SamplePlan(10, 3, aim="ranking", confidence=0.5, tolerance=0.25, window=7),
            1,
        ),
    ],
)
def test_the_plan(
    sampling: dict[str, Any], fields: dict[str, Any], plan: SamplePlan, least: int
) -> None:
    request = asked(sampling, **fields)
    assert request.plan == plan
    assert (request.samples_min, request.samples_first) == (least, plan.first)
    # What is kept of a request gives the same plan.
    given = query(
        candidates=("one", "two"),
        sampling=SamplingQuery(**sampling),
        **{"samples_max": 10, **fields},
    )
    again = resolve(completed(given, request), {})
    assert again.plan is not None
    assert again.plan.window == plan.window and again.plan.confidence == plan.confidence


def test_a_plain_request_has_no_plan_and_the_name_it_always_had() -> None:
    plain = asked({})
    assert (plain.plan, plain.samples_first, plain.samples_min) == (None, 10, 5)
    assert "plan" not in asked_for(plain)
    assert "plan" in asked_for(asked(BEST))
