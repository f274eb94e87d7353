"""Foresight's client: multiturn-aware rewards for trainers.

    with foresight.Client("localhost:50051") as client:
        rewards = client.compute_rewards(
            task={"preset": "math", "goal": "Find the positive x with x^2 + x = 6."},
            prefix=[{"role": "user", "content": "can you help me with a quadratic?"}],
            candidates=["Sure! Which equation is it?", "x = 2."],
        )
    rewards.values  # [0.625, None]: None where a candidate could not be scored, never 0

`Client` and `AsyncClient` have one surface. Results are frozen objects with units and ranges in
their docstrings; everything that goes wrong is a `ForesightError` (`foresight.errors`). The import
needs gRPC and protobuf alone, nothing of the services.
"""

from foresight._aio import AsyncClient
from foresight._channel import Tls
from foresight._client import Client
from foresight._events import CandidateEvent, FutureEvent, GroupEvent
from foresight._policies import PublishedPolicy
from foresight._request import build_request
from foresight._results import (
    Artifact,
    CacheUse,
    CandidateReward,
    Decision,
    Difference,
    Future,
    Interval,
    Lead,
    Lift,
    Message,
    MetricInfo,
    MetricScore,
    MetricSummary,
    ModelUsage,
    OriginCounts,
    PolicyVersion,
    Rewards,
    Usage,
    ValueRange,
    Verdict,
)
from foresight._stored import StoredReward
from foresight._stream import Request, RewardEvent
from foresight.errors import (
    BudgetExhaustedError,
    ContextExhaustedError,
    ContradictoryPrefixError,
    DeadlineExceededError,
    ExtractionFailedError,
    ForesightError,
    InternalError,
    InvalidRequestError,
    LimitReachedError,
    MetricFailedError,
    MetricUnavailableError,
    ModelFailedError,
    ModelRejectedError,
    NotImplementedByServerError,
    SandboxUnavailableError,
    ServiceUnavailableError,
    StalePolicyError,
    TooFewFuturesError,
    UnauthenticatedError,
    UnknownPolicyError,
    UnknownRewardError,
    UserDriftedError,
    Violation,
)

__all__ = [
    "Artifact",
    "AsyncClient",
    "BudgetExhaustedError",
    "CacheUse",
    "CandidateEvent",
    "CandidateReward",
    "Client",
    "ContextExhaustedError",
    "ContradictoryPrefixError",
    "DeadlineExceededError",
    "Decision",
    "Difference",
    "ExtractionFailedError",
    "ForesightError",
    "Future",
    "FutureEvent",
    "GroupEvent",
    "InternalError",
    "Interval",
    "InvalidRequestError",
    "Lead",
    "Lift",
    "LimitReachedError",
    "Message",
    "MetricFailedError",
    "MetricInfo",
    "MetricScore",
    "MetricSummary",
    "MetricUnavailableError",
    "ModelFailedError",
    "ModelRejectedError",
    "ModelUsage",
    "NotImplementedByServerError",
    "OriginCounts",
    "PolicyVersion",
    "PublishedPolicy",
    "Request",
    "RewardEvent",
    "Rewards",
    "SandboxUnavailableError",
    "ServiceUnavailableError",
    "StalePolicyError",
    "StoredReward",
    "Tls",
    "TooFewFuturesError",
    "UnauthenticatedError",
    "UnknownPolicyError",
    "UnknownRewardError",
    "Usage",
    "UserDriftedError",
    "ValueRange",
    "Verdict",
    "Violation",
    "build_request",
]
