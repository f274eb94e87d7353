"""Rewards that the service has stored: read again, or scored by another objective."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import grpc

from foresight._channel import Connection
from foresight._decode import decode_candidate, decode_info, decode_range, decode_rewards
from foresight._request import build_message
from foresight._results import CandidateReward, MetricInfo, Rewards, ValueRange
from foresight.errors import InternalError, from_rpc_error
from foresight.v1.reward_service_pb2 import (
    ComputeRewardsRequest,
    GetRewardRequest,
    GetRewardResponse,
    RescoreRewardRequest,
    RescoreRewardResponse,
)

if TYPE_CHECKING:  # names of the stubs' types alone
    from foresight.v1.reward_service_pb2_grpc import RewardServiceAsyncStub, RewardServiceStub

__all__ = ["AsyncStoredCalls", "StoredCalls", "StoredReward"]


@dataclass(frozen=True, slots=True)
class StoredReward:
    """A stored reward and what it rests on."""

    reward_id: str
    """Its id."""
    request: ComputeRewardsRequest = field(hash=False)
    """The request that was answered, its defaults filled in; it can be sent again."""
    reward: CandidateReward
    """The result; its futures have goals, messages, verdicts, artifacts and original costs."""
    profile: str
    """The objective profile that was applied."""
    profile_version: str
    """Version of the profile's definition."""
    metrics: tuple[MetricInfo, ...]
    """The metrics as they were applied, with their versions."""
    objective_range: ValueRange | None
    """The values that the objective could take; `None` where a metric has no bound."""

    @property
    def candidate(self) -> str:
        """The text that was scored."""
        return self.request.candidates[self.reward.candidate_index]


class StoredCalls:
    """The calls of the sync client."""

    _connection: Connection

    def get_reward(self, reward_id: str, *, timeout: float | None = None) -> StoredReward:
        """Return a stored reward: request, futures, scores, versions, seeds and costs.

        Args:
            reward_id: `CandidateReward.reward_id`.
            timeout: Seconds that the call may take. Default: the client's.

        Raises:
            UnknownRewardError: Nothing is stored under that id, or no longer.
            NotImplementedByServerError: The service stores no rewards.
            ForesightError: The call failed; see `foresight.errors`.
        """
        try:
            response = self._stub().GetReward(
                GetRewardRequest(reward_id=reward_id),
                timeout=self._connection.deadline(timeout),
                metadata=self._connection.metadata(),
            )
        except grpc.RpcError as error:
            raise from_rpc_error(error, self._connection.target) from error
        return decode_stored(reward_id, response)

    def rescore_reward(
        self,
        reward_id: str,
        *,
        objective: Mapping[str, object] | None = None,
        include_futures: bool = False,
        cache: str | None = None,
        timeout: float | None = None,
    ) -> Rewards:
        """Score the futures of a stored reward by another objective; nothing is simulated.

        Args:
            reward_id: `CandidateReward.reward_id`.
            objective: `profile` and `metrics`. Default: the stored request's, part by part.
            include_futures: Whether to return goals and messages of the futures as well.
            cache: How the cache of scores is used. Default: `default`.
            timeout: Seconds that the call may take. Default: the client's.

        Returns:
            The rewards of the one candidate, at position 0, with an id of its own.

        Raises:
            UnknownRewardError: Nothing is stored under that id, or no longer.
            InvalidRequestError: A field is wrong; nothing was scored.
            ForesightError: The call failed; see `foresight.errors`.
        """
        request = build_rescore(reward_id, objective, cache, include_futures=include_futures)
        try:
            response = self._stub().RescoreReward(
                request,
                timeout=self._connection.deadline(timeout),
                metadata=self._connection.metadata(),
            )
        except grpc.RpcError as error:
            raise from_rpc_error(error, self._connection.target) from error
        return decode_rescored(response)

    def _stub(self) -> RewardServiceStub:
        raise NotImplementedError


class AsyncStoredCalls:
    """The calls of the async client."""

    _connection: Connection

    async def get_reward(
        self,
        reward_id: str,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - travels to the service
    ) -> StoredReward:
        """Return a stored reward; see `Client.get_reward`."""
        try:
            response = await self._stub().GetReward(
                GetRewardRequest(reward_id=reward_id),
                timeout=self._connection.deadline(timeout),
                metadata=self._connection.metadata(),
            )
        except grpc.RpcError as error:
            raise from_rpc_error(error, self._connection.target) from error
        return decode_stored(reward_id, response)

    async def rescore_reward(
        self,
        reward_id: str,
        *,
        objective: Mapping[str, object] | None = None,
        include_futures: bool = False,
        cache: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - travels to the service
    ) -> Rewards:
        """Score the futures of a stored reward by another objective; see `Client`."""
        request = build_rescore(reward_id, objective, cache, include_futures=include_futures)
        try:
            response = await self._stub().RescoreReward(
                request,
                timeout=self._connection.deadline(timeout),
                metadata=self._connection.metadata(),
            )
        except grpc.RpcError as error:
            raise from_rpc_error(error, self._connection.target) from error
        return decode_rescored(response)

    def _stub(self) -> RewardServiceAsyncStub:
        raise NotImplementedError


def build_rescore(
    reward_id: str,
    objective: Mapping[str, object] | None,
    cache: str | None,
    *,
    include_futures: bool,
) -> RescoreRewardRequest:
    """Return the request. Raises InvalidRequestError."""
    return build_message(
        RescoreRewardRequest(),
        {
            "reward_id": reward_id,
            "objective": objective,
            "include_futures": include_futures,
            "cache": cache,
        },
    )


def decode_stored(reward_id: str, response: GetRewardResponse) -> StoredReward:
    """Return the stored reward. Raises InternalError where the answer breaks the contract."""
    reward = decode_candidate(response.result)
    if not 0 <= reward.candidate_index < len(response.request.candidates):
        raise InternalError("the service sent a stored result of a candidate that it does not name")
    return StoredReward(
        reward_id=reward_id,
        request=response.request,
        reward=reward,
        profile=response.profile,
        profile_version=response.profile_version,
        metrics=tuple(decode_info(metric) for metric in response.metrics),
        objective_range=(
            decode_range(response.objective_range) if response.HasField("objective_range") else None
        ),
    )


def decode_rescored(response: RescoreRewardResponse) -> Rewards:
    """Return the rewards. Raises InternalError where the answer breaks the contract."""
    rewards = response.rewards
    return decode_rewards(rewards, [decode_candidate(result) for result in rewards.results], 1)
