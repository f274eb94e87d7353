"""A group: futures in, rewards out, by the request's profile and under its labels."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from foresight_services.core.errors import Failure, Family, InvalidInput, Reason
from foresight_services.core.estimator import estimate
from foresight_services.core.future import (
    ConversationScores,
    EvaluationItem,
    EvaluationSetup,
    FutureId,
    MetricInfo,
    MetricScore,
)
from foresight_services.core.group import Group
from foresight_services.core.objective import NO_CLAMP, Clamp, MetricSpec, Objective, Range
from foresight_services.core.ports import EvaluationSession
from foresight_services.core.request import RewardRequest
from foresight_services.core.result import (
    CandidateResult,
    MetricSummary,
    Reward,
    ScoredFuture,
)
from foresight_services.core.task import PolicyRef, Task
from foresight_services.core.usage import Usage
from tests.fakes.reward import DrivenSimulator, make_rewards, query
from tests.fakes.simulation import OPENING

UNIT = Range(0.0, 1.0)
BROKEN = Failure(Family.UPSTREAM, Reason.METRIC_FAILED, "the judge is away")


def group(
    profile: str,
    *specs: MetricSpec,
    ranges: tuple[Range | None, ...] = (),
    clamp: Clamp = NO_CLAMP,
    samples: int = 3,
) -> Group:
    request = RewardRequest(
        task=Task(goal="the goal"),
        prefix=OPENING,
        candidates=("Sure.",),
        objective=Objective(profile, specs, clamp),
        horizon_messages=4,
        samples_min=1,
        samples_max=samples,
        seed=0,
        policy=PolicyRef(),
        max_message_tokens=100,
    )
    known = ranges or (UNIT,) * len(specs)
    infos = tuple(
        MetricInfo(spec.title, "1", values, metric=spec.name)
        for spec, values in zip(specs, known, strict=True)
    )
    return Group(request, infos)


def scored(sample: int, *outcomes: float | Failure) -> ScoredFuture:
    scores = tuple(MetricScore(str(i), outcome) for i, outcome in enumerate(outcomes))
    return ScoredFuture(FutureId(0, sample), None, scores, None, Usage())


def result(of: Group, *rows: tuple[float | Failure, ...]) -> CandidateResult:
    complete = [of.add(scored(sample, *row)) for sample, row in enumerate(rows)]
    assert complete == [()] * (len(rows) - 1) + [(0,)]
    return of.result(0, 1.0)


def reward(found: CandidateResult) -> Reward:
    assert isinstance(found.outcome, Reward)
    return found.outcome


@pytest.mark.parametrize(
    ("profile", "each", "value"),
    [
        ("release", [0.5 - 4.0, 1.0 - 0.5, 0.0], -3.0 / 3),
        ("paper", [0.5 - 1.0, 1.0 - 0.5, 0.0], 0.0),
        ("verl", [0.5 - 1.0, 1.0 - 0.5, 0.0], 0.5 - 1.0),
        ("custom", [0.5 - 4.0, 1.0 - 0.5, 0.0], -3.0 / 3),
    ],
)
def test_the_profile_makes_the_objective_and_the_reward(profile, each, value) -> None:
    made = group(
        profile,
        MetricSpec("success"),
        MetricSpec("token_amount", -1.0),
        ranges=(UNIT, Range(0.0, 9.0)),
    )
    found = result(made, (0.5, 4.0), (1.0, 0.5), (0.0, 0.0))
    assert [future.objective for future in found.futures] == each
    assert reward(found).estimate.mean == pytest.approx(value)
    summary = made.summary(Usage())
    assert (summary.profile, summary.profile_version) == (profile, "1")
    lowest = -9.0 if profile in ("release", "custom") else -1.0
    assert summary.objective_range == Range(lowest, 1.0)


@pytest.mark.parametrize("profile", ["release", "paper", "verl", "custom"])
def test_a_future_in_which_a_metric_failed_is_left_out_of_every_metric(profile) -> None:
    made = group(profile, MetricSpec("a"), MetricSpec("b", -0.5))
    found = result(made, (0.5, 0.2), (1.0, BROKEN), (0.25, 0.4))
    assert found.futures[1].objective == BROKEN
    assert (found.n_ok, found.status) == (2, "partial")
    assert reward(found).estimate.n == 2
    assert reward(found).estimate.mean == pytest.approx(0.375 - 0.15)
    # What the metric that did not fail said is still told.
    assert found.metrics == (
        MetricSummary("a", pytest.approx(1.75 / 3), 3, 0),  # type: ignore[arg-type]
        MetricSummary("b", pytest.approx(0.3), 2, 1),  # type: ignore[arg-type]
    )


def test_results_go_by_label() -> None:
    made = group(
        "release",
        MetricSpec("rubric", label="clear"),
        MetricSpec("rubric", label="kind"),
        samples=1,
    )
    found = result(made, (0.5, 0.25))
    assert [metric.name for metric in found.metrics] == ["clear", "kind"]
    infos = made.summary(Usage()).metrics
    assert [(info.name, info.metric) for info in infos] == [("clear", "rubric"), ("kind", "rubric")]


def test_a_score_that_is_too_large_fails_its_future_alone() -> None:
    made = group("release", MetricSpec("a", 1e9), ranges=(None,))
    found = result(made, (0.5,), (1e148,), (0.25,))
    failure = found.futures[1].objective
    assert isinstance(failure, Failure)
    assert (failure.reason, failure.metadata) == (Reason.METRIC_FAILED, {"metric": "a"})
    assert reward(found).estimate == estimate([0.5e9, 0.25e9], value_range=None)


def test_limits_of_the_sum_hold_for_every_conversation() -> None:
    made = group("custom", MetricSpec("a", 2.0), clamp=Clamp(high=1.0))
    found = result(made, (1.0,), (0.25,), (0.5,))
    assert [future.objective for future in found.futures] == [1.0, 0.5, 1.0]
    assert reward(found).estimate.mean == pytest.approx(2.5 / 3)


class RangelessEvaluator:
    """Knows one metric, which has no range; implements the port `Evaluator` and its session."""

    metrics = (MetricInfo("worth", "1", None),)

    @asynccontextmanager
    async def open(
        self, setup: EvaluationSetup, *, deadline: float | None = None
    ) -> AsyncIterator[EvaluationSession]:
        """Return itself."""
        yield self

    async def score(self, item: EvaluationItem) -> ConversationScores:
        """Score 1."""
        return ConversationScores(item.id, (MetricScore("worth", 1.0),), Usage())


async def test_a_metric_that_cannot_be_normalised_is_told_before_anything_is_simulated() -> None:
    simulator = DrivenSimulator()
    rewards = make_rewards(simulator, evaluator=RangelessEvaluator())
    asked = query(objective=Objective("custom", (MetricSpec("worth", normalise=True),)))
    with pytest.raises(InvalidInput) as refused:
        async for event in rewards.compute(asked):
            raise AssertionError(event)
    assert [v.field for v in refused.value.violations] == ["objective.metrics[0].normalise"]
    assert simulator.requests == []
