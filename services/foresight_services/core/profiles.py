"""Profiles: the rules that join metric scores to a reward (docs/objectives.md).

Each has a version, so that a reward can say by which rule it was made; a change of a number is a
new version. A profile fills in defaults of parameters, complains about an objective that it cannot
serve, and binds one that it can to an `Aggregation`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import ClassVar, Final

from foresight_services.core.aggregation import Aggregation, MeanOfSums, SumOfMeans, Term
from foresight_services.core.errors import InvalidInput, Violation
from foresight_services.core.objective import (
    NO_CLAMP,
    Clamp,
    JsonValue,
    MetricSpec,
    Objective,
    Range,
)

MAX_LIMIT: Final = 1e100
"""Largest magnitude of a limit, far from where sums and squares overflow."""

TOKEN_AMOUNT: Final = "token_amount"
"""The metric whose weighted score is the paper's penalty for length."""

INTERACTION_JUDGES: Final = frozenset({"interactivity", "helpfulness"})
"""The metrics that make up the paper's R_LLM."""


class Profile(ABC):
    """A rule that joins metric scores; of a plain one, metrics take neither limits nor more."""

    name: ClassVar[str]
    """Name of the profile."""
    version: ClassVar[str]
    """Version of its definition."""
    parameters: ClassVar[Mapping[str, Mapping[str, JsonValue]]] = MappingProxyType({})
    """Parameters by metric, filled in where a spec leaves them open."""

    def prepared(self, spec: MetricSpec) -> MetricSpec:
        """Return `spec` with the profile's defaults of its parameters."""
        defaults = self.parameters.get(spec.name)
        return replace(spec, parameters={**defaults, **spec.parameters}) if defaults else spec

    def violations(self, objective: Objective) -> Iterator[Violation]:
        """Yield what the profile cannot serve in `objective`, by field of the request."""
        only = "is for the profile 'custom' alone"
        for index, spec in enumerate(objective.metrics):
            if spec.normalise:
                yield Violation(f"objective.metrics[{index}].normalise", only)
            if spec.clamp != NO_CLAMP:
                yield Violation(f"objective.metrics[{index}].clamp", only)
        if objective.clamp != NO_CLAMP:
            yield Violation("objective.clamp", only)

    @abstractmethod
    def bind(self, objective: Objective, ranges: Sequence[Range | None]) -> Aggregation:
        """Return the arithmetic for an objective without violations.

        Args:
            objective: the metrics and their weights.
            ranges: the metrics' ranges, in the order of the objective; None for no bound.

        Raises:
            InvalidInput: where the objective needs a range that a metric does not have.
        """


class Release(Profile):
    """The weighted sum of CollabLLM 0.0.8 (`collabllm/reward.py`): no cap, no clamp."""

    name = "release"
    version = "1"

    def bind(self, objective: Objective, ranges: Sequence[Range | None]) -> Aggregation:
        """Return the mean of weighted sums."""
        return MeanOfSums(_terms(objective, ranges))


class Paper(Profile):
    """R* = R_ext + R_int of the paper (CollabLLM, ICML 2025, section 3).

    R_int = -min(lambda * TokenCount, 1) + R_LLM, the tokens those that the user reads and writes
    from the candidate on. R_LLM is the mean of the interaction judges' weighted scores, as in the
    code of the paper's time; R_ext the weighted sum of all other metrics.
    """

    name = "paper"
    version = "1"
    parameters = MappingProxyType({TOKEN_AMOUNT: MappingProxyType({"scope": "future"})})

    def violations(self, objective: Objective) -> Iterator[Violation]:
        """Yield what the paper's objective does not have: limits, or a reward for length."""
        yield from super().violations(objective)
        for index, spec in enumerate(objective.metrics):
            if spec.name == TOKEN_AMOUNT and spec.weight > 0:
                yield Violation(
                    f"objective.metrics[{index}].weight",
                    f"is {spec.weight:g}; in the profile 'paper' tokens are a cost: give a weight"
                    " of at most 0",
                )

    def bind(self, objective: Objective, ranges: Sequence[Range | None]) -> Aggregation:
        """Return the mean of the conversations' R*."""
        judges = sum(
            spec.name in INTERACTION_JUDGES and spec.weight != 0 for spec in objective.metrics
        )
        terms = []
        for term, spec in zip(_terms(objective, ranges), objective.metrics, strict=True):
            if spec.name == TOKEN_AMOUNT:
                # A count is not negative, so the penalty has an upper limit even without a range.
                terms.append(replace(term, clamp=Clamp(-1.0, 0.0)))
            elif spec.name in INTERACTION_JUDGES and judges:
                terms.append(replace(term, weight=spec.weight / judges))
            else:
                terms.append(term)
        return MeanOfSums(tuple(terms))


