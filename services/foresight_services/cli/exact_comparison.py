"""Asks the service about the builtin worlds, where the exact reward is known as well."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from foresight import CandidateReward, build_request
from foresight.v1.reward_service_pb2 import ComputeRewardsRequest
from foresight_services.core.conversation import Conversation
from foresight_services.worlds.exact.cases import PARAMETERS, Case, exact_reward
from foresight_services.worlds.world import World

FUTURES: Final = 64
"""Futures for each candidate."""

_ROUNDING: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Compared:
    """An estimate and the truth."""

    reward: CandidateReward
    """What the service answered."""
    exact: float
    """The multiturn-aware reward, enumerated."""

    @property
    def inside(self) -> bool | None:
        """Whether the interval holds the truth; None where there is no interval."""
        interval = self.reward.interval
        if interval is None:
            return None
        return interval.low - _ROUNDING <= self.exact <= interval.high + _ROUNDING

    @property
    def z(self) -> float | None:
        """How many standard errors the estimate is off; None where there is no standard error."""
        if self.reward.value is None or self.reward.stderr is None:
            return None
        off = self.reward.value - self.exact
        if abs(off) <= _ROUNDING:
            return 0.0
        return off / self.reward.stderr if self.reward.stderr > _ROUNDING else None


def make_request(
    *,
    preset: str,
    prefix: Conversation,
    candidates: tuple[str, ...],
    weights: Mapping[str, float],
    horizon: int,
    skill: str,
    seed: int,
) -> ComputeRewardsRequest:
    """Return the request for candidates in a builtin world, `skill` playing on."""
    return build_request(
        {
            "task": {"preset": preset},
            "prefix": [{"role": m.role, "content": m.content} for m in prefix],
            "candidates": candidates,
            "objective": {
                "metrics": [
                    {"name": n, "weight": w, "parameters": dict(PARAMETERS.get(n, {}))}
                    for n, w in weights.items()
                ]
            },
            "simulation": {
                "horizon_messages": horizon,
                "samples": {"max": FUTURES},
                "seed": seed,
                # The default configuration has every skill as a policy of its own.
                "policy": {"name": skill},
            },
        }
    )


async def exact(world: World, case: Case) -> float:
    """Return the exact reward of `case`; a second of work at most, off the event loop."""
    return await asyncio.to_thread(exact_reward, world, case)
