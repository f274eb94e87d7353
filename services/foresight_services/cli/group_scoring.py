"""Scores groups on one stream, and shows how far it is."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import aclosing

from foresight import (
    AsyncClient,
    CandidateEvent,
    FutureEvent,
    GroupEvent,
    Rewards,
)
from foresight.errors import InternalError
from foresight.v1.reward_service_pb2 import ComputeRewardsRequest
from foresight_services.cli.futures_progress import FuturesProgress


async def score_group(
    client: AsyncClient,
    request: ComputeRewardsRequest,
    *,
    timeout: float | None = None,  # noqa: ASYNC109 - travels to the service
) -> Rewards:
    """Return the rewards of one group; see `score_groups`."""
    return (await score_groups(client, {"": request}, timeout=timeout))[""]


async def score_groups(
    client: AsyncClient,
    requests: Mapping[str, ComputeRewardsRequest],
    *,
    timeout: float | None = None,  # noqa: ASYNC109 - travels to the service
) -> dict[str, Rewards]:
    """Return the rewards of every group of `requests`, under its keys.

    Raises:
        ForesightError: where a group is refused or the stream fails.
    """
    # The client names groups without an id by their position.
    keys = {group.request_id or str(i): key for i, (key, group) in enumerate(requests.items())}
    found: dict[str, Rewards] = {}
    open_ended = any(map(_adaptive, requests.values()))
    with FuturesProgress("futures", _futures(requests)) as progress:
        groups = list(requests.values())
        stream = client.stream_rewards(groups, progress=progress.enabled, timeout=timeout)
        async with aclosing(stream) as events:
            async for event in events:
                match event:
                    case FutureEvent():
                        progress.advance()
                    case CandidateEvent() if not open_ended:
                        each = event.candidate.n_requested
                        progress.expect(sum(each * len(r.candidates) for r in requests.values()))
                    case GroupEvent(rewards=Rewards() as rewards):
                        found[keys[event.request_id]] = rewards
                    case GroupEvent(error=error):
                        raise error or InternalError("a group ended without its rewards")
    if found.keys() != requests.keys():
        raise InternalError("the service ended the stream before every group")
    return found


def _futures(requests: Mapping[str, ComputeRewardsRequest]) -> int | None:
    """Return the number of futures; None where a request leaves it to the service."""
    if any(
        _adaptive(request) or not request.simulation.samples.HasField("max")
        for request in requests.values()
    ):
        return None
    return sum(r.simulation.samples.max * len(r.candidates) for r in requests.values())


def _adaptive(request: ComputeRewardsRequest) -> bool:
    """Tell whether outcomes decide how many futures there are."""
    samples = request.simulation.samples
    return samples.HasField("target_stderr") or bool(samples.decide)
