"""A request for rewards: as it was asked, and checked with its defaults filled in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Final

from foresight_services.core import baseline, checks
from foresight_services.core.allocation import SamplePlan
from foresight_services.core.baseline import BaselinePlan
from foresight_services.core.budget import NO_LIMIT, Budget
from foresight_services.core.cache_use import CacheMode
from foresight_services.core.conversation import Conversation
from foresight_services.core.errors import Violation
from foresight_services.core.objective import NO_CLAMP, MetricSpec, Objective
from foresight_services.core.profiles import PROFILES
from foresight_services.core.sampling_query import LEAST, SamplingQuery
from foresight_services.core.suggest import one_of
from foresight_services.core.task import PolicyRef, Preset, Task

MAX_METADATA: Final = 64
MAX_WEIGHT: Final = 1e9
MAX_REQUEST_ID: Final = 128
MAX_JOB: Final = 128
MAX_PERSONAS: Final = 64
MAX_LABEL: Final = 64

NO_PRESET: Final = Preset(
    task=Task(),
    objective=Objective(),
    horizon_messages=4,
    samples_max=3,
    max_message_tokens=1024,
)
"""The defaults of a request that names no preset."""


@dataclass(frozen=True, slots=True)
class RewardQuery:
    """What the caller asked for, unchecked; None stands for the default."""

    task: Task
    """What the conversation is about."""
    prefix: Conversation
    """The conversation before the candidates; roles are unchecked."""
    candidates: tuple[str, ...]
    """Assistant responses to score."""
    objective: Objective = field(default_factory=lambda: Objective(profile=""))
    """What makes a conversation good; an empty profile or list of metrics is the default."""
    horizon_messages: int | None = None
    """Length of a future."""
    samples_min: int | None = None
    """Futures that must succeed."""
    samples_max: int | None = None
    """Futures to simulate, or the most of them."""
    sampling: SamplingQuery = SamplingQuery()
    """What decides how many there are up to `samples_max`."""
    baseline: int | None = None
    """Responses that the policy gives itself, to compare with; None for none."""
    seed: int = 0
    """Seed of every draw."""
    policy: PolicyRef = field(default_factory=PolicyRef)
    """The policy that plays the assistant."""
    max_message_tokens: int | None = None
    """Limit on one simulated message."""
    system_prompt_share: float = 0.0
    """Share of the samples in which the policy gets the configured system prompt, 0 to 1."""
    proactive_share: float = 0.0
    """Share of the samples in which the policy is told to be proactive, 0 to 1."""
    request_id: str = ""
    """The caller's name for the request."""
    budget: Budget = NO_LIMIT
    """What its model calls may cost."""
    job: str = ""
    """The training job that it is for; empty for none."""
    personas: tuple[str, ...] = ()
    """Personas that the user may play; empty for the default."""
    cache: str = ""
    """How the cache is used, a `CacheMode`; empty for the default one."""


@dataclass(frozen=True, slots=True)
class RewardRequest:
    """A request that can be served; see RewardQuery for the fields.

    Shares are counts here: of the sample indices below them, or with a plan of those that are
    spread evenly over all.
    """

    task: Task
    prefix: Conversation
    candidates: tuple[str, ...]
    objective: Objective
    horizon_messages: int
    samples_min: int
    samples_max: int
    seed: int
    policy: PolicyRef
    max_message_tokens: int
    system_prompt_samples: int = 0
    proactive_samples: int = 0
    budget: Budget = NO_LIMIT
    job: str = ""
    personas: tuple[str, ...] = ()
    cache: CacheMode = CacheMode.DEFAULT
    plan: SamplePlan | None = None
    """How outcomes decide the number of futures; None where every candidate gets `samples_max`."""
    baseline: BaselinePlan | None = None
    """What the policy gives itself, to compare with; None for nothing."""

    @property
    def samples_first(self) -> int:
        """Futures that every candidate gets in any case."""
        return self.samples_max if self.plan is None else self.plan.first


def share_of(samples: int, share: float) -> int:
    """Return how many of `samples` are `share` of them, rounded down.

    The share counts as the decimal number that was written: 0.29 of 100 is 29, though the nearest
    float times 100 is less.
    """
    return int(Fraction(repr(share)) * samples)


