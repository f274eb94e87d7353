"""The baseline of a request: what the policy would have said itself, as asked for and as drawn.

Draws are named by the request's seed, apart from those of its futures, so that equal requests draw
the same responses. A response that the policy gives more than once is simulated once and counts as
often. One that is empty cannot be continued; it counts as not drawn.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Final

from foresight_services.core import checks
from foresight_services.core.cache_use import Origin
from foresight_services.core.errors import Failure, Reason, Upstream, Violation, failure_from
from foresight_services.core.future import MetricInfo
from foresight_services.core.message_request import MessageKind, MessageRequest, SampledMessage
from foresight_services.core.ports import Simulator
from foresight_services.core.seeds import derive_seed
from foresight_services.core.usage import Usage

LEAST_RESPONSES: Final = 2
MOST_RESPONSES: Final = 16

FIELD: Final = "simulation.baseline.responses"


@dataclass(frozen=True, slots=True)
class BaselinePlan:
    """How many responses are drawn, and by which prompts."""

    responses: int
    """How many."""
    system_prompt: int = 0
    """Draws in which the policy gets the configured system prompt, spread evenly over all."""
    proactive: int = 0
    """Draws in which the policy is told to be proactive, likewise."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """The responses of one request's baseline, told once to all who want it."""

    samples: tuple[SampledMessage, ...]
    """One for each draw, by its index."""
    metrics: tuple[MetricInfo, ...] = ()
    """The metrics as they are applied to the responses: where a bound depends on what is scored, it
    is another one than the candidates'. Empty where nothing is scored."""

    @property
    def texts(self) -> tuple[str, ...]:
        """The responses, each once, in the order of their first draws."""
        return tuple(dict.fromkeys(self._said()))

    def _said(self) -> Iterator[str]:
        return (one.outcome for one in self.samples if not isinstance(one.outcome, Failure))

    def shared(self) -> Drawn:
        """Return the same for a request that did not draw them."""
        return replace(self, samples=tuple(map(_shared, self.samples)))

    @classmethod
    def failed(cls, responses: int, failure: Failure) -> Drawn:
        """Return that none was drawn."""
        return cls(tuple(SampledMessage(index, failure, Usage()) for index in range(responses)))


def _shared(sample: SampledMessage) -> SampledMessage:
    origin = Origin.SHARED if sample.origin is Origin.COMPUTED else sample.origin
    return replace(sample, usage=Usage(), origin=origin)


def violations(responses: int | None, candidates: int) -> Iterator[Violation]:
    """Yield what is wrong with asking for so many `responses`; None for no baseline."""
    if responses is None:
        return
    yield from checks.integer(FIELD, responses, LEAST_RESPONSES, MOST_RESPONSES)
    if LEAST_RESPONSES <= responses <= MOST_RESPONSES and candidates <= checks.MAX_CANDIDATES:
        room = checks.MAX_CANDIDATES - candidates
        if responses > room:
            problem = (
                f"is {responses}; with {candidates} candidates there is room for {room}:"
                f" {checks.MAX_CANDIDATES} responses are scored at most"
            )
            yield Violation(FIELD, problem)


async def draw(
    simulator: Simulator, request: MessageRequest, plan: BaselinePlan, deadline: float | None
) -> Drawn:
    """Draw the responses; what fails is a failure of its own draws.

    Args:
        simulator: who draws.
        request: what is asked for, with the seed of the futures; which indices is filled in.
        plan: how many, and by which prompts.
        deadline: when to give up, in the time of the clock.
    """
    kinds: dict[tuple[bool, bool], list[int]] = {}
    for index in range(plan.responses):
        prompts = (
            spread(index, plan.system_prompt, plan.responses),
            spread(index, plan.proactive, plan.responses),
        )
        kinds.setdefault(prompts, []).append(index)
    drawn: dict[int, SampledMessage] = {}
    for (system_prompt, proactive), indices in kinds.items():
        asked = replace(
            request,
            kind=MessageKind.POLICY,
            chosen=tuple(indices),
            seed=derive_seed(request.seed, 0, "baseline"),
            system_prompt=system_prompt,
            proactive=proactive,
        )
        failure = Upstream(
            Reason.SERVICE_UNAVAILABLE, "the simulator ended without this response"
        ).failure
        try:
            async with aclosing(simulator.sample_messages(asked, deadline=deadline)) as samples:
                async for sample in samples:
                    drawn[sample.index] = _usable(sample)
        except Exception as error:
            failure = failure_from(error)
        for index in indices:
            drawn.setdefault(index, SampledMessage(index, failure, Usage()))
    return Drawn(tuple(drawn[index] for index in range(plan.responses)))


def _usable(sample: SampledMessage) -> SampledMessage:
    """Return `sample`, or its failure where its text cannot be continued."""
    said = sample.outcome
    if isinstance(said, Failure):
        return sample
    problem = "is empty" if not said.strip() else ""
    if any(checks.size("response", said)):
        problem = f"is longer than {checks.MAX_CONTENT_BYTES} bytes"
    if not problem:
        return sample
    failure = Upstream(
        Reason.MODEL_FAILED,
        f"the policy's response {problem}, and cannot be continued",
        metadata={"role": "policy"},
    ).failure
    return replace(sample, outcome=failure)


def spread(index: int, count: int, among: int) -> bool:
    """Tell whether `index` is one of `count` indices that are spread evenly among so many.

    However few of them are taken from the first one on, the share of these is kept.
    """
    return (index + 1) * count // among > index * count // among
