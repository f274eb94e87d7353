"""One stream of groups, without the transport: what both clients say and hear on it.

A group without `request_id` is named by its position on the stream ("0", "1", ...), so that events
can be told apart; such a name is no `request_id`, which is known beyond the stream. Invariants:
events come in the order of the service; a group's candidates are held until the group ends, because
its event has them all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from foresight._decode import decode_candidate, decode_rewards
from foresight._events import CandidateEvent, FutureEvent, GroupEvent
from foresight._request import build_request
from foresight._results import CandidateReward, Rewards
from foresight.errors import ForesightError, InternalError, from_status
from foresight.v1.reward_service_pb2 import (
    ComputeRewardsRequest,
    GroupDone,
    StreamRewardsRequest,
    StreamRewardsResponse,
)

__all__ = ["Request", "RewardEvent", "RewardStream", "as_message"]

Request: TypeAlias = ComputeRewardsRequest | Mapping[str, object]
"""A request as a message, or as a mapping for `build_request`."""

RewardEvent: TypeAlias = CandidateEvent | FutureEvent | GroupEvent
"""What happens on a stream."""


def as_message(request: Request) -> ComputeRewardsRequest:
    """Return `request` as a message. Raises InvalidRequestError."""
    if isinstance(request, ComputeRewardsRequest):
        return request
    return build_request(request)


class RewardStream:
    """Names the groups that are sent and puts together what comes back."""

    def __init__(self, *, progress: bool) -> None:
        self._progress = progress
        self._sent = 0
        self._expected: dict[str, int] = {}
        self._candidates: dict[str, list[CandidateReward]] = {}

    def encode(self, request: Request) -> StreamRewardsRequest:
        """Return what to send for `request`. Raises InvalidRequestError."""
        message = StreamRewardsRequest(group=as_message(request), progress=self._progress)
        message.name = message.group.request_id or str(self._sent)
        self._sent += 1
        self._expected[message.name] = len(message.group.candidates)
        return message

    def decode(self, response: StreamRewardsResponse) -> RewardEvent | None:
        """Return the event of `response`, `None` for a kind that this version does not know."""
        request_id = response.request_id
        match response.WhichOneof("event"):
            case "candidate":
                candidate = decode_candidate(response.candidate)
                self._candidates.setdefault(request_id, []).append(candidate)
                return CandidateEvent(request_id, candidate)
            case "future":
                future = response.future
                return FutureEvent(
                    request_id, future.candidate_index, future.sample_index, future.ok
                )
            case "done":
                return self._end_group(request_id, response.done)
            case _:
                return None

    def _end_group(self, request_id: str, done: GroupDone) -> GroupEvent:
        candidates = self._candidates.pop(request_id, [])
        expected = self._expected.pop(request_id, len(candidates))
        rewards: Rewards | None = None
        error: ForesightError | None = None
        match done.WhichOneof("outcome"):
            case "summary":
                candidates.sort(key=lambda candidate: candidate.candidate_index)
                try:
                    rewards = decode_rewards(done.summary, candidates, expected)
                except InternalError as mismatch:
                    error = mismatch
            case "error":
                error = from_status(done.error)
            case _:
                error = InternalError("the service sent neither a summary nor an error")
        return GroupEvent(request_id, rewards, error)
