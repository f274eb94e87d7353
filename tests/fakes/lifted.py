"""A reward service whose policy says something itself, and what a lift over that tells."""

from __future__ import annotations

from typing import Any

from foresight_services.core.lift import Lift
from foresight_services.core.ports import ChatRequest
from foresight_services.core.result import CandidateResult, Reward
from tests.fakes.kept import Told
from tests.fakes.noisy import MEANS, Noisy, by_index

ALL_MEANS = (*MEANS, 0.45, 0.35, 0.5, 0.42)
"""What the candidates are worth, and the responses of a baseline that differ."""


def is_draw(request: ChatRequest) -> bool:
    """Tell whether the policy answers the prefix itself."""
    return request.role == "policy" and len(request.conversation) == 1


def draws(service: Noisy) -> list[ChatRequest]:
    """Return what the policy was asked for a baseline."""
    return [request for request in service.policy.requests if is_draw(request)]


def of_seed(request: ChatRequest) -> str:
    """Give another response by every draw."""
    return f"r{request.seed}" if is_draw(request) else "a"


def one_of_two(request: ChatRequest) -> str:
    """Give one of two responses by every draw."""
    return f"r{request.seed % 2}" if is_draw(request) else "a"


def lifted(**options: Any) -> Noisy:
    """Return a replica whose policy gives another response by every draw."""
    return Noisy(**{"means": ALL_MEANS, "policy": of_seed, **options})


async def ask(service: Noisy, **fields: Any) -> Told:
    """Send a request with a baseline of four."""
    return await service.ask(**{"baseline": 4, "samples_max": 6, **fields})


def baseline(answer: Told) -> tuple[CandidateResult, ...]:
    """Return the rows of the baseline."""
    assert answer.summary is not None
    return answer.summary.baseline


def lifts(answer: Told) -> list[Lift | None]:
    """Return the lifts by candidate; all of them have rewards."""
    found = []
    for result in by_index(answer):
        assert isinstance(result.outcome, Reward)
        found.append(result.outcome.lift)
    return found


def values(result: CandidateResult) -> list[float | None]:
    """Return the objectives by sample index."""
    return [f.objective if isinstance(f.objective, float) else None for f in result.futures]
