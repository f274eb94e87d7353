"""The budget of a request, divided among its parts before anything is spent.

A request with a baseline has three: the draws of its responses, the futures of the candidates, and
those of the responses. They are divided by the calls that they may take at most, and each keeps to
its own; what one does not need the others cannot use.
"""

from __future__ import annotations

from dataclasses import dataclass

from foresight_services.core.budget import NO_LIMIT, Budget, divide
from foresight_services.core.ports import EvaluationSession
from foresight_services.core.request import RewardRequest


@dataclass(frozen=True, slots=True)
class BudgetParts:
    """The parts of one request's budget."""

    draws: Budget
    """For the draws of the baseline."""
    candidates: Budget
    """For the candidates' futures and their scores."""
    responses: Budget
    """For the same of the baseline's responses."""


def parts_of(request: RewardRequest) -> BudgetParts:
    """Divide the budget of `request`."""
    budget, plan = request.budget, request.baseline
    if plan is None or not budget.limited:
        return BudgetParts(NO_LIMIT, budget, NO_LIMIT)
    turns = request.samples_max * max(1, request.horizon_messages)
    own, drawn = len(request.candidates) * turns, plan.responses * turns
    calls = plan.responses + own + drawn
    return BudgetParts(
        budget.part(plan.responses, calls), budget.part(own, calls), budget.part(drawn, calls)
    )


def simulators_share(budget: Budget, request: RewardRequest, session: EvaluationSession) -> Budget:
    """Return what the evaluator, which divides by the same rule, leaves of `budget`."""
    judge_calls = sum(metric.judge_calls for metric in session.metrics)
    return divide(budget, turns=request.horizon_messages, judge_calls=judge_calls).simulator
