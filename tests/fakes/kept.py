"""A reward service that keeps its rewards, and models behind it whose calls can be counted."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from foresight_services.core.cache import Cache, CacheStore
from foresight_services.core.future import EvaluationItem, Score, Verdict
from foresight_services.core.kept_answers import KeptAnswer
from foresight_services.core.policies import PolicyRegistry
from foresight_services.core.ports import ChatRequest
from foresight_services.core.rescoring import RescoreQuery
from foresight_services.core.result import CandidateResult, GroupSummary
from foresight_services.core.reward import Event, Rewards
from foresight_services.core.reward_store import RewardStore
from foresight_services.core.task import PolicyRef
from foresight_services.core.usage import Ledger, ModelUsage
from foresight_services.reward.record_codec import ProtoRecordCodec
from tests.fakes.caching import AnyVersion, cached_evaluator, cached_simulator, memory_cache
from tests.fakes.chat import ScriptedChat
from tests.fakes.evaluation import StubCatalog, StubMetric, make_evaluation
from tests.fakes.reward import make_rewards, query
from tests.fakes.simulation import make_simulation
from tests.fakes.telemetry import RecordingTelemetry

Answer = Callable[[ChatRequest], str | Awaitable[str]]


class CountingJudge:
    """Gives one score, with a verdict, and counts how often it is asked."""

    def __init__(self, name: str, score: float, *, identity: str = "") -> None:
        self.asked = 0
        """How often."""
        self._score = score
        self.metric = StubMetric(name, self._verdict, identity=identity)

    def _verdict(self, item: EvaluationItem, ledger: Ledger) -> Score:
        self.asked += 1
        ledger.record("judge", ModelUsage(1, 10, 1))
        said = Verdict(self._score, "reasons", "raw reply")
        return Score(self._score, None, (said,), {"part": 0.25})


@dataclass
class Told:
    """What one request was told."""

    results: list[CandidateResult] = field(default_factory=list)
    """Results, in the order in which they came."""
    summary: GroupSummary | None = None
    """The summary; None until it came."""
    kept: KeptAnswer | None = None
    """The whole answer, where it came as one."""
    events: list[Event] = field(default_factory=list)
    """Everything."""

    @property
    def ids(self) -> list[str]:
        """The rewards' ids, by candidate."""
        return [one.reward_id for one in sorted(self.results, key=lambda one: one.index)]


class Service:
    """A replica: its use case, its store, its models."""

    def __init__(
        self,
        cache: CacheStore | None = None,
        *,
        answer: Answer | str = "u",
        remembers: bool = False,
        identity: str = "",
        policies: PolicyRegistry | None = None,
        kept_in: Cache | None = None,
        most_waiting: int = 100,
        fingerprint: str | Callable[[PolicyRef], str] = "fake",
    ) -> None:
        """Start over `cache`, a new one by default.

        Args:
            cache: where rewards are kept, and with `remembers` futures and scores too.
            answer: what the simulated user says.
            remembers: whether futures and scores are cached.
            identity: of the metrics; empty for metrics whose scores are not cached.
            policies: the published ones.
            kept_in: where rewards are kept in place of `cache`.
            most_waiting: entries that may wait to be written.
            fingerprint: of the simulator.
        """
        self.cache = cache or memory_cache()
        self.user = ScriptedChat(answer)
        self.policy = ScriptedChat("a")
        self.worth = CountingJudge("worth", 0.5, identity=identity and f"{identity} worth")
        self.other = CountingJudge("other", 0.25, identity=identity and f"{identity} other")
        self.dropped = 0
        self.store = RewardStore(
            kept_in or self.cache, ProtoRecordCodec(), dropped=self._drop, most_waiting=most_waiting
        )
        simulator = make_simulation(
            user=self.user, policy=self.policy, published=AnyVersion(), fingerprint=fingerprint
        )
        evaluator = make_evaluation(catalog=StubCatalog(self.worth.metric, self.other.metric))
        self.telemetry = RecordingTelemetry()
        self.rewards: Rewards = make_rewards(
            cached_simulator(simulator, self.cache) if remembers else simulator,
            evaluator=cached_evaluator(evaluator, self.cache) if remembers else evaluator,
            telemetry=self.telemetry,
            policies=policies,
            store=self.store,
            shared=True,
        )

    def _drop(self, count: int) -> None:
        self.dropped += count

    @property
    def calls(self) -> tuple[int, int, int]:
        """Calls of the user, of the policy, of the judges."""
        asked = self.worth.asked + self.other.asked
        return len(self.user.requests), len(self.policy.requests), asked

    async def ask(self, *, seconds: float | None = None, texts: bool = True, **fields: Any) -> Told:
        """Send a request that ends in `seconds` and return what it was told."""
        deadline = None if seconds is None else asyncio.get_running_loop().time() + seconds
        return await told(self.rewards.compute(query(**fields), deadline=deadline, texts=texts))

    async def rescore(self, reward_id: str, **fields: Any) -> Told:
        """Have a kept reward scored anew and return what was told."""
        return await told(self.rewards.rescore(RescoreQuery(reward_id, **fields)))


async def told(events: Any) -> Told:
    """Return what `events` tells."""
    heard = Told()
    async with aclosing(events):
        async for event in events:
            heard.events.append(event)
            if isinstance(event, CandidateResult):
                heard.results.append(event)
            elif isinstance(event, GroupSummary):
                heard.summary = event
            elif isinstance(event, KeptAnswer):
                heard.kept = event
    return heard