def resolve(query: RewardQuery, presets: Mapping[str, Preset]) -> RewardRequest:
    """Check `query`, fill in its defaults, and return the request to serve.

    Raises:
        InvalidInput: with every field that is wrong, by its path in the contract.
    """
    checks.require(_violations(query, presets))
    preset = presets.get(query.task.preset, NO_PRESET)
    samples_max = _given(query.samples_max, max(preset.samples_max, query.samples_min or 1))
    sampling = query.sampling
    samples_min = min(samples_max, LEAST) if sampling.adaptive else (samples_max + 1) // 2
    return RewardRequest(
        task=_with_defaults(query.task, preset.task),
        prefix=query.prefix,
        candidates=query.candidates,
        objective=_prepared(with_objective(query.objective, preset.objective)),
        horizon_messages=_given(query.horizon_messages, preset.horizon_messages),
        samples_min=_given(query.samples_min, samples_min),
        samples_max=samples_max,
        plan=sampling.plan(query.samples_min, samples_max, len(query.candidates)),
        seed=query.seed,
        policy=query.policy,
        max_message_tokens=_given(query.max_message_tokens, preset.max_message_tokens),
        system_prompt_samples=share_of(samples_max, query.system_prompt_share),
        proactive_samples=share_of(samples_max, query.proactive_share),
        budget=query.budget,
        job=query.job,
        personas=query.personas or preset.personas,
        cache=CacheMode(query.cache or CacheMode.DEFAULT),
        baseline=_baseline(query),
    )


def _baseline(query: RewardQuery) -> BaselinePlan | None:
    if query.baseline is None:
        return None
    return BaselinePlan(
        query.baseline,
        share_of(query.baseline, query.system_prompt_share),
        share_of(query.baseline, query.proactive_share),
    )


def completed(query: RewardQuery, request: RewardRequest) -> RewardQuery:
    """Return `query` with the defaults that `request`, resolved from it, was served with."""
    return replace(
        query,
        task=request.task,
        objective=request.objective,
        horizon_messages=request.horizon_messages,
        samples_min=request.samples_min,
        samples_max=request.samples_max,
        sampling=query.sampling.completed(request.plan),
        max_message_tokens=request.max_message_tokens,
        personas=request.personas,
    )


def _violations(query: RewardQuery, presets: Mapping[str, Preset]) -> Iterator[Violation]:
    if len(query.request_id) > MAX_REQUEST_ID:
        yield Violation(
            "request_id", f"has {len(query.request_id)} characters; at most {MAX_REQUEST_ID}"
        )
    if len(query.job) > MAX_JOB:
        yield Violation("job", f"has {len(query.job)} characters; at most {MAX_JOB}")
    if query.cache and query.cache not in {mode.value for mode in CacheMode}:
        yield Violation("cache", one_of(query.cache, [mode.value for mode in CacheMode]))
    yield from checks.budget(query.budget)
    yield from _task(query.task, presets)
    yield from checks.prefix(query.prefix)
    yield from checks.candidates(query.candidates)
    yield from _objective(query, presets)
    yield from _simulation(query)


def _given(asked: int | None, default: int) -> int:
    """Return what was asked for, 0 included, else the default."""
    return default if asked is None else asked


def _with_defaults(task: Task, defaults: Task) -> Task:
    return replace(
        task,
        description=task.description or defaults.description,
        guidance=task.guidance or defaults.guidance,
        goal=task.goal or defaults.goal,
        reference=task.reference or defaults.reference,
        world=task.world or defaults.world,
        metadata={**defaults.metadata, **task.metadata},
    )


def with_objective(objective: Objective, defaults: Objective) -> Objective:
    """Return `objective` with `defaults`; its limits are those of its profile."""
    clamp = objective.clamp
    if clamp == NO_CLAMP and not objective.profile:
        clamp = defaults.clamp
    return Objective(
        profile=objective.profile or defaults.profile,
        metrics=objective.metrics or defaults.metrics,
        clamp=clamp,
    )


def _prepared(objective: Objective) -> Objective:
    """Return `objective` with its profile's defaults of the metrics' parameters."""
    profile = PROFILES[objective.profile]
    return replace(objective, metrics=tuple(map(profile.prepared, objective.metrics)))


