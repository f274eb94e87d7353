"""What happens on a stream of groups, as frozen objects."""

from __future__ import annotations

from dataclasses import dataclass

from foresight._results import CandidateReward, Rewards
from foresight.errors import ForesightError

__all__ = ["CandidateEvent", "FutureEvent", "GroupEvent"]


@dataclass(frozen=True, slots=True)
class CandidateEvent:
    """A candidate's result is known."""

    request_id: str
    """Name of the group's request."""
    candidate: CandidateReward
    """The result."""


@dataclass(frozen=True, slots=True)
class FutureEvent:
    """A future has ended; sent only where progress was asked for."""

    request_id: str
    """Name of the group's request."""
    candidate_index: int
    """Position of the candidate in its group, from 0."""
    sample_index: int
    """Sample index, from 0."""
    ok: bool
    """Whether the future was simulated and scored."""


@dataclass(frozen=True, slots=True)
class GroupEvent:
    """A group has ended: every one of its candidates has been sent, or it was refused."""

    request_id: str
    """Name of the group's request."""
    rewards: Rewards | None
    """All candidates of the group together; `None` where it was refused."""
    error: ForesightError | None
    """Why the group was refused."""
