"""What a computation tells: futures as they end, candidates' rewards, a summary."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from foresight_services.core.cache_use import CacheUse, Origin
from foresight_services.core.decision import Aim
from foresight_services.core.errors import Failure
from foresight_services.core.estimator import Estimate
from foresight_services.core.future import (
    ConversationScores,
    Extracted,
    Future,
    FutureId,
    MetricInfo,
    MetricScore,
    SimulatedFuture,
)
from foresight_services.core.lift import Lift
from foresight_services.core.objective import Range
from foresight_services.core.usage import Usage, total


@dataclass(frozen=True, slots=True)
class FutureFinished:
    """A future has ended."""

    id: FutureId
    """Which one."""
    ok: bool
    """Whether it was simulated and every metric scored it."""


@dataclass(frozen=True, slots=True)
class ScoredFuture:
    """One future with its scores, or why it has none."""

    id: FutureId
    """Which one."""
    simulated: SimulatedFuture | None
    """The conversation; None where the simulation failed."""
    scores: tuple[MetricScore, ...]
    """One for every metric; empty where the simulation or the evaluator failed."""
    error: Failure | None
    """Why it was not simulated or not scored at all."""
    usage: Usage
    """What it cost, its scoring included."""
    abandoned: bool = False
    """Whether it was given up before it ended; `error` tells why."""
    artifacts: tuple[Extracted, ...] = ()
    """What was extracted for the metrics."""
    origin: Origin = Origin.COMPUTED
    """Where the conversation came from."""
    origins: tuple[Origin, ...] = ()
    """Where each score came from."""
    cost: Usage | None = None
    """What it cost whoever computed it, its scoring included; None where that is `usage`."""
    fingerprint: str = ""
    """Fingerprint of the simulator's configuration; empty where nothing of it is cached."""
    asked: tuple[FutureId, ...] = ()
    """Futures that were asked for when this one had ended, and not before."""

    @classmethod
    def of(
        cls, future: Future, simulated: SimulatedFuture, scores: ConversationScores
    ) -> ScoredFuture:
        """Return a future that was simulated and scored."""
        cost = None
        if future.cost is not None or scores.cost is not None:
            cost = _sum(future.cost or future.usage, scores.cost or scores.usage)
        return cls(
            future.id,
            simulated,
            scores.scores,
            None,
            _sum(future.usage, scores.usage),
            artifacts=scores.artifacts,
            origin=future.origin,
            origins=scores.origins or (Origin.COMPUTED,) * len(scores.scores),
            cost=cost,
            fingerprint=future.fingerprint,
        )

    @classmethod
    def failed(cls, future: Future, failure: Failure) -> ScoredFuture:
        """Return a future that ended without scores."""
        return cls(
            future.id,
            None,
            (),
            failure,
            future.usage,
            origin=future.origin,
            cost=future.cost,
        )

    @property
    def failure(self) -> Failure | None:
        """Why this future has no objective: its own failure, else its first failed metric's."""
        if self.error is not None:
            return self.error
        return next((s.outcome for s in self.scores if isinstance(s.outcome, Failure)), None)


def _sum(simulation: Usage, scoring: Usage) -> Usage:
    return total((simulation, scoring), seconds=simulation.seconds + scoring.seconds)


@dataclass(frozen=True, slots=True)
class FutureResult:
    """One future and its objective."""

    scored: ScoredFuture
    """The future and its scores."""
    objective: float | Failure
    """The objective of the complete conversation, or why there is none."""


@dataclass(frozen=True, slots=True)
class MetricSummary:
    """One metric over the futures of a candidate."""

    name: str
    """Name of the metric."""
    mean: float | None
    """Mean over the futures in which it succeeded; None where it never did."""
    n_ok: int
    """Futures in which it succeeded."""
    n_failed: int
    """Futures in which it failed."""


@dataclass(frozen=True, slots=True)
class Reward:
    """A multiturn-aware reward."""

    estimate: Estimate
    """Mean, standard error and interval."""
    complete: bool
    """Whether every future that was asked for is in it."""
    lift: Lift | None = None
    """How much it is above the baseline; None without one, and where none of it has a reward."""


@dataclass(frozen=True, slots=True)
class CandidateResult:
    """One candidate's reward, or why it has none."""

    index: int
    """Position of the candidate in the request."""
    outcome: Reward | Failure
    """The reward, or why there is none."""
    n_ok: int
    """Futures that were simulated and scored."""
    n_requested: int
    """Futures that were asked for."""
    metrics: tuple[MetricSummary, ...]
    """Metrics, in the order of the objective."""
    futures: tuple[FutureResult, ...]
    """All futures, by sample index."""
    usage: Usage
    """What the candidate cost; seconds from the start of the request to this result."""
    reward_id: str = ""
    """What it is kept under; empty where it is not."""
    behind_best: Estimate | None = None
    """By how much the best candidate leads, from the sample indices that both have; None for the
    best itself, where there is no such index, and where the group's end tells it (`GroupSummary`).
    """
    response: str = ""
    """The response itself, where the policy drew it for a baseline."""
    whole: bool = True
    """Whether the baseline that it is compared with lacks nothing; not kept and not sent."""

    @property
    def status(self) -> str:
        """`complete`, `partial`, or the reason of the failure."""
        if isinstance(self.outcome, Failure):
            return self.outcome.reason
        return "complete" if self.outcome.complete else "partial"


DecisionMethod = Literal["product", "bonferroni"]
"""How chances of comparisons make a confidence."""


@dataclass(frozen=True, slots=True)
class GroupDecision:
    """What the futures of a group say about the order of its candidates."""

    aim: Aim
    """What was decided."""
    best: int
    """The candidate that is best as far as is known."""
    ranking: tuple[int, ...]
    """Candidates that have a value, best first."""
    confidence: float
    """The chance that the decision is right, up to the tolerance."""
    method: DecisionMethod
    """How the chances of comparisons make the confidence."""


@dataclass(frozen=True, slots=True)
class GroupSummary:
    """What holds for a group as a whole."""

    profile: str
    """The objective profile that was applied."""
    profile_version: str
    """Version of the profile's definition."""
    metrics: tuple[MetricInfo, ...]
    """The metrics as they were applied."""
    objective_range: Range | None
    """The values that the objective can take; None where a metric has no bound."""
    usage: Usage
    """The cost of the whole group."""
    cache: CacheUse = CacheUse()
    """What the cache did for it."""
    decision: GroupDecision | None = None
    """The decision; None where none was asked for, or no candidate has a value."""
    best: int | None = None
    """The candidate that others are compared with; None where no candidate has a value."""
    leads: tuple[Estimate | None, ...] = ()
    """By how much it leads each candidate; see `CandidateResult`. Empty where there is no best."""
    baseline: tuple[CandidateResult, ...] = ()
    """The responses of the baseline, one for each draw."""

    def standing(self, result: CandidateResult) -> CandidateResult:
        """Return `result`, one of the group's, with how far it is behind the best one."""
        if result.behind_best is not None or not self.leads:
            return result
        lead = self.leads[result.index]
        return result if lead is None else replace(result, behind_best=lead)
