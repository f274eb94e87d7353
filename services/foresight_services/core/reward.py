"""The main use case: multiturn-aware rewards (MR) for the candidates of one prefix.

Request path: check and fill in defaults; find the answer that was given to it, or attach to the
work for it, or begin that (`core/reward_work.py`, `core/idempotency.py`); join each future's scores
to the objective; and emit a candidate the moment its last future is in. The value is the mean of
the objective over the futures that succeeded (CollabLLM, ICML 2025, section 3.2). At the deadline,
less a margin to answer in, what has not finished becomes a failure of its own and what has is
reported.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing
from dataclasses import replace

from foresight_services.core.admission import is_refusal
from foresight_services.core.baseline import Drawn
from foresight_services.core.baseline_futures import baseline_futures
from foresight_services.core.cache_use import CacheMode, Origin
from foresight_services.core.deadline import until
from foresight_services.core.errors import (
    DeadlinePassed,
    DomainError,
    Failure,
    Family,
    NotImplementedHere,
    failure_from,
)
from foresight_services.core.group_records import GroupRecords
from foresight_services.core.idempotency import (
    Attachment,
    Played,
    RequestName,
    Run,
    Runs,
    Told,
    name_of,
)
from foresight_services.core.kept_answers import (
    TAKING,
    KeptAnswer,
    Standing,
)
from foresight_services.core.lifted_group import LiftedGroup
from foresight_services.core.policies import PolicyRegistry
from foresight_services.core.policy_store import MemoryPolicyStore
from foresight_services.core.ports import Clock, Evaluator, Simulator, Telemetry
from foresight_services.core.request import RewardQuery, RewardRequest, completed, resolve
from foresight_services.core.rescoring import RescoreQuery, StoredFutures
from foresight_services.core.result import (
    CandidateResult,
    FutureFinished,
    GroupSummary,
    ScoredFuture,
)
from foresight_services.core.reward_store import (
    KEEPING,
    Answer,
    GroupRecord,
    RewardRecord,
    RewardStore,
)
from foresight_services.core.reward_work import RewardWork, futures_of
from foresight_services.core.task import Preset
from foresight_services.core.usage import Usage, total

Event = FutureFinished | CandidateResult | GroupSummary | KeptAnswer
"""What a computation emits: progress, each candidate's result once, and the summary at the end; or
all of that in one, where it was asked before."""

REFUSED = {Family.INVALID, Family.NOT_FOUND, Family.PRECONDITION, Family.UNAUTHENTICATED}
"""Failures of the whole request that the caller must mend; all others cost futures only."""

SECONDS_TO_ANSWER_PER_FUTURE = 2e-4
"""Time that it takes to join, encode and send one future's result, with room to spare."""


