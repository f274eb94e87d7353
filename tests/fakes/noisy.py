"""A reward service whose futures vary: each has a value drawn by its candidate and its sample."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any

from foresight_services.core.cache import CacheStore
from foresight_services.core.future import EvaluationItem
from foresight_services.core.policies import PolicyRegistry
from foresight_services.core.ports import ChatRequest, Simulator
from foresight_services.core.result import CandidateResult
from foresight_services.core.reward import Rewards
from foresight_services.core.reward_store import RewardStore
from foresight_services.core.sampling_query import SamplingQuery
from foresight_services.core.usage import Ledger
from foresight_services.reward.codec import encode_result, encode_summary
from foresight_services.reward.record_codec import ProtoRecordCodec
from tests.fakes.caching import AnyVersion, cached_evaluator, cached_simulator, memory_cache
from tests.fakes.chat import ScriptedChat
from tests.fakes.evaluation import StubCatalog, StubMetric, make_evaluation
from tests.fakes.kept import Told, told
from tests.fakes.reward import make_rewards, query
from tests.fakes.simulation import make_simulation

MEANS = (0.4, 0.5, 0.57)
"""What the candidates are worth, by position."""

CANDIDATES = ("one", "two", "three")


def value_of(candidate: int, sample: int, means: Sequence[float] = MEANS) -> float:
    """Return what one future is worth: shared luck of the sample, and a little of its own."""
    shared = random.Random(f"shared {sample}").uniform(-0.2, 0.2)
    return means[candidate] + shared + random.Random(f"{candidate} {sample}").uniform(-0.1, 0.1)


class Noisy:
    """A replica; its user says nothing that matters, after a time that a test may choose."""

    def __init__(
        self,
        *,
        delays: int | None = None,
        cache: CacheStore | None = None,
        means: Sequence[float] = MEANS,
        answer: Any = None,
        policy: Any = "a",
        store: bool = True,
        policies: PolicyRegistry | None = None,
    ) -> None:
        """Start.

        Args:
            delays: seed of how long the user takes to answer; None for no time at all.
            cache: where futures, scores and rewards are kept; a new one by default.
            means: what the candidates are worth, and after them the responses of a baseline.
            answer: what the user says, in place of what depends on the seed of the turn.
            policy: what the policy says.
            store: whether rewards are kept.
            policies: the published ones.
        """
        self.cache = cache or memory_cache()
        self.user = ScriptedChat(answer or self._say)
        self.policy = ScriptedChat(policy)
        self.means = means
        self.asked = 0
        self._delays = None if delays is None else random.Random(delays)
        simulator: Simulator = make_simulation(
            user=self.user, policy=self.policy, published=AnyVersion()
        )
        metric = StubMetric("worth", self._worth, identity="worth of the test")
        kept = RewardStore(self.cache, ProtoRecordCodec(), dropped=lambda count: None)
        self.store = kept if store else None
        self.rewards: Rewards = make_rewards(
            cached_simulator(simulator, self.cache),
            evaluator=cached_evaluator(make_evaluation(catalog=StubCatalog(metric)), self.cache),
            store=self.store,
            shared=True,
            policies=policies,
        )

    async def _say(self, request: ChatRequest) -> str:
        if self._delays is not None:
            await asyncio.sleep(self._delays.uniform(0.1, 5.0))
        return f"u{request.seed}"

    def _worth(self, item: EvaluationItem, ledger: Ledger) -> float:
        self.asked += 1
        return value_of(item.id.candidate, item.id.sample, self.means)

    async def ask(self, *, seconds: float | None = None, texts: bool = True, **fields: Any) -> Told:
        """Send a request for the three candidates and return what it was told."""
        deadline = None if seconds is None else asyncio.get_running_loop().time() + seconds
        asked = adaptive(**fields)
        return await told(self.rewards.compute(asked, deadline=deadline, texts=texts))


def adaptive(**fields: Any) -> Any:
    """Return a request for the three candidates; `sampling` as a dict."""
    sampling = SamplingQuery(**fields.pop("sampling", {}))
    given = {"candidates": CANDIDATES, "samples_max": 40, "horizon_messages": 2, **fields}
    return query(sampling=sampling, **given)


def by_index(answer: Told) -> list[CandidateResult]:
    """Return the results by candidate."""
    return sorted(answer.results, key=lambda one: one.index)


def numbers(answer: Told) -> list[Any]:
    """Return an answer without what it cost, where it came from and what it is called."""
    sent: list[Any] = []
    assert answer.summary is not None
    results = [answer.summary.standing(result) for result in by_index(answer)]
    for result in (*results, *answer.summary.baseline):
        message = encode_result(result, include_futures=True)
        for part in (message, *message.futures):
            part.ClearField("usage")
        message.reward.ClearField("reward_id")
        for future in message.futures:
            future.ClearField("cost")
            future.ClearField("origin")
        sent.append(message)
    summary = encode_summary("", answer.summary)
    sent += [summary.decision, summary.best]
    return sent
