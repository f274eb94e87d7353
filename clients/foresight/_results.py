"""What a service answers, as frozen objects.

A failure is never a number: where a candidate, a future or a metric failed, its value is `None`
and `error` says why. Objects hold no reference to a channel and can be pickled.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, overload

from foresight._decision import Decision, Difference, Interval, Lead, Lift
from foresight._difference import paired_difference
from foresight._scores import Artifact, MetricInfo, MetricScore, MetricSummary, ValueRange, Verdict
from foresight.errors import ForesightError

__all__ = [
    "Artifact",
    "CacheUse",
    "CandidateReward",
    "Decision",
    "Difference",
    "Future",
    "Interval",
    "Lead",
    "Lift",
    "Message",
    "MetricInfo",
    "MetricScore",
    "MetricSummary",
    "ModelUsage",
    "OriginCounts",
    "PolicyVersion",
    "Rewards",
    "Usage",
    "ValueRange",
    "Verdict",
]


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation."""

    role: str
    """Who speaks: `system`, `user` or `assistant`."""
    content: str
    """The text."""


@dataclass(frozen=True, slots=True)
class PolicyVersion:
    """A policy and one version of its weights."""

    name: str
    """Name of the policy."""
    version: int
    """Version of the weights."""


@dataclass(frozen=True, slots=True)
class ModelUsage:
    """What the models of one role were asked for."""

    calls: int
    """Number of model calls."""
    prompt_tokens: int
    """Tokens read by the model."""
    completion_tokens: int
    """Tokens written by the model."""
    cached_tokens: int = 0
    """Tokens read from the backend's prefix cache, a part of `prompt_tokens`."""
    retries: int = 0
    """Calls, among `calls`, that repeated one that failed."""
    hedges: int = 0
    """Calls, among `calls`, that raced a slow one."""
    dollars: float = 0.0
    """Price of the tokens in US dollars by the service's price table; 0 without a price."""

    @property
    def tokens(self) -> int:
        """Tokens read and written."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class Usage:
    """What a result cost."""

    messages: int
    """Messages that were simulated, candidates not included."""
    models: Mapping[str, ModelUsage] = field(hash=False)
    """Calls and tokens by role (`user`, `policy`, `judge`); a role without a call is left out."""
    seconds: float
    """Time from the start of the work to its end, as the service saw it."""

    @property
    def tokens(self) -> int:
        """Tokens read and written by all models."""
        return sum(model.tokens for model in self.models.values())

    @property
    def dollars(self) -> float:
        """Price of the tokens of all models in US dollars; those without a price count 0."""
        return math.fsum(model.dollars for model in self.models.values())


@dataclass(frozen=True, slots=True)
class Future:
    """One simulated continuation of a candidate, scored."""

    sample_index: int
    """Sample index, from 0; the same index of another candidate shares its draws."""
    objective: float | None
    """The objective of the complete conversation; `None` where the future failed.

    In the profile `verl` a reward is not the mean of these."""
    error: ForesightError | None
    """Why there is no objective."""
    scores: tuple[MetricScore, ...]
    """Scores, in the order of the objective; empty where the simulation failed."""
    termination: Literal["horizon", "user_ended", "context_exhausted"] | None
    """How it ended; `None` where the simulation failed."""
    goal: str
    """What the user wanted; empty without `include_futures`."""
    messages: tuple[Message, ...]
    """The messages after the candidate; empty without `include_futures`."""
    policy: PolicyVersion | None
    """The policy version that really answered; `None` where the service did not say."""
    usage: Usage
    """Cost, scoring included."""
    persona: str
    """Name of the persona that the user simulator played; empty for none."""
    artifacts: tuple[Artifact, ...] = ()
    """What was extracted for the metrics; empty without `include_futures`."""
    origin: Literal["computed", "found", "shared"] | None = None
    """Where the conversation came from: computed for this request, found in the cache, or shared
    with a request that was computing it at the time. `None` where it was given up."""
    cost: Usage | None = None
    """What it cost whoever computed it; `None` where that is `usage`."""


@dataclass(frozen=True, slots=True, repr=False)
class CandidateReward:
    """One candidate's multiturn-aware reward, or why it has none."""

    candidate_index: int
    """Position of the candidate in the request, from 0."""
    value: float | None
    """The reward over the futures that succeeded; `None` where `status` is `failed`.

    It is the mean of their objectives; in the profile `verl`, the sum of the metrics' weighted
    means, each clamped to -1..1.
    """
    stderr: float | None
    """Standard error of the value; `None` with fewer than two futures."""
    interval: Interval | None
    """Confidence interval of the value; `None` where no honest one exists."""
    status: Literal["complete", "partial", "failed"]
    """`complete`: all futures that were asked for are in it. `partial`: enough of them are."""
    error: ForesightError | None
    """Why there is no value."""
    n_ok: int
    """Futures that were simulated and scored."""
    n_requested: int
    """Futures that were asked for; with adaptive sampling, those that were wanted."""
    metrics: Mapping[str, MetricSummary] = field(hash=False)
    """Metrics by label, in the order of the objective."""
    futures: tuple[Future, ...]
    """All futures, by sample index."""
    usage: Usage
    """Cost of this candidate."""
    reward_id: str
    """Id for `get_reward` and `rescore_reward`; empty where the service did not store it."""
    behind_best: Lead | None = None
    """By how much the best candidate leads this one, by paired differences; `None` for the best one
    and where they share no sample index. On a stream a candidate's own event may come before it is
    known; the group's event has it."""
    lift: Lift | None = None
    """By how much it is above what the policy says itself; only with `simulation.baseline`, and
    `None` where no response of it has a reward."""
    response: str = ""
    """The response itself, where it is one of `Rewards.baseline`; empty where none was drawn."""

    def __repr__(self) -> str:
        if self.value is None:
            error = self.error
            head = f"none, {type(error).__name__}: {error}"
        else:
            head = f"{self.value:.3f}"
            if self.stderr is not None:
                head += f" ± {self.stderr:.3f}"
        parts = [head]
        if self.interval is not None:
            parts.append(str(self.interval))
        if self.lift is not None:
            parts.append(f"lift {self.lift}")
        parts.append(f"n {self.n_ok}/{self.n_requested}")
        if self.status == "partial":
            parts.append("partial")
        parts += [f"{m.name} {m.mean:.3g}" for m in self.metrics.values() if m.mean is not None]
        return f"Reward(candidate {self.candidate_index}: {', '.join(parts)})"