class Rewards:
    """Computes multiturn-aware rewards."""

    def __init__(
        self,
        *,
        simulator: Simulator,
        evaluator: Evaluator,
        policies: PolicyRegistry,
        presets: Mapping[str, Preset],
        clock: Clock,
        telemetry: Telemetry,
        deadline_margin_seconds: float,
        store: RewardStore | None = None,
        shared: bool = False,
    ) -> None:
        """Connect the use case.

        Args:
            simulator: plays conversations forward.
            evaluator: judges them.
            policies: knows the published versions.
            presets: defaults by name.
            clock: the clock of deadlines.
            telemetry: what the operator sees.
            deadline_margin_seconds: kept of a deadline to answer in.
            store: keeps rewards; None to keep none.
            shared: whether a request that runs is attached to where it is asked for again.
        """
        self._simulator = simulator
        self._evaluator = evaluator
        self._policies = policies
        self._presets = presets
        self._clock = clock
        self._telemetry = telemetry
        self._margin = deadline_margin_seconds
        self._store = store
        self._standing = Standing(simulator, evaluator, clock)
        self._shared = shared
        self._runs = Runs()

    async def compute(
        self, query: RewardQuery, *, deadline: float | None = None, texts: bool = True
    ) -> AsyncGenerator[Event, None]:
        """Yield the events of one group; close the generator to cancel it.

        Args:
            query: the request, unchecked.
            deadline: when the caller stops listening, in the time of the clock.
            texts: whether the futures' texts are wanted; a `KeptAnswer` comes only without them.

        Raises:
            InvalidInput: with every field that is wrong.
            DomainError: where the whole group cannot be served; a future or a candidate that
                fails alone is an event with a failure.
        """
        start = self._clock.now()
        request = resolve(query, self._presets)
        stop = None if deadline is None else deadline - self._margin_for(request, deadline - start)
        name = self._given_name(query, request)
        answer = await self._answer(name, request, stop)
        if answer is not None:
            for event in _events(answer):
                yield event
            return
        played = await self._played(request, stop)
        kept = None if texts else await self._kept(request, played, stop)
        if kept is not None:
            kept = replace(kept, seconds=self._clock.now() - start)
            self._count(kept)
            if name is not None and self._store is not None and request.cache in KEEPING:
                self._store.keep_name(name)
            yield kept
            return
        name = name or self._name(request, played)
        work = self._work(request, stop if name is None else None)
        async with self._runs.attached(name, work) as attachment:
            run = attachment.run
            async with until(stop, self._clock):
                metrics = await run.metrics()
            group = LiftedGroup(request, metrics)
            records = self._records(query, request, group)
            async with aclosing(self._scored(request, attachment, stop)) as scored:
                async for told in scored:
                    complete = group.add(told)
                    progress = _progress(told, request)
                    if progress is not None:
                        yield progress
                    for candidate in complete:
                        result = self._finish(group, candidate, start)
                        yield result if records is None else records.add(result, run)
            summary = group.summary(total(group.usages(), seconds=self._clock.now() - start))
            if records is not None:
                records.end(summary, run, request)
        yield summary

    async def rescore(
        self, query: RescoreQuery, *, deadline: float | None = None
    ) -> AsyncGenerator[Event, None]:
        """Yield the events of one kept candidate, its futures scored by another objective.

        Nothing is simulated. Metrics that have scored these futures before find their scores in the
        cache; see `compute` for the rest.

        Raises:
            NotFound: UNKNOWN_REWARD.
            InvalidInput: with every field that is wrong.
        """
        record = await self.stored(query.reward_id)
        rewards = copy.copy(self)
        rewards._simulator = StoredFutures(record.result)
        # Whether its policy can still be played does not matter.
        rewards._policies = PolicyRegistry(store=MemoryPolicyStore(), now_ns=lambda: 0)
        rewards._shared = False
        async with aclosing(rewards.compute(query.over(record), deadline=deadline)) as events:
            async for event in events:
                yield event

    async def stored(self, reward_id: str) -> RewardRecord:
        """Return a kept reward and what it rests on.

        Raises:
            NotFound: UNKNOWN_REWARD.
            NotImplementedHere: where rewards are not kept.
        """
        if self._store is None:
            raise NotImplementedHere("GetReward")
        return await self._store.get(reward_id)

    def _margin_for(self, request: RewardRequest, left: float) -> float:
        """Return the seconds before the deadline, `left` from now, at which to stop and answer."""
        futures = len(request.candidates) * request.samples_max
        if request.plan is not None and request.plan.total is not None:
            futures = min(futures, request.plan.total)
        if request.baseline is not None:
            futures += request.baseline.responses * request.samples_max
        needed = self._margin + futures * SECONDS_TO_ANSWER_PER_FUTURE
        # Where even that is too little, an answer from few futures is the best there is.
        return min(needed, left / 2)

    def _given_name(self, query: RewardQuery, request: RewardRequest) -> RequestName | None:
        """Return what its caller calls the request; None where it has no name."""
        if not self._shared or not query.request_id:
            return None
        return name_of(query.request_id, request, None)

    def _name(self, request: RewardRequest, played: Played) -> RequestName | None:
        """Return what the request is known by for its content; None if it is its caller's alone."""
        if not self._shared or request.cache is not CacheMode.DEFAULT:
            return None
        return name_of("", request, played)

    async def _played(self, request: RewardRequest, stop: float | None) -> Played:
        """Return the policy version that the request gets now."""
        async with until(stop, self._clock), self._policies.using(request.policy) as policy:
            return Played(policy.ref, policy.published)

    async def _answer(
        self, name: RequestName | None, request: RewardRequest, stop: float | None
    ) -> Answer | None:
        """Return the complete answer that was given under the name that the caller gave."""
        if self._store is None or name is None or request.cache not in KEEPING:
            return None
        async with until(stop, self._clock):
            return await self._store.answer(name)

    async def _kept(
        self, request: RewardRequest, played: Played, stop: float | None
    ) -> KeptAnswer | None:
        """Return the complete answer to the same request, given to whomever."""
        if self._store is None or request.cache not in TAKING:
            return None
        try:
            async with until(stop, self._clock):
                key = await self._standing.key(request, played, stop)
                kept = None if key is None else await self._store.whole(key)
        except DomainError:
            # Told by the computation, as of the part that fails.
            return None
        return kept if kept is not None and kept.results == len(request.candidates) else None

    def _count(self, kept: KeptAnswer) -> None:
        for _ in range(kept.results):
            self._telemetry.reward_finished("complete", kept.seconds)
        self._telemetry.cache_answered("future", Origin.FOUND, kept.use.futures.found)
        self._telemetry.cache_answered("score", Origin.FOUND, kept.use.scores.found)

    def _records(
        self, query: RewardQuery, request: RewardRequest, group: LiftedGroup
    ) -> GroupRecords | None:
        """Return where results are kept; None where the request leaves nothing behind."""
        if self._store is None or request.cache not in KEEPING:
            return None
        record = GroupRecord(completed(query, request), group.summary(Usage()))
        return GroupRecords(self._store, record)

    def _work(self, request: RewardRequest, stop: float | None) -> RewardWork:
        def charge(usage: Usage) -> None:
            """Tell the operator what a part of a training job cost."""
            if request.job:
                for role, spent in usage.models.items():
                    self._telemetry.job_spent(request.job, role, spent)

        return RewardWork(
            self._simulator, self._evaluator, self._policies, self._clock, request, stop, charge
        )

    def _finish(self, group: LiftedGroup, candidate: int, start: float) -> CandidateResult:
        seconds = self._clock.now() - start
        result = group.result(candidate, seconds)
        self._telemetry.reward_finished(result.status, seconds)
        return result

    async def _scored(
        self, request: RewardRequest, attachment: Attachment, stop: float | None
    ) -> AsyncGenerator[ScoredFuture | Drawn, None]:
        """Yield every future of `request` once, scored or failed, until `stop` at the latest.

        Those of its baseline come after the draws.
        """
        missing = dict.fromkeys(futures_of(request))
        to_draw = 0 if request.baseline is None else request.baseline.responses
        begun = False
        heard, run = attachment.heard, attachment.run
        # The alarm takes its place in the queue: what finished before the deadline still counts.
        alarm = None if stop is None else self._alarm(stop, heard)
        try:
            while missing or to_draw:
                told = await heard.get()
                if isinstance(told, Exception):
                    failure = failure_from(told)
                    if _refused(failure, told, run) and not begun:
                        raise run.again(told)
                    break
                if isinstance(told, Drawn):
                    to_draw = 0
                    missing.update(dict.fromkeys(baseline_futures(request, told)))
                else:
                    begun = begun or told.id.candidate < len(request.candidates)
                    del missing[told.id]
                    missing.update(dict.fromkeys(told.asked))
                yield attachment.seen(told)
        finally:
            if alarm is not None:
                alarm.cancel()
        if to_draw:
            yield Drawn.failed(to_draw, failure)
        for which in missing:
            yield ScoredFuture(which, None, (), failure, Usage(), abandoned=True)

    def _alarm(self, stop: float, heard: asyncio.Queue[Told]) -> asyncio.TimerHandle:
        left = max(0.0, stop - self._clock.now())
        return asyncio.get_running_loop().call_later(left, heard.put_nowait, DeadlinePassed())


def _refused(failure: Failure, told: Exception, run: Run) -> bool:
    """Tell whether the whole request was refused, not only what was left of it."""
    refused = failure.family in REFUSED or is_refusal(failure)
    return refused and told is not run.withdrawal


def _progress(told: ScoredFuture | Drawn, request: RewardRequest) -> FutureFinished | None:
    """Return what is told of the progress; of a baseline nothing is."""
    if isinstance(told, Drawn) or told.id.candidate >= len(request.candidates):
        return None
    # Progress ends at the deadline: there may be no time to tell of thousands.
    return None if told.abandoned else FutureFinished(told.id, told.failure is None)


def _events(answer: Answer) -> Iterator[Event]:
    """Yield what the computation of `answer` emitted."""
    for result in answer.results:
        for future in result.futures:
            yield FutureFinished(future.scored.id, future.scored.failure is None)
        yield answer.summary.standing(result)
    yield answer.summary