class Verl(Profile):
    """The recipe for verl: each metric's weighted mean over the futures, clamped, then summed.

    The recipe counts words of candidate and future, both roles, one by one.
    """

    name = "verl"
    version = "1"
    parameters = MappingProxyType(
        {
            TOKEN_AMOUNT: MappingProxyType(
                {"scope": "future", "tokenizer": "whitespace", "unit": "token"}
            )
        }
    )

    def bind(self, objective: Objective, ranges: Sequence[Range | None]) -> Aggregation:
        """Return the sum of clamped means."""
        limits = Clamp(-1.0, 1.0)
        return SumOfMeans(tuple(replace(term, clamp=limits) for term in _terms(objective, ranges)))


class Custom(Profile):
    """The weighted sum, normalised and limited as the objective says."""

    name = "custom"
    version = "1"

    def violations(self, objective: Objective) -> Iterator[Violation]:
        """Yield limits that are none."""
        for index, spec in enumerate(objective.metrics):
            yield from _limits(f"objective.metrics[{index}].clamp", spec.clamp)
        yield from _limits("objective.clamp", objective.clamp)

    def bind(self, objective: Objective, ranges: Sequence[Range | None]) -> Aggregation:
        """Return the mean of limited sums; InvalidInput where a range to normalise by lacks."""
        terms = tuple(
            replace(term, clamp=spec.clamp, normalise=spec.normalise)
            for term, spec in zip(_terms(objective, ranges), objective.metrics, strict=True)
        )
        without = tuple(
            Violation(
                f"objective.metrics[{index}].normalise",
                f"{term.title!r} has no range here to be normalised by",
            )
            for index, term in enumerate(terms)
            if term.normalise and term.limits is None
        )
        if without:
            raise InvalidInput(without)
        return MeanOfSums(terms, objective.clamp)


def _terms(objective: Objective, ranges: Sequence[Range | None]) -> tuple[Term, ...]:
    """Return each metric's weighted score."""
    return tuple(
        Term(spec.title, spec.weight, values)
        for spec, values in zip(objective.metrics, ranges, strict=True)
    )


def _limits(path: str, clamp: Clamp) -> Iterator[Violation]:
    ends = (("min", clamp.low), ("max", clamp.high))
    wrong = [(name, end) for name, end in ends if end is not None and not abs(end) <= MAX_LIMIT]
    for name, end in wrong:  # NaN among them
        yield Violation(
            f"{path}.{name}",
            f"is {end}; must be a finite number, -{MAX_LIMIT:g} to {MAX_LIMIT:g}",
        )
    if not wrong and clamp.low is not None and clamp.high is not None and clamp.low > clamp.high:
        yield Violation(
            f"{path}.min",
            f"is {clamp.low:g}, more than `max`, {clamp.high:g}; must be at most that",
        )


PROFILES: Final[Mapping[str, Profile]] = MappingProxyType(
    {profile.name: profile for profile in (Release(), Paper(), Verl(), Custom())}
)
"""Every profile by its name."""