@dataclass(frozen=True, slots=True)
class OriginCounts:
    """How many futures or scores came from where."""

    computed: int = 0
    """Computed for this request."""
    found: int = 0
    """Found in the service's cache."""
    shared: int = 0
    """Computed by another request at the time."""


@dataclass(frozen=True, slots=True)
class CacheUse:
    """What the service's cache did for a request."""

    futures: OriginCounts = OriginCounts()
    """Of its futures, those that failed included; those given up at the deadline do not count."""
    scores: OriginCounts = OriginCounts()
    """Of its scores, likewise."""


@dataclass(frozen=True, slots=True)
class Rewards(Sequence[CandidateReward]):
    """Rewards of all candidates of a request: a sequence in the order of the candidates."""

    request_id: str
    """Name of the request."""
    candidates: tuple[CandidateReward, ...]
    """The rewards."""
    profile: str
    """The objective profile that was applied."""
    profile_version: str
    """Version of the profile's definition."""
    metrics: tuple[MetricInfo, ...]
    """The metrics as they were applied."""
    objective_range: ValueRange | None
    """The values that the objective can take; `None` where a metric has no bound."""
    usage: Usage
    """The whole request's cost."""
    cache: CacheUse = CacheUse()
    """What the service's cache did for it."""
    decision: Decision | None = None
    """What the futures say about the order; only with `samples.decide`."""
    best: int | None = None
    """Position of the candidate that the others are compared with in `behind_best`; `None` where no
    candidate has a future that succeeded."""
    baseline: tuple[CandidateReward, ...] = ()
    """What the policy says itself, one for each draw, with its `response`; only with
    `simulation.baseline`. A response that could not be drawn has an `error`."""

    @property
    def values(self) -> list[float | None]:
        """The rewards as numbers, `None` where a candidate could not be scored."""
        return [candidate.value for candidate in self.candidates]

    def difference(self, a: int, b: int) -> Difference | None:
        """Return how much better candidate `a` is than `b`, by paired differences.

        `None` where no sample index has an objective for both. In the profile `verl` it is that of
        the futures' own objectives.
        """
        return paired_difference(self.candidates[a].futures, self.candidates[b].futures)

    def __len__(self) -> int:
        return len(self.candidates)

    def __iter__(self) -> Iterator[CandidateReward]:
        return iter(self.candidates)

    @overload
    def __getitem__(self, index: int) -> CandidateReward: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[CandidateReward, ...]: ...
    def __getitem__(self, index: int | slice) -> CandidateReward | tuple[CandidateReward, ...]:
        return self.candidates[index]