def _task(task: Task, presets: Mapping[str, Preset]) -> Iterator[Violation]:
    defaults = presets.get(task.preset, NO_PRESET).task
    if task.preset and task.preset not in presets:
        yield Violation("task.preset", one_of(task.preset, presets))
    elif not (task.goal or task.world or defaults.goal or defaults.world):
        yield Violation(
            "task.goal", "is empty; say what the user wants, or name a preset or a world"
        )
    for name in ("description", "guidance", "goal", "reference"):
        yield from checks.size(f"task.{name}", getattr(task, name))
    if len(task.metadata) > MAX_METADATA:
        yield Violation(
            "task.metadata", f"has {len(task.metadata)} entries; at most {MAX_METADATA}"
        )
    for key, value in sorted(task.metadata.items()):
        for text in (key, value):
            yield from checks.size(f"task.metadata[{key[:64]!r}]", text)


def _objective(query: RewardQuery, presets: Mapping[str, Preset]) -> Iterator[Violation]:
    objective = query.objective
    if objective.profile and objective.profile not in PROFILES:
        yield Violation("objective.profile", one_of(objective.profile, PROFILES))
    unknown_preset = query.task.preset and query.task.preset not in presets
    defaults = presets.get(query.task.preset, NO_PRESET).objective
    if not (objective.metrics or defaults.metrics or unknown_preset):
        yield Violation("objective.metrics", "is empty; name at least one metric")
    if len(objective.metrics) > checks.MAX_METRICS:
        yield Violation(
            "objective.metrics",
            f"has {len(objective.metrics)} entries; at most {checks.MAX_METRICS}",
        )
    seen: dict[str, int] = {}
    for index, spec in enumerate(objective.metrics):
        yield from _metric(f"objective.metrics[{index}]", spec)
        if spec.name and spec.title in seen:
            field, title = "label" if spec.label else "name", spec.title[:MAX_LABEL]
            yield Violation(
                f"objective.metrics[{index}].{field}",
                f"{title!r} is already metric {seen[spec.title]}; give each its own label",
            )
        seen.setdefault(spec.title, index)
    complete = with_objective(objective, defaults)
    if complete.profile in PROFILES:
        yield from PROFILES[complete.profile].violations(complete)


def _metric(path: str, spec: MetricSpec) -> Iterator[Violation]:
    if not spec.name:
        yield Violation(f"{path}.name", "is empty; name the metric")
    if not abs(spec.weight) <= MAX_WEIGHT:  # also refuses NaN
        yield Violation(
            f"{path}.weight",
            f"is {spec.weight}; must be a finite number, -{MAX_WEIGHT:g} to {MAX_WEIGHT:g}",
        )
    if len(spec.label) > MAX_LABEL:
        yield Violation(f"{path}.label", f"has {len(spec.label)} characters; at most {MAX_LABEL}")
    yield from checks.size(f"{path}.artifact", spec.artifact)


def _simulation(query: RewardQuery) -> Iterator[Violation]:
    for name, value, low, high in (
        ("horizon_messages", query.horizon_messages, 0, checks.MAX_HORIZON),
        ("max_message_tokens", query.max_message_tokens, 1, checks.MAX_MESSAGE_TOKENS),
        ("samples.max", query.samples_max, 1, checks.MAX_SAMPLES),
        ("samples.min", query.samples_min, 1, checks.MAX_SAMPLES),
    ):
        yield from checks.integer(f"simulation.{name}", value, low, high)
    if query.samples_max is not None and (query.samples_min or 0) > query.samples_max >= 1:
        yield Violation(
            "simulation.samples.min",
            f"is {query.samples_min}, more than `max`, {query.samples_max}; must be at most that",
        )
    yield from query.sampling.violations(
        query.samples_min, query.samples_max, len(query.candidates)
    )
    yield from baseline.violations(query.baseline, len(query.candidates))
    if len(query.personas) > MAX_PERSONAS:
        problem = f"has {len(query.personas)} entries; at most {MAX_PERSONAS}"
        yield Violation("simulation.personas", problem)
    for name in ("system_prompt_share", "proactive_share"):
        share = getattr(query, name)
        if not 0.0 <= share <= 1.0:  # also refuses NaN
            yield Violation(f"simulation.{name}", f"is {share}; must be 0 to 1")
    if not query.policy.name:
        yield Violation("simulation.policy.name", "is empty; name a policy")
