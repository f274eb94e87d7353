"""Another objective for futures that are kept: nothing is simulated.

The futures come from a simulator that yields what a kept reward rests on. So an objective is
applied anew by the same path that computes rewards.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, field, replace

from foresight_services.core.budget import NO_LIMIT, Budget
from foresight_services.core.cache_use import Origin
from foresight_services.core.errors import NotImplementedHere
from foresight_services.core.future import Future, SimulationRequest
from foresight_services.core.message_request import MessageRequest, SampledMessage
from foresight_services.core.objective import Objective
from foresight_services.core.request import RewardQuery, with_objective
from foresight_services.core.result import CandidateResult
from foresight_services.core.reward_store import RewardRecord
from foresight_services.core.sampling_query import SamplingQuery
from foresight_services.core.task import PolicyRef
from foresight_services.core.usage import Usage


@dataclass(frozen=True, slots=True)
class RescoreQuery:
    """What to score anew, unchecked."""

    reward_id: str
    """The reward whose futures are scored."""
    objective: Objective = field(default_factory=lambda: Objective(profile=""))
    """What makes a conversation good; an empty profile or list of metrics is the kept one."""
    cache: str = ""
    """How the cache is used, a `CacheMode`; empty for the default one."""
    budget: Budget = NO_LIMIT
    """What its judge calls may cost."""
    job: str = ""
    """The training job that it is for; empty for none."""

    def over(self, record: RewardRecord) -> RewardQuery:
        """Return the request whose only candidate is that of `record`."""
        kept = record.group.request
        # Which futures there are was decided when they were simulated.
        plain = not kept.sampling.adaptive
        return replace(
            kept,
            # What it stood for is filled in; it may stand for something else by now.
            task=replace(kept.task, preset=""),
            candidates=(kept.candidates[record.result.index],),
            samples_max=kept.samples_max if plain else len(record.result.futures),
            sampling=SamplingQuery(),
            baseline=None,
            objective=with_objective(self.objective, kept.objective),
            request_id="",
            budget=self.budget,
            job=self.job,
            cache=self.cache,
        )


class StoredFutures:
    """Yields the futures that a reward rests on; implements the port `Simulator`."""

    def __init__(self, result: CandidateResult) -> None:
        self._result = result

    async def fingerprint(self, policy: PolicyRef, *, deadline: float | None = None) -> str:
        """Say nothing: what is kept already is not cached again."""
        del policy, deadline
        return ""

    async def simulate(
        self, request: SimulationRequest, *, deadline: float | None = None
    ) -> AsyncGenerator[Future, None]:
        """Yield every future of the only candidate, as it was."""
        del deadline
        kept = {future.id.sample: future for future in self._futures()}
        for which in request.futures:
            if which.sample in kept:
                yield replace(kept[which.sample], id=which)

    async def sample_messages(
        self, request: MessageRequest, *, deadline: float | None = None
    ) -> AsyncGenerator[SampledMessage, None]:
        """Refuse: nothing is drawn anew."""
        del request, deadline
        raise NotImplementedHere("SampleMessages")
        yield

    def _futures(self) -> Iterator[Future]:
        for future in self._result.futures:
            scored = future.scored
            outcome = scored.simulated or scored.failure
            assert outcome is not None, "a future has a conversation or a failure"
            cost = scored.cost or scored.usage
            yield Future(scored.id, outcome, Usage(), origin=Origin.FOUND, cost=cost)
