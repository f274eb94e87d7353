"""Which futures the responses of a baseline get.

They are numbered after those of the candidates: of C candidates and responses that differ, response
j is candidate C + j. No response is a contestant of what is decided: with `decide` each gets what
every candidate gets in any case, and with a target as many as its own error takes.
"""

from __future__ import annotations

from dataclasses import replace

from foresight_services.core.allocation import SamplePlan
from foresight_services.core.baseline import Drawn
from foresight_services.core.future import FutureId, MetricInfo
from foresight_services.core.request import RewardRequest


def baseline_request(request: RewardRequest, texts: tuple[str, ...]) -> RewardRequest:
    """Return the request whose candidates are the responses of the baseline of `request`."""
    plan = request.plan
    fixed = plan is not None and plan.aim is not None
    return replace(
        request,
        candidates=texts,
        plan=None if fixed else own_courses(plan),
        samples_max=request.samples_first if fixed else request.samples_max,
        samples_min=min(request.samples_min, request.samples_first)
        if fixed
        else request.samples_min,
        baseline=None,
    )


def baseline_metrics(
    request: RewardRequest, metrics: tuple[MetricInfo, ...], drawn: Drawn
) -> tuple[MetricInfo, ...]:
    """Return the metrics by which the responses are joined to objectives, as the candidates' are.

    Bounds are those of the responses, but for a metric that is normalised by them: the candidates'
    make the scale, and a response beyond it stands at its end.
    """
    if not drawn.metrics:
        return metrics
    specs = request.objective.metrics
    return tuple(
        own if spec.normalise else theirs
        for spec, own, theirs in zip(specs, metrics, drawn.metrics, strict=True)
    )


def own_courses(plan: SamplePlan | None) -> SamplePlan | None:
    """Return `plan` for responses that each go their own way; None for a plain number."""
    if plan is None or not plan.together:
        return plan
    # A window of the group is none of one response, and the total is the candidates'.
    return replace(plan, total=None, window=None)


def baseline_futures(request: RewardRequest, drawn: Drawn) -> tuple[FutureId, ...]:
    """Return the futures that the responses get in any case, in the order of asking."""
    first = len(request.candidates)
    return tuple(
        FutureId(first + position, sample)
        for sample in range(request.samples_first)
        for position in range(len(drawn.texts))
    )
